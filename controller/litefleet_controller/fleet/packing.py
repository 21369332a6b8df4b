"""A SavedModel's folder as one file: a zip that is the same, byte for byte, whenever and wherever it is packed.

The same model is then the same URI, and a manifest that names it needn't change. Members are stored, not compressed:
weights hardly shrink, and a reader needn't guard against bombs. Only what TensorFlow itself writes there is packed;
what an editor or a file manager left beside it would change the hash, and the converter would refuse it.
"""

import re
import shutil
import zipfile
from pathlib import Path
from typing import IO

from litefleet_controller.fleet.errors import UploadRefusedError

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest date that a zip can hold."""
_MODE = 0o100644 << 16
_MEMBERS = re.compile(
    r"saved_model\.pb|fingerprint\.pb|variables/variables\.(index|data-\d+-of-\d+)|assets/([^./][^/]*/)*[^./][^/]*"
)

_FOLDERS = ("variables", "assets")


def pack_saved_model(folder: Path, into: IO[bytes]) -> None:
    """Write the SavedModel in `folder` to `into`.

    Raises:
        UploadRefusedError: `FormatMismatch`, when `folder` holds none; `ArchiveUnsafe`, for symbolic links in it.
        OSError: when it can't be read, or `into` not be written.
    """
    if not (folder / "saved_model.pb").is_file():
        raise UploadRefusedError(
            "FormatMismatch",
            f"{str(folder)!r} is a folder without saved_model.pb, so it is no SavedModel",
            hint='save the model with model.export("FOLDER"), and push that folder; push a data set as one .npz file',
        )
    with zipfile.ZipFile(into, "w", zipfile.ZIP_STORED) as archive:
        for name, path in sorted((p.relative_to(folder).as_posix(), p) for p in folder.rglob("*")):
            is_member = _MEMBERS.fullmatch(name) is not None
            if path.is_symlink() and (is_member or name in _FOLDERS):
                raise UploadRefusedError(
                    "ArchiveUnsafe", f"{str(path)!r} is a symbolic link", hint="put the file itself into the folder"
                )
            if not is_member or path.is_dir():
                continue
            member = zipfile.ZipInfo(name, _EPOCH)
            member.external_attr, member.create_system = _MODE, 3
            member.file_size = path.stat().st_size
            with path.open("rb") as plain, archive.open(member, "w") as packed:
                shutil.copyfileobj(plain, packed)
