"""What a file is, told by its name and its first bytes, and by its directory when it is an archive.

These are the checks that need neither numpy nor keras and cost nothing, so that a wrong file is refused at the door
and, on the command line, before it is sent. Whether a model is sound and safe is decided by the converter, in a child
process; nothing here unpacks anything.
"""

import ast
import itertools
import lzma
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePath
from typing import IO

from litefleet_controller.fleet.errors import UploadRefusedError
from litefleet_controller.imagefolder import is_image

HEAD_BYTES = 16
"""As many first bytes as `check_head` wants to see."""
SERVED = (".keras", ".zip", ".tflite", ".npz", ".tar", ".tgz", ".tar.gz")
"""`.zip` is a packed SavedModel or a folder of images, `.tar` and its like such a folder."""

_DAMAGED = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, NotImplementedError, RuntimeError,
    ValueError, OverflowError, IndexError,
)  # fmt: skip
"""What zipfile raises for an archive that isn't whole, or is none."""
_ZIP = b"PK\x03\x04"
_HDF5 = b"\x89HDF\r\n\x1a\n"
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_H5_NAMES = (".h5", ".hdf5")
_PICKLE_NAMES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt")
_FLATBUFFER = b"TFL3"
_KERAS_MEMBERS = frozenset({"config.json", "metadata.json", "model.weights.h5"})
_TARS = (".tar", ".tgz", ".tar.gz")
_GZIP = b"\x1f\x8b"
_MAX_MEMBERS = 200_000
_TAR_LOOK = 100
_MAX_HEADER = 64 * 1024
_H5_HINT = "make a .keras file of it, which is checked while it is made: litefleet model import-h5"
_PICKLE_HINT = "a pickle runs code when it is read; save a model as .keras and data as .npz with plain number arrays"


def check_name(name: str) -> str:
    """The suffix of a file name, when files of that kind are taken.

    Raises:
        UploadRefusedError: `FormatForbidden` or `FormatMismatch`.
    """
    lower = name.lower()
    suffix = next((tar for tar in _TARS if lower.endswith(tar)), PurePath(lower).suffix)
    if suffix in _H5_NAMES:
        raise _forbidden(f"{_short(name)} is an HDF5 file, which can hide code", _H5_HINT)
    if suffix in _PICKLE_NAMES:
        raise _forbidden(f"{_short(name)} is a pickle by its name", _PICKLE_HINT)
    if suffix == ".onnx":
        raise UploadRefusedError(
            "FormatUnsupported",
            f"{_short(name)} is an ONNX model, which isn't converted here",
            hint="make a .tflite file of it: uvx --python 3.12 onnx2tf -i MODEL.onnx -o OUT; then push "
            "OUT/MODEL_float32.tflite, with format: tflite",
        )
    if suffix not in SERVED:
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is neither a model (.keras, .tflite, a SavedModel's folder) "
            "nor a data set (.npz, a folder of images)",
            field="name",
            hint=f"the file's name must end in {', '.join(SERVED)}",
        )
    return suffix


def check_head(name: str, head: bytes) -> None:
    """Judge a file by its first `HEAD_BYTES` bytes (fewer only when the file is shorter).

    Raises:
        UploadRefusedError: `Empty`, `FormatForbidden` or `FormatMismatch`.
    """
    if not head:
        raise UploadRefusedError("Empty", f"{_short(name)} is empty (0 bytes)")
    if head.startswith(_HDF5):
        raise _forbidden(f"{_short(name)} is an HDF5 file, whatever its name says", _H5_HINT)
    if head.startswith(_PICKLES):
        raise _forbidden(f"{_short(name)} is a pickle, whatever its name says", _PICKLE_HINT)
    kind = check_name(name)
    if kind == ".tflite":
        if head[4:8] != _FLATBUFFER:
            raise UploadRefusedError(
                "FormatMismatch", f"{_short(name)} is no .tflite file: it has {head[4:8]!r} and not b'TFL3' at byte 4"
            )
    elif kind in _TARS:
        if kind != ".tar" and not head.startswith(_GZIP):
            raise UploadRefusedError("FormatMismatch", f"{_short(name)} begins with {head[:8].hex(' ')}, not as gzip")
    elif not head.startswith(_ZIP):
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is no {kind} file: it begins with {head[:8].hex(' ')}, not as a zip archive",
        )


def check_archive(name: str, path: Path) -> None:
    """Judge a whole file, when it is an archive, by its directory of members; none is unpacked.

    Raises:
        UploadRefusedError: `FormatMismatch`, `FormatForbidden` or `ArchiveUnsafe`.
    """
    suffix = check_name(name)
    if suffix == ".tflite":
        return
    if suffix in _TARS:
        _check_tar(name, path)
        return
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            _check_members(name, members)
            if suffix == ".keras":
                _check_keras(name, members)
            elif suffix == ".zip":
                _check_folder(name, members)
            else:
                _check_arrays(name, archive, members)
    except (*_DAMAGED, OSError) as e:
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is cut off or damaged: {_said(e)}",
            hint="save or copy the file again",
        ) from e


def _check_members(name: str, members: list[str]) -> None:
    if len(members) > _MAX_MEMBERS:
        raise UploadRefusedError("ArchiveUnsafe", f"{_short(name)} has {len(members)} members; at most {_MAX_MEMBERS}")
    for member in members:
        if member.startswith(("/", "\\")) or ".." in PurePath(member.replace("\\", "/")).parts:
            raise UploadRefusedError(
                "ArchiveUnsafe", f"{_short(name)} has a member outside its folder: {_short(member)}"
            )


def _check_keras(name: str, members: list[str]) -> None:
    missing = sorted(_KERAS_MEMBERS - set(members))
    if missing:
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is no Keras 3 model: it has no {', '.join(missing)}",
            hint='save it with model.save("model.keras")',
        )


def _check_folder(name: str, members: list[str]) -> None:
    if "saved_model.pb" not in members and not any(map(is_image, members)):
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is neither a packed SavedModel nor a folder of images: "
            "it has no saved_model.pb at its top and no images",
            hint="push the folder itself: litefleet model push FOLDER",
        )


def _check_tar(name: str, path: Path) -> None:
    """Judge a tar by its first members: a whole one would have to be unpacked for that."""
    try:
        with tarfile.open(path, "r:*") as archive:
            members = list(itertools.islice((m.name for m in archive), _TAR_LOOK))
    except (tarfile.TarError, EOFError, OSError, ValueError, zlib.error) as e:
        raise UploadRefusedError(
            "FormatMismatch",
            f"{_short(name)} is cut off or damaged: {_said(e)}",
            hint="make or copy the file again",
        ) from e
    _check_members(name, members)
    if not any(map(is_image, members)):
        raise UploadRefusedError("FormatMismatch", f"{_short(name)} has no images in it, not among its first members")


def _check_arrays(name: str, archive: zipfile.ZipFile, members: list[str]) -> None:
    if not members:
        raise UploadRefusedError("FormatMismatch", f"{_short(name)} has no arrays in it")
    for member in members:
        if not member.endswith(".npy"):
            raise UploadRefusedError(
                "FormatMismatch", f"{_short(name)} is no .npz data set: member {_short(member)} is not an array"
            )
        with archive.open(member) as stream:
            if "O" in _dtype(stream):
                raise _forbidden(
                    f"array {_short(member)} of {_short(name)} holds Python objects, a pickle", _PICKLE_HINT
                )


def _dtype(stream: IO[bytes]) -> str:
    """The descr field of an array's header, as text (NEP 1: magic, version, little-endian length, a Python literal)."""
    if stream.read(6) != b"\x93NUMPY":
        raise ValueError("an array lacks numpy's magic number")
    major = stream.read(2)[0]
    length = int.from_bytes(stream.read(2 if major == 1 else 4), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"an array's header is {length} bytes long")
    try:
        header = ast.literal_eval(stream.read(length).decode("utf-8").strip())
        return str(header["descr"])
    except (SyntaxError, KeyError, TypeError, MemoryError, RecursionError) as e:
        raise ValueError("an array's header can't be read") from e


def _forbidden(message: str, hint: str) -> UploadRefusedError:
    return UploadRefusedError("FormatForbidden", message, hint=hint)


def _said(error: Exception) -> str:
    """On one line: tarfile says one for each form that it tried."""
    return " ".join(str(error).split())[:160]


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")
