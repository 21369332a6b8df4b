"""The engines that run models: which are here, that they load on this processor, and what they can run on.

Loading one may kill whoever does it, and so may a driver: children do (`probing`).
"""

import msgspec

from litefleet_agent import config
from litefleet_agent.doctor.finding import Finding, fail, ok, warn
from litefleet_agent.doctor.patient import Patient
from litefleet_agent.errors import AgentError
from litefleet_agent.probing import probe
from litefleet_agent.runtime.installed import ENGINES
from litefleet_agent.slots import ArtifactFolder, read_manifest
from litefleet_agent.state import POINTERS, Saved
from litefleet_protocol.codes import Code
from litefleet_protocol.errors import ProtocolError
from litefleet_protocol.messages import AcceleratorFound, EngineFound
from litefleet_protocol.names import digest_hex


def engines(patient: Patient) -> list[Finding]:
    """A line for each engine that there is, whether it is here or not."""
    needed, wanted = _needed(patient), _wanted(patient)
    found = [
        probe(name, [wanted] if wanted and name in needed else [], leave_closed=patient.running is not None)
        for name in ENGINES
    ]
    if not needed and all(engine.code for engine in found):
        needed = frozenset(ENGINES)  # without any, the board can run nothing at all
    return [judged(engine, is_needed=engine.name in needed, wanted=wanted) for engine in found]


def judged(engine: EngineFound, *, is_needed: bool, wanted: str = "") -> Finding:
    """What to think of an engine. `wanted`: the accelerator that the configuration names."""
    title = ENGINES[engine.name].title
    if engine.code == Code.RUNTIME_MISSING:
        if is_needed:
            return fail("runtime", f"{title} is not installed, and the board needs it", engine.message)
        return ok("runtime", f"{title} is not installed, and nothing here needs it ({engine.message})")
    if engine.code:
        todo = "reinstall it for this processor and this Python"
        return (fail if is_needed else warn)("runtime", f"{title} doesn't load: {engine.message}", todo)
    has = f"{title} {engine.version}: {'; '.join(map(_said, engine.accelerators))}"
    if is_needed and wanted:
        this = next((a for a in engine.accelerators if a.name == wanted), None)
        if this is None or this.code:
            why = f"{has}; the configuration wants {wanted}"
            return fail("runtime", why, this.message if this else "name one of these in [runtime] accelerator, or none")
    broken = [a.name for a in engine.accelerators if a.code and a.code != Code.ACCELERATOR_MISSING]
    if broken:
        return warn("runtime", has, f"see to {', '.join(broken)}; nothing uses it unasked")
    return ok("runtime", has)


def _said(accelerator: AcceleratorFound) -> str:
    if not accelerator.code:
        return f"{accelerator.name} ({accelerator.description})"
    return f"no {accelerator.name} ({accelerator.message})"


def _needed(patient: Patient) -> frozenset[str]:
    """The engines of what is assigned or served, as far as it is on the disk."""
    data = patient.disk.read(patient.state_dir / POINTERS)
    try:
        slots = msgspec.json.decode(data or b"{}", type=Saved).slots.values()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return frozenset()  # the slots' own look says so
    digests = {s.current.digest for s in slots if s.current} | {s.desired.artifact for s in slots if s.desired}
    return frozenset(runtime for digest in digests if (runtime := _runtime(patient, digest)))


def _runtime(patient: Patient, digest: str) -> str:
    folder = patient.state_dir / "artifacts" / digest_hex(digest)
    for path in (folder, folder.with_name(f"{folder.name}.partial")):
        sealed = ArtifactFolder(patient.disk, path).sealed_manifest()
        try:
            if sealed is not None:
                return read_manifest(digest, sealed).runtime
        except ProtocolError:
            continue
    return ""


def _wanted(patient: Patient) -> str:
    try:
        return config.load(patient.config).runtime.accelerator
    except AgentError:
        return ""  # the configuration's own look says so
