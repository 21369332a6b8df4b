"""One image file as pixels, as a board decodes it. Decoders are a way in for whoever made a file: runs in workers."""

import io
import math

import numpy as np
from numpy.typing import NDArray

MAX_PIXELS = 50_000_000
"""A file of some KB can claim to be more than memory holds."""
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP")
Pixels = NDArray[np.uint8]


class PictureError(ValueError):
    """Why a file can't be decoded, a few words."""


def decoded(data: bytes) -> Pixels:
    """(H, W) or (H, W, 3). Turning by EXIF is not done, as on boards.

    Raises: PictureError.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            if math.prod(image.size) > MAX_PIXELS:
                raise ValueError(f"{image.size[0]}x{image.size[1]} pixels are more than {MAX_PIXELS}")
            plain = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode in ("1", "LA") else "RGB")
            return np.array(plain, dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as e:  # the decoders' edge: each has errors of its own for a broken file
        raise PictureError(str(e).splitlines()[0][:120] if str(e) else type(e).__name__) from e
