"""A zip or tar with a folder of images: its members by name, read without unpacking it. Runs in workers.

Nothing is written, so a member outside its folder or a link does no harm; both are refused all the same, since whoever
made them meant it. Sizes are bounded before anything is read.
"""

import stat
import tarfile
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from litefleet_controller.convert.archive import DAMAGED
from litefleet_controller.convert.workers.tasks import RungError

MAX_MEMBERS = 200_000
MAX_MEMBER_BYTES = 64 * 1024**2
MAX_CONTENT_BYTES = 4 * 1024**3


class ImageArchive(ABC):
    """Members of an archive."""

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Plain files, in the archive's order."""

    @abstractmethod
    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """These members, in the archive's order."""


def unusable(message: str) -> RungError:
    """Why a folder of images is no good: one sentence."""
    return RungError("ImagesInvalid", message)


@contextmanager
def opened(path: Path) -> Iterator[ImageArchive]:
    """The archive at `path`.

    Raises:
        RungError: `ImagesInvalid`.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                yield _Zip(packed)
        else:
            with tarfile.open(path, "r:*") as packed:
                yield _Tar(packed)
    except (*DAMAGED, tarfile.TarError, OSError) as e:
        # tarfile says a line for each form that it tried.
        raise unusable(f"it is a damaged archive ({' '.join(str(e).split())[:120]})") from e


class _Zip(ImageArchive):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        sizes = _Sizes()
        for member in archive.infolist():
            sizes.add(member.filename, member.file_size, is_link=stat.S_ISLNK(member.external_attr >> 16))

    @property
    def names(self) -> list[str]:
        return [m.filename for m in self._archive.infolist() if not m.is_dir()]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for member in self._archive.infolist():
            if member.filename in names:
                # Not more than was said of its size: zipfile stops there.
                yield member.filename, self._archive.read(member)


class _Tar(ImageArchive):
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members: list[tarfile.TarInfo] = []
        sizes = _Sizes()
        for member in archive:
            sizes.add(member.name, member.size, is_link=not (member.isreg() or member.isdir()))
            if member.isreg():
                self._members.append(member)

    @property
    def names(self) -> list[str]:
        return [m.name.removeprefix("./") for m in self._members]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        for member in self._members:
            if (name := member.name.removeprefix("./")) in names and (file := self._archive.extractfile(member)):
                yield name, file.read()


class _Sizes:
    """Adds up what an archive says of itself, and refuses what is too much."""

    def __init__(self) -> None:
        self._members = 0
        self._content = 0

    def add(self, name: str, size: int, *, is_link: bool) -> None:
        self._members += 1
        self._content += size
        shown = repr(name[:80])
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/"):
            raise unusable(f"it has a member outside its folder: {shown}")
        if is_link:
            raise unusable(f"it has a link or a device: {shown}")
        if size > MAX_MEMBER_BYTES:
            raise unusable(f"{shown} has {size} bytes; the limit for one file is {MAX_MEMBER_BYTES}")
        if self._members > MAX_MEMBERS:
            raise unusable(f"it has more than {MAX_MEMBERS} members")
        if self._content > MAX_CONTENT_BYTES:
            raise unusable(f"its content has more than {MAX_CONTENT_BYTES} bytes")
