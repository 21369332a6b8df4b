"""Examples in a folder: images in class folders, as Keras reads a directory. Classes are in the order of their names.

All are decoded once before anything is trained, so that a broken one is named in the first minute and not in the last.
Where they fit into memory, that was the only time. Turning by EXIF is not done, as on boards.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from litefleet_controller.convert.fitting.examples import Numbers
from litefleet_controller.convert.interface import ConversionError
from litefleet_controller.convert.samples.picture import PictureError, Pixels, decoded
from litefleet_controller.convert.samples.preprocess import Floats, prepare
from litefleet_controller.imagefolder import SUFFIXES, classes_of
from litefleet_protocol.tensors import Preprocess

MAX_KEPT_BYTES = 1024**3
"""Of decoded images that are kept in memory."""
_NAMED = 3
"""Broken files that are named; the others are counted."""


class PictureExamples:
    """Implements `Examples`."""

    def __init__(
        self, folder: Path, spec: Preprocess, input_shape: Sequence[int], classes: int, tell: Callable[[int, int], None]
    ) -> None:
        """Decode all images below `folder`; `tell` gets how many are done, and of how many.

        Raises:
            ConversionError: final; `TrainingInvalid`.
        """
        if len(input_shape) != 4:
            raise _invalid(f"the model takes inputs of the shape {tuple(input_shape[1:])}, which are no images")
        found = class_folders(folder)
        if len(found) != classes:
            names = ", ".join(list(found)[:5]) + (", ..." if len(found) > 5 else "")
            raise _invalid(
                f"{str(folder)!r} has {len(found)} class folders ({names}), and the model tells {classes} classes "
                "apart",
                f"build one with --classes {len(found)}",
            )
        self.labels = tuple(found)
        self._files = [file for files in found.values() for file in files]
        self.y: Numbers = np.repeat(np.arange(classes), [len(files) for files in found.values()])
        self._geometry = Preprocess(resize=spec.resize, channels=spec.channels)
        self._scaling = Preprocess(scale=spec.scale, offset=spec.offset)
        self._shape = tuple(input_shape)
        self._kept: Pixels | None = None
        if len(self._files) * int(np.prod(self._shape)) <= MAX_KEPT_BYTES:
            self._kept = np.empty((len(self._files), *self._shape[1:]), dtype=np.uint8)
        self._read(folder, tell)

    def batch(self, chosen: Sequence[int] | Numbers) -> Floats:
        """See `Examples`."""
        return prepare(self.raw(chosen), self._scaling, self._shape)

    def raw(self, chosen: Sequence[int] | Numbers) -> NDArray[Any]:
        """See `Examples`. uint8, in the model's size."""
        if self._kept is not None:
            return np.asarray(self._kept[np.asarray(chosen)])
        return np.stack([self._pixels(self._files[i]) for i in chosen])

    def _read(self, folder: Path, tell: Callable[[int, int], None]) -> None:
        broken = []
        for i, file in enumerate(self._files):
            tell(i, len(self._files))
            try:
                pixels = self._pixels(file)
            except (PictureError, OSError) as e:
                broken.append(f"{file.relative_to(folder)}: {e}")
                continue
            if self._kept is not None:
                self._kept[i] = pixels
        if broken:
            more = f", and {len(broken) - _NAMED} more" if len(broken) > _NAMED else ""
            raise _invalid(
                f"{len(broken)} of {len(self._files)} images can't be decoded ({'; '.join(broken[:_NAMED])}{more})",
                "repair them or take them out",
            )

    def _pixels(self, file: Path) -> Pixels:
        """(H, W, C) as the model sees it, before scale and offset; rounded to bytes."""
        plain = prepare(decoded(file.read_bytes())[np.newaxis], self._geometry, self._shape)
        return np.asarray(np.rint(plain[0]), dtype=np.uint8)


def class_folders(folder: Path) -> dict[str, list[Path]]:
    """Class name to its images, both in order of their names.

    Raises:
        ConversionError: final; `TrainingInvalid`.
    """
    try:
        names = [p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()]
        folders = [p.name for p in folder.iterdir() if p.is_dir() and p.name[0] != "."]
    except OSError as e:
        raise _invalid(f"{str(folder)!r} can't be read: {e.strerror}") from e
    found = classes_of(names)
    kinds = ", ".join(SUFFIXES)
    if set(found) <= {""}:
        raise _invalid(
            f"{str(folder)!r} has no class folders with images", f"put the images of each class ({kinds}) into a folder"
        )
    if "" in found:
        raise _invalid(f"{found[''][0]!r} lies in no class folder, and other images do", "move it into its class's")
    filled = {name.split("/")[0] for images in found.values() for name in images}
    if empty := sorted(set(folders) - filled):
        raise _invalid(f"the class folder {empty[0]!r} has no images ({kinds})", "fill it or take it out")
    return {name: [folder / image for image in images] for name, images in found.items()}


def _invalid(message: str, hint: str = "") -> ConversionError:
    return ConversionError("TrainingInvalid", message, final=True, hint=hint)
