"""A folder as one file, of a SavedModel or of images: a zip that is the same whenever and wherever it is packed.

The same content is then the same URI, and a manifest that names it needn't change. Members are stored, not compressed:
weights and images hardly shrink, and a reader needn't guard against bombs. Only what belongs there is packed; what an
editor or a file manager left beside it would change the hash, and the converter would refuse it.
"""

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from litefleet_controller.fleet.errors import UploadRefusedError
from litefleet_controller.imagefolder import SUFFIXES, classes_of, is_image

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can hold."""
_MODE = 0o100644 << 16
_MEMBERS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d+-of-\d+)|assets/([^./][^/]*/)*[^./][^/]*"
)

_FOLDERS = ("variables", "assets")


def pack_folder(folder: Path, into: IO[bytes]) -> dict[str, int]:
    """Write the SavedModel or the images in `folder` to `into`; of images, how many each class has.

    Raises:
        UploadRefusedError: `FormatMismatch`, when `folder` holds neither; `ArchiveUnsafe`, for symbolic links in it.
        OSError: when it can't be read, or `into` not be written.
    """
    if (folder / "saved_model.pb").is_file():
        pack_saved_model(folder, into)
        return {}
    return pack_images(folder, into)


def pack_saved_model(folder: Path, into: IO[bytes]) -> None:
    """Write the SavedModel in `folder` to `into`.

    Raises:
        UploadRefusedError: `ArchiveUnsafe`, for symbolic links in it.
        OSError: when it can't be read, or `into` not be written.
    """
    _pack(folder, into, lambda name: _MEMBERS.fullmatch(name) is not None or name in _FOLDERS)


def pack_images(folder: Path, into: IO[bytes]) -> dict[str, int]:
    """Write the images in `folder` to `into`; how many each class has, "" standing for those in no class folder.

    Raises:
        UploadRefusedError: `FormatMismatch`, when there is none; `ArchiveUnsafe`, for symbolic links.
        OSError: when it can't be read, or `into` not be written.
    """
    classes = classes_of(p.relative_to(folder).as_posix() for p in folder.rglob("*"))
    if not classes:
        raise UploadRefusedError(
            "FormatMismatch",
            f"{str(folder)!r} is a folder with neither saved_model.pb nor images ({', '.join(SUFFIXES)}) in it",
            hint='save a model with model.export("FOLDER") and push that folder; images lie in a folder for each class',
        )
    _pack(folder, into, is_image)
    return {name: len(images) for name, images in classes.items()}


def _pack(folder: Path, into: IO[bytes], belongs: Callable[[str], bool]) -> None:
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*")):
            if not belongs(name):
                continue
            if path.is_symlink():
                raise UploadRefusedError(
                    "ArchiveUnsafe", f"{str(path)!r} is a symbolic link", hint="put the file itself into the folder"
                )
            if path.is_dir():
                continue
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr, member.create_system = _MODE, 3
            member.file_size = path.stat().st_size
            with path.open("rb") as plain, archive.open(member, "w") as packed:
                shutil.copyfileobj(plain, packed)
