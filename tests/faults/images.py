"""A small data set as a folder of images, packed; the same bytes each time."""

import io
import tarfile
import zipfile
from functools import cache

import numpy as np
from PIL import Image

_FORMATS = ("PNG", "JPEG", "BMP", "WEBP")
_CLASSES = ("a", "b", "c")


@cache
def _images() -> list[tuple[str, bytes]]:
    rng = np.random.default_rng(1)
    made = []
    for number in range(12):
        file = io.BytesIO()
        kind = _FORMATS[number % len(_FORMATS)]
        Image.fromarray(rng.integers(0, 255, (10, 10, 3), np.uint8)).save(file, kind)
        made.append((f"{_CLASSES[number % 3]}/{number}.{kind.lower()}", file.getvalue()))
    return made


@cache
def as_zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in _images():
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


@cache
def as_tar() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in _images():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()
