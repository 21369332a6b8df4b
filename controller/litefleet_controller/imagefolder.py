"""Which files of a folder of images are images, and of which class: class folders, as Keras reads a directory.

Here, beside the floors, because what packs a folder, what takes it in and what decodes it must read it alike.
"""

from collections.abc import Iterable
from pathlib import PurePosixPath

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".webp")


def is_image(name: str) -> bool:
    """Whether a path, with `/`, is that of an image: no hidden files, no leftovers of archivers."""
    parts = PurePosixPath(name).parts
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return False
    return name.lower().endswith(SUFFIXES)


def classes_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Class to its images, both in order of their names. "" stands for images in no folder.

    The class is the first folder of a path. A single folder around all class folders is looked through, as archives of
    data sets have it.
    """
    images = sorted(name for name in names if is_image(name))
    paths = {name: PurePosixPath(name).parts for name in images}
    tops = {parts[0] for parts in paths.values()}
    skipped = 1 if len(tops) == 1 and all(len(parts) > 2 for parts in paths.values()) else 0
    found: dict[str, list[str]] = {}
    for name, parts in paths.items():
        found.setdefault(parts[skipped] if len(parts) > skipped + 1 else "", []).append(name)
    return dict(sorted(found.items()))


def in_turn(classes: dict[str, list[str]]) -> list[tuple[str, str]]:
    """(class, image): the first of each class, then the second of each, so that the first few are of all classes."""
    longest = max(map(len, classes.values()), default=0)
    return [(c, images[i]) for i in range(longest) for c, images in classes.items() if i < len(images)]
