"""Picture files: found in folders, and read as they should be seen."""

import os
import struct
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from schemas.errors import UnreadablePictureError, UsageError

# Files of a folder that are taken for pictures. Pillow knows more endings, some of them videos'.
PICTURE_ENDINGS: Final = (
    *(".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)

# What Pillow's decoders raise on broken files, besides its own UnidentifiedImageError (an OSError).
_BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, LookupError, RuntimeError, struct.error)
_INTEGER_MODES: Final = ("I", "I;16", "I;16L", "I;16B")
_MOST_16_BIT: Final = 0xFFFF


def list_pictures(inputs: Iterable[str]) -> list[tuple[str, str]]:
    """Each picture's path, and its path relative to the input that named it, in order.

    A folder gives the files in it and below it whose names end as PICTURE_ENDINGS says, but for hidden
    ones. Raises UsageError for an input that does not exist and for a folder without pictures.
    """
    found = []
    for name in inputs:
        if not os.path.exists(name):
            raise UsageError(f"{name} does not exist.")
        if not os.path.isdir(name):
            found.append((name, os.path.basename(name)))
            continue
        below = sorted(str(path.relative_to(name)) for path in Path(name).rglob("*") if path.is_file())
        pictures = [inner for inner in below if _is_picture(inner)]
        if not pictures:
            raise UsageError(f"There is no picture in {name}.")
        found += [(os.path.join(name, inner), inner) for inner in pictures]
    return found


def _is_picture(path: str) -> bool:
    hidden = any(part.startswith(".") for part in Path(path).parts)
    return not hidden and Path(path).suffix.lower() in PICTURE_ENDINGS


def read_picture(source: str | Path | IO[bytes]) -> np.ndarray:
    """A picture as it should be seen: uint8 RGB [H, W, 3], turned as its EXIF orientation says.

    source: a path, or a file open for reading bytes, of any format that Pillow reads. 16-bit values are
    scaled to 8 bits, transparency lies on white, CMYK and grey become RGB, and of several frames the
    first counts. Raises UnreadablePictureError.
    """
    try:
        with warnings.catch_warnings():
            # Pillow remarks on pictures beyond 89 megapixels and refuses those of twice that.
            warnings.simplefilter("ignore")
            with Image.open(source) as image:
                image.load()
                return _as_rgb(ImageOps.exif_transpose(image))
    except UnreadablePictureError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadablePictureError("This is not a picture of a known format.") from error
    except Image.DecompressionBombError as error:
        raise UnreadablePictureError("The picture is too large to be opened safely.") from error
    except _BROKEN as error:
        raise UnreadablePictureError(f"The picture cannot be read ({error}).") from error


def _as_rgb(image: Image.Image) -> np.ndarray:
    if image.mode in _INTEGER_MODES:
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > _MOST_16_BIT:
            raise UnreadablePictureError("The picture has 32 bits a pixel; save it with 8 or 16.")
        # As 16-bit formats mean it: 65535 is white, however bright the picture is.
        grey = np.rint(values / _MOST_16_BIT * 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise UnreadablePictureError("The picture has floating-point pixels; save it with 8 or 16 bits.")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))
