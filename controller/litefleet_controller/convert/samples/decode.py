"""A folder of images as arrays: decoded, resized, numbered by class. Once for all tasks that need them.

Decoders of images are a way in for whoever made the images, so this runs in a worker. What comes out is an .npz like
one that somebody pushed: `x` uint8 (N, H, W) or (N, H, W, 3), before channels, scale and offset, and `y` int64 (N).
Resizing is a board's own, rounded to bytes. As on boards, turning by EXIF is not done.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from litefleet_controller.convert.samples.imagearchive import opened, unusable
from litefleet_controller.convert.samples.picture import PictureError, Pixels, decoded
from litefleet_controller.convert.samples.preprocess import resized
from litefleet_controller.convert.workers.tasks import DATA_FILE, Decode, Decoded
from litefleet_controller.imagefolder import classes_of, in_turn

MAX_DATA_BYTES = 512 * 1024**2
"""Of `x`: what several tasks can hold at once. Fewer images are taken where that isn't enough."""

_TOLD_EVERY = 50


def decode(task: Decode, stage: Callable[[str, int], None]) -> Decoded:
    """Write DATA_FILE.

    Raises:
        RungError: `ImagesInvalid`.
    """
    stage("decoding", 0)
    with opened(Path(task.archive)) as archive:
        classes = classes_of(archive.names)
        numbers = _numbers(list(classes), task.labels)
        chosen = {image: c for c, image in in_turn(classes)[: task.samples]}
        place = {image: at for at, image in enumerate(chosen)}
        images: dict[int, Pixels] = {}
        room = len(chosen)
        for name, data in archive.read(chosen.keys()):
            if place[name] >= room:
                continue
            images[place[name]] = pixels = _prepared(_decoded(name, data), task)
            room = min(room, max(1, MAX_DATA_BYTES // pixels.nbytes))
            if len(images) % _TOLD_EVERY == 0:
                stage("decoding", 100 * len(images) // len(chosen))
    names = list(chosen)
    kept = sorted(at for at in images if at < room)
    _check_alike([images[at] for at in kept], [names[at] for at in kept])
    arrays = {"x": np.stack([images[at] for at in kept])}
    if numbers is not None:
        arrays["y"] = np.array([numbers[chosen[names[at]]] for at in kept], dtype=np.int64)
        if not set(numbers) <= set(task.labels):
            arrays["folders"] = np.array([len(numbers)])
    np.savez(Path(task.folder) / DATA_FILE, **arrays)  # type: ignore[arg-type]  # its stub takes a flag for an array
    return Decoded(samples=len(kept), of=len(chosen))


def _numbers(folders: Sequence[str], labels: Sequence[str]) -> dict[str, int] | None:
    """Folder to class number: by the labels where they name the folders, else by order. None without folders.

    Raises:
        RungError: `ImagesInvalid`.
    """
    if not folders:
        raise unusable("it has no images (.jpg, .png, .bmp, .webp)")
    if list(folders) == [""]:
        return None
    if "" in folders:
        raise unusable("some of its images lie in class folders and some beside them")
    known = set(folders) & set(labels)
    if known == set(folders):
        return {folder: labels.index(folder) for folder in folders}
    if known:
        strange = min(set(folders) - known)
        raise unusable(f"its folder {strange[:60]!r} is none of spec.output.labels, and others are")
    return {folder: number for number, folder in enumerate(folders)}


def _decoded(name: str, data: bytes) -> Pixels:
    try:
        return decoded(data)
    except PictureError as e:
        raise unusable(f"{name[:80]!r} can't be decoded ({e})") from e


def _prepared(pixels: Pixels, task: Decode) -> Pixels:
    channels = task.preprocess.channels
    if channels == 3 and pixels.ndim == 2:
        pixels = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    if task.preprocess.resize is None or pixels.shape[:2] == task.preprocess.resize:
        return pixels
    floats = pixels.astype(np.float32).reshape(1, *pixels.shape[:2], -1)
    return (
        np.rint(resized(floats, *task.preprocess.resize))
        .astype(np.uint8)
        .reshape(*task.preprocess.resize, *pixels.shape[2:])
    )


def _check_alike(images: Sequence[Pixels], names: Sequence[str]) -> None:
    for pixels, name in zip(images, names, strict=True):
        if pixels.shape[:2] != images[0].shape[:2]:
            raise unusable(
                f"{names[0][:60]!r} has {_size(images[0])} pixels and {name[:60]!r} has {_size(pixels)}: "
                "set spec.input.preprocess.resize"
            )
        if pixels.ndim != images[0].ndim:
            raise unusable(
                f"of {names[0][:60]!r} and {name[:60]!r} one is grey and one isn't: set spec.input.preprocess.channels"
            )


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"
