"""Files on the controller's own machine, from folders that its operator opened.

A path is judged by the file that it leads to once it is open, so that a link that is changed in between opens nothing.
"""

import os
import stat
from io import BufferedReader
from pathlib import Path

from litefleet_controller.resources.uris import FileUri
from litefleet_controller.sources.interface import SourceError
from litefleet_controller.sources.policy import SourcePolicy


def open_file(policy: SourcePolicy, uri: FileUri) -> BufferedReader:
    """The file, open for reading, not yet read.

    Raises:
        SourceError: `FileNotAllowed`, `NotFound`, `NotAFile` or `AccessDenied`.
    """
    if not any(_within(Path(uri.path), folder) for folder in policy.folders):
        raise _forbidden(uri)
    try:
        # Not blocking: a named pipe would wait for somebody to write.
        handle = os.open(uri.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as e:
        raise SourceError("NotFound", f"there is no file {uri.path} on the controller's machine") from e
    except OSError as e:
        raise SourceError("AccessDenied", f"the controller can't read {uri.path} ({e.strerror})") from e
    try:
        _check(policy, uri, handle)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _check(policy: SourcePolicy, uri: FileUri, handle: int) -> None:
    real = Path(f"/proc/self/fd/{handle}").readlink()
    if not any(_within(real, folder.resolve()) for folder in policy.folders):
        raise _forbidden(uri)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        raise SourceError(
            "NotAFile",
            f"{uri.path} is no plain file",
            hint="push a SavedModel's folder, or a folder of images, with 'litefleet model push FOLDER'",
        )


def _within(path: Path, folder: Path) -> bool:
    return path.is_relative_to(folder)


def _forbidden(uri: FileUri) -> SourceError:
    return SourceError(
        "FileNotAllowed",
        f"this controller doesn't read {uri.path}",
        final=True,
        hint=f"start it with --source-dir {Path(uri.path).parent}, or push the file with 'litefleet model push FILE'",
    )
