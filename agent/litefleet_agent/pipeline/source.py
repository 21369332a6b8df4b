"""Where inputs come from: the files of a folder, decoded one at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from litefleet_agent.errors import AgentError
from litefleet_agent.logs import EventLog
from litefleet_protocol.codes import Code

log = EventLog(__name__)
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".npy"})


class InputError(AgentError):
    """An input that can't be decoded."""


class Input(Struct, frozen=True):
    """One input, by name; `load` decodes it.

    Raises (load): InputError.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    def load(self) -> NDArray[Any]:
        """The decoded array: an image as (height, width) or (height, width, 3), uint8; an .npy as it is.

        Raises:
            InputError: `BadMessage` when it can't be decoded.
        """
        try:
            if self.path.suffix.lower() == ".npy":
                with self.path.open("rb") as file:
                    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
                if not np.issubdtype(array.dtype, np.number) and array.dtype != np.bool_:
                    raise ValueError(f"an array of {array.dtype}")
                return array
            return _decode_image(self.path)
        except Exception as e:  # the decoders' edge: a bomb, a bad zip, a want of memory; each has errors of its own
            raise InputError(Code.BAD_MESSAGE, f"can't decode {self.path.name}: {str(e)[:200]}") from e


def _decode_image(path: Path) -> NDArray[Any]:
    from PIL import Image

    with Image.open(path) as image:
        plain = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode in ("1", "LA") else "RGB")
        return np.asarray(plain)


class Source(Protocol):
    """Yields inputs; None when there is none at the moment."""

    def __iter__(self) -> Iterator[Input | None]:
        """All of them, in order, perhaps forever."""
        ...


class DirectorySource:
    """Files of a folder in name order, once or forever. The folder is read anew each time around."""

    def __init__(self, folder: Path, *, loop: bool) -> None:
        self._folder = folder
        self._loop = loop

    def __iter__(self) -> Iterator[Input | None]:
        """All of them; None when the folder is empty or not there, so that the caller can wait."""
        said = False
        while True:
            found = self._list()
            if not found:
                if not said:
                    log.warning("no_inputs", folder=self._folder)
                said = True
                yield None
                continue
            said = False
            for path in found:
                if path.is_file():  # one that was taken away meanwhile is no input, hence no error either
                    yield Input(path)
            if not self._loop:
                return

    def _list(self) -> list[Path]:
        try:
            return sorted(p for p in self._folder.iterdir() if p.suffix.lower() in SUFFIXES)
        except OSError:
            return []
