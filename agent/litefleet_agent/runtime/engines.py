"""The engines by the names that manifests use. Each is imported when the first model needs it, and not before."""

from litefleet_agent.runtime.installed import ENGINES, check_installed
from litefleet_agent.runtime.interface import ModelError, Runtime
from litefleet_protocol.codes import Code
from litefleet_protocol.runtimes import RuntimeName


def runtime(name: str) -> Runtime:
    """An engine, imported now if it wasn't yet.

    Raises:
        AgentError: `RuntimeMissing`, or `RuntimeBroken` for one that is installed and doesn't load.
    """
    check_installed(name)
    try:
        return _imported(name)
    except ImportError as e:
        reason = (str(e).strip() or type(e).__name__).splitlines()[-1][:300]
        raise ModelError(
            Code.RUNTIME_BROKEN,
            f"{ENGINES[name].title} is installed and doesn't load: {reason}; reinstall it for this processor and "
            "this Python",
        ) from e


def _imported(name: str) -> Runtime:
    match name:
        case RuntimeName.OPENVINO:
            from litefleet_agent.runtime.openvino import OpenVino

            return OpenVino()
        case RuntimeName.ONNXRUNTIME:
            from litefleet_agent.runtime.onnx import OnnxRuntime

            return OnnxRuntime()
    from litefleet_agent.runtime.litert import LiteRT

    return LiteRT()
