"""Whether to believe what came: signatures (in the `vouch` child), file hashes, namespace and class.

Called on the voucher thread for desired state and epochs, and on the builder thread for artifacts.
"""

from collections.abc import Sequence

from msgspec import Struct

from litefleet_agent import vouching
from litefleet_agent.board import Self
from litefleet_agent.errors import AgentError
from litefleet_agent.runtime.installed import check_installed
from litefleet_agent.slots import Slots
from litefleet_agent.vouching import Opened, Sealed
from litefleet_protocol.codes import Code
from litefleet_protocol.enrollment import SigningKey
from litefleet_protocol.envelope import PayloadType
from litefleet_protocol.limits import MAX_CONTROL_BYTES, MAX_MANIFEST_BYTES
from litefleet_protocol.messages import ArtifactManifest


class Trust(Struct, frozen=True):
    """The keys pinned at enrollment."""

    keys: tuple[SigningKey, ...]

    def open_control(self, envelopes: Sequence[tuple[PayloadType, bytes]]) -> list[Opened]:
        """Payloads of desired states and epochs, or why they aren't believed; one child for all.

        Raises:
            AgentError: `Internal` when the child failed.
        """
        sealed = [Sealed(kind, data, MAX_CONTROL_BYTES) for kind, data in envelopes if len(data) <= MAX_CONTROL_BYTES]
        answers = iter(vouching.open_envelopes(self.keys, sealed))
        too_large = Opened(code=str(Code.TOO_LARGE), message=f"an envelope over {MAX_CONTROL_BYTES} bytes")
        return [next(answers) if len(data) <= MAX_CONTROL_BYTES else too_large for _, data in envelopes]

    def check_signature(self, sealed: bytes) -> None:
        """Check an artifact's envelope.

        Raises:
            AgentError: `BadSignature`, or `Internal` when the child failed.
        """
        (opened,) = vouching.open_envelopes(self.keys, [Sealed(PayloadType.ARTIFACT, sealed, MAX_MANIFEST_BYTES)])
        if opened.code:
            raise AgentError(Code(opened.code), opened.message)


def verify_artifact(slots: Slots, trust: Trust, me: Self, digest: str) -> ArtifactManifest:
    """The manifest of an artifact on the disk, once everything about it is proven but its behaviour.

    Raises:
        AgentError: `BadSignature`, `DigestMismatch`, `WrongClass`, `WrongDevice` (another namespace), or
            `RuntimeMissing` for an engine that isn't installed here.
    """
    folder = slots.complete(digest)
    manifest = slots.manifest(digest)
    try:
        trust.check_signature(folder.sealed_manifest() or b"")
    except AgentError as e:
        if e.code == Code.BAD_SIGNATURE:
            folder.drop_manifest()
        raise
    folder.check_files(manifest)
    if manifest.namespace != me.namespace:
        raise AgentError(Code.WRONG_DEVICE, f"an artifact of namespace {manifest.namespace}, not {me.namespace}")
    if manifest.device_class != me.device_class:
        raise AgentError(Code.WRONG_CLASS, f"an artifact for class {manifest.device_class}, not {me.device_class}")
    check_installed(manifest.runtime)
    return manifest
