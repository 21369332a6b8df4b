"""Data sets that are folders of images, made into arrays before anything else is done with them.

A request that names one comes out naming the .npz that a worker made of it, from the cache when the same was asked for
before. Runs in the controller's process: it looks at a file's first bytes and at nothing else of it.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import Struct

from litefleet_controller.artifacts.errors import BlobNotFoundError
from litefleet_controller.convert.cache import Entry, RefusalEntry
from litefleet_controller.convert.interface import MAX_EVALUATED, ConversionError, ConversionRequest
from litefleet_controller.convert.kept import Kept
from litefleet_controller.convert.progress.listening import Listener
from litefleet_controller.convert.toolchain import decoding_toolchain
from litefleet_controller.convert.workbench import Workbench
from litefleet_controller.convert.workers.tasks import DATA_FILE, Decode, Decoded
from litefleet_protocol.tensors import Preprocess

_HEAD_BYTES = 512
_TAR_MAGIC = (b"ustar", 257)
_PACKED_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00")
_ZIP_MAGIC, _ZIP_NAME_LENGTH, _ZIP_NAME = b"PK\x03\x04", slice(26, 28), 30


DataField = Literal["calibration", "training"]
"""Data sets that only some recipes need."""


class ImagesKey(Struct, frozen=True, kw_only=True):
    """What decides the arrays."""

    archive: str
    preprocess: Preprocess
    """Scale and offset are left out."""
    labels: tuple[str, ...]
    samples: int
    toolchain: dict[str, str]


class ImagesEntry(Entry, frozen=True, kw_only=True, tag="images"):
    """Arrays that were made."""

    data: str
    """Digest of an .npz."""

    @property
    def blobs(self) -> tuple[str, ...]:
        """See Entry."""
        return (self.data,)


@dataclass(frozen=True, slots=True)
class Ready:
    """A request whose data sets are arrays, and what is wrong with those that can't be."""

    request: ConversionRequest
    unusable: Mapping[DataField, str]


class ImageSets:
    """Decodes, and remembers."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._kept: Kept[ImagesKey, ImagesEntry | RefusalEntry] = Kept(
            bench, "images", ImagesEntry | RefusalEntry, self._decode
        )
        self._arrays_already: set[str] = set()
        """Digests that were looked at: what they stand for never changes."""

    async def ready(self, request: ConversionRequest, listener: Listener) -> Ready:
        """The request with arrays in place of folders of images.

        Raises:
            ConversionError: `EvaluationInvalid`, since nothing can be proven then.
        """
        unusable: dict[DataField, str] = {}
        evaluation = await self._arrays(request.evaluation, request, MAX_EVALUATED, listener)
        if isinstance(evaluation, RefusalEntry):
            raise ConversionError(
                "EvaluationInvalid", f"the evaluation set can't be used: {evaluation.message}", final=True
            )
        request = dataclasses.replace(request, evaluation=evaluation)
        if request.calibration is not None:
            found = await self._arrays(request.calibration, request, request.calibration_samples, listener)
            if isinstance(found, RefusalEntry):
                unusable["calibration"] = f"the calibration set can't be used: {found.message}"
            else:
                request = dataclasses.replace(request, calibration=found)
        if request.training is not None:
            found = await self._arrays(request.training.digest, request, request.training.samples, listener)
            if isinstance(found, RefusalEntry):
                unusable["training"] = f"the training set (spec.training) can't be used: {found.message}"
            else:
                request = dataclasses.replace(request, training=msgspec.structs.replace(request.training, digest=found))
        return Ready(request, unusable)

    async def _arrays(
        self, digest: str, request: ConversionRequest, samples: int, listener: Listener
    ) -> str | RefusalEntry:
        """The digest itself, or of what was made of it."""
        if digest in self._arrays_already:
            return digest
        head = await self._head(digest)
        if not is_folder_of_images(head):
            if head:
                self._arrays_already.add(digest)
            return digest
        p = request.preprocess
        key = ImagesKey(
            archive=digest,
            preprocess=Preprocess(resize=p.resize, channels=p.channels),
            labels=request.postprocess.labels,
            samples=samples,
            toolchain=decoding_toolchain(),
        )
        entry = await self._kept.get(key, listener)
        return entry if isinstance(entry, RefusalEntry) else entry.data

    async def _head(self, digest: str) -> bytes:
        """The first bytes of a blob. None of one that is gone: whoever needs it says so."""
        try:
            return b"".join([piece async for piece in self._bench.blobs.stream(digest, 0, _HEAD_BYTES)])
        except BlobNotFoundError:
            return b""

    async def _decode(self, key: ImagesKey, tell: Listener) -> ImagesEntry | RefusalEntry:
        async with self._bench.turn(Decode, "decode", tell) as turn:
            task = Decode(
                folder=turn.folder,
                archive=await turn.hand(key.archive, "data set"),
                preprocess=key.preprocess,
                labels=key.labels,
                samples=key.samples,
            )
            done = await turn.ask(task, Decoded)
            if isinstance(done, RefusalEntry):
                return done
            return ImagesEntry(data=await turn.keep(DATA_FILE))


def is_folder_of_images(head: bytes) -> bool:
    """Whether a data set that begins like this is an archive of something else than arrays."""
    if head.startswith(_ZIP_MAGIC):
        length = int.from_bytes(head[_ZIP_NAME_LENGTH], "little")
        return not head[_ZIP_NAME : _ZIP_NAME + length].endswith(b".npy")
    magic, at = _TAR_MAGIC
    return head.startswith(_PACKED_MAGIC) or head[at : at + len(magic)] == magic
