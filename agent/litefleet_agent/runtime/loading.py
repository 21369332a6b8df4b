"""From an artifact on the disk to a loaded model, the same way on trial (`check`) and for good (`swap`)."""

from collections.abc import Callable

from litefleet_agent.runtime.interface import EngineModel, ModelError, Runtime, at_once, mismatch
from litefleet_agent.slots import ArtifactFolder
from litefleet_protocol.messages import ArtifactManifest
from litefleet_protocol.runtimes import MODEL_FILES


def load_artifact(
    folder: ArtifactFolder,
    manifest: ArtifactManifest,
    runtime: Callable[[str], Runtime],
    *,
    threads: int,
    accelerator: str = "",
    calm: Callable[[], None] = at_once,
) -> EngineModel:
    """Load an artifact's model with the engine that it is for, and hold it against its manifest.

    Raises:
        ModelError: as `engines.runtime` and `Runtime.load`; `BadShape` or `SignatureChanged` for another model.
    """
    engine = runtime(manifest.runtime)
    first, *others = MODEL_FILES[manifest.runtime]
    digests = {file.name: file.digest for file in manifest.files}
    model = engine.load(
        folder.file(first),
        threads=threads,
        digest=digests.get(first, ""),
        beside={name: digests.get(name, "") for name in others},
        accelerator=accelerator,
        calm=calm,
    )
    different = mismatch(manifest.signature, model.signature)
    if different is not None:
        raise ModelError(*different)
    return model
