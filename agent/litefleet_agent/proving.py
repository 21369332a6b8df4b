"""What a model must do before it answers anybody: load, be what its manifest says, and answer its golden samples.

Done by `check` in a child process, and by `swap` in this one where an accelerator leaves no choice.
"""

import time
from collections.abc import Callable

from litefleet_agent.errors import AgentError
from litefleet_agent.golden import compare, golden_of, warm_up
from litefleet_agent.runtime.interface import EngineModel, Runtime, at_once
from litefleet_agent.runtime.loading import load_artifact
from litefleet_agent.slots import ArtifactFolder
from litefleet_agent.verdict import Verdict
from litefleet_protocol.codes import Code
from litefleet_protocol.messages import ArtifactManifest


def prove(
    folder: ArtifactFolder,
    manifest: ArtifactManifest,
    runtime: Callable[[str], Runtime],
    *,
    threads: int,
    accelerator: str = "",
    calm: Callable[[], None] = at_once,
) -> tuple[Verdict, EngineModel | None]:
    """The verdict, and after a good one the model. Signatures are checked elsewhere."""
    try:
        model = load_artifact(folder, manifest, runtime, threads=threads, accelerator=accelerator, calm=calm)
        labels = manifest.postprocess.labels
        classes = manifest.signature.outputs[0].shape[-1] if manifest.signature.outputs else 0
        if manifest.postprocess.kind == "classification" and len(labels) > classes:
            return Verdict(str(Code.SIGNATURE_CHANGED), f"{classes} classes for {len(labels)} labels"), None
        golden = golden_of(folder, manifest)
        began = time.monotonic()
        model.infer(warm_up(golden, manifest.signature))
        slowest_s, worst = time.monotonic() - began, 0.0
        for sample in golden:
            began = time.monotonic()
            outputs = model.infer(sample.inputs)
            slowest_s = max(slowest_s, time.monotonic() - began)
            worst = max(worst, compare(outputs, sample.outputs, manifest))
    except AgentError as e:
        return Verdict(str(e.code), str(e)), None
    return Verdict(samples=len(golden), worst=worst, slowest_s=slowest_s, signature=model.signature), model
