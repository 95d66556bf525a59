"""Shot cuts from a tiny colour picture of each sampled frame.

A cut changes layout and colours of the whole picture at once. A pan or zoom moves what is in it but
keeps most of its colours, for several samples in a row; a flash or a fade changes its brightness but
keeps its layout; a person walking by changes a part of it. So a cut is where layout and colours both
change, far more than right before and after. Pictures that show nothing (black, white) are passed over.
Dissolves are followed, not cut, when they take longer than a sample.
"""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

GRID: Final = 8
SIGNATURE_BYTES: Final = GRID * GRID * 3
"""Bytes of a frame's signature."""

_THUMB: Final = 72  # rows or columns kept of the shorter side before averaging


def frame_signature(image_rgb: NDArray[np.uint8]) -> bytes:
    """The frame as an 8×8 RGB picture, row by row.

    `image_rgb` is uint8 [height, width, 3] of any size. Returns SIGNATURE_BYTES bytes. Only every
    few rows and columns of a large frame are read, which keeps it far below a millisecond.
    """
    step = max(1, min(image_rgb.shape[:2]) // _THUMB)
    thumb = np.ascontiguousarray(image_rgb[step // 2 :: step, step // 2 :: step])
    return cv2.resize(thumb, (GRID, GRID), interpolation=cv2.INTER_AREA).tobytes()


_CUT: Final = 0.55  # change above which a jump is a cut; see _change
_PEAK: Final = 2.0  # a cut also stands out this much from the changes right before and after it
_CERTAIN: Final = 0.8  # ... unless the pictures have next to nothing in common
_SUBTLE: Final = 0.42  # a smaller change is a cut too where it stands out this much:
_SUDDEN: Final = 4.0
_COLOR: Final = 20.0  # change of colours between unlike pictures, on the scale of _change
_BLANK: Final = 4.0  # standard deviation, in grey levels, below which a picture shows nothing
_FLASH: Final = 25.0  # grey levels by which a flash outshines what is before and after it
_FLOOR: Final = 3.0  # grey levels of noise in a signature
_BLOCK: Final = 4096  # pictures compared at a time


def find_shots(
    signatures: NDArray[np.uint8], pts_us: NDArray[np.int64], decoded: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """The shot each sample belongs to: int32 [n], 0 for the first, one more after each hard cut.

    `signatures` uint8 [n, SIGNATURE_BYTES], rows of samples that did not decode are ignored;
    `pts_us` int64 [n] ascending; `decoded` bool [n]. A sample that did not decode or shows nothing
    (black, white) belongs to the shot before it. Raises ValueError when the shapes do not fit or
    the times do not ascend.
    """
    n = len(pts_us)
    if signatures.shape != (n, SIGNATURE_BYTES) or decoded.shape != (n,):
        raise ValueError(
            f"{n} samples need signatures of shape ({n}, {SIGNATURE_BYTES}) and as many decoded flags, "
            f"not {signatures.shape} and {decoded.shape}."
        )
    if (np.diff(pts_us) < 0).any():
        raise ValueError("Samples must be in the order of their times: sort them before finding shots.")
    starts = np.zeros(n, np.int32)
    seen = np.flatnonzero(decoded & (_by_blocks(_contrast, signatures) >= _BLANK))
    if len(seen) > 1:
        starts[seen[1:][_is_cut(signatures[seen])]] = 1
    return np.cumsum(starts, dtype=np.int32)


def _by_blocks(function: Callable[..., Floats], *signatures: NDArray[np.uint8]) -> Floats:
    """A function of pictures, float32 [m, cells, 3], a block at a time so that memory stays flat."""
    blocks = [
        function(
            *(rows[k : k + _BLOCK].reshape(-1, GRID * GRID, 3).astype(np.float32) for rows in signatures)
        )
        for k in range(0, len(signatures[0]), _BLOCK)
    ]
    return np.concatenate(blocks) if blocks else np.empty(0)


def _contrast(pictures: NDArray[np.float32]) -> Floats:
    contrast: Floats = pictures.std(axis=1).max(axis=1)
    return contrast


def _brightness(pictures: NDArray[np.float32]) -> Floats:
    brightness: Floats = pictures.mean(axis=(1, 2))
    return brightness


def _is_cut(signatures: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For each of [m] pictures but the first: does a new shot start with it? bool [m - 1]."""
    change = _by_blocks(_change, signatures[:-1], signatures[1:])
    padded = np.concatenate([[0.0], change, [0.0]])
    around = np.maximum(padded[:-2], padded[2:])
    clear = (change > _CUT) & ((change > _PEAK * around) | (change > _CERTAIN))
    subtle = (change > _SUBTLE) & (change > _SUDDEN * around)
    # Into a flash and out of it again: the pictures on either side of it are alike.
    brightness = _by_blocks(_brightness, signatures)
    outshines = brightness[1:-1] > np.maximum(brightness[:-2], brightness[2:]) + _FLASH
    alike = _by_blocks(_change, signatures[:-2], signatures[2:]) < _CUT
    flash = np.concatenate([[False], outshines & alike, [False]])
    cuts: NDArray[np.bool_] = (clear | subtle) & ~flash[1:] & ~flash[:-1]
    return cuts


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> Floats:
    """How unlike pictures [m, cells, 3] are, [m]: 0 for the same, about 1 for unrelated ones.

    The geometric mean of two changes that only a cut brings together. The layout's: one minus the
    correlation of the pictures around their mean, blind to brightness and contrast. The colours':
    how far the sorted values of each channel moved (on a square-root scale, so that dark scenes
    count), blind to where things are.
    """
    a, b = (rows.reshape(len(rows), -1) for rows in (before, after))
    a, b = (rows - rows.mean(axis=1, keepdims=True) for rows in (a, b))
    spread = ((a * a).mean(axis=1) + _FLOOR**2) * ((b * b).mean(axis=1) + _FLOOR**2)
    layout = np.maximum(1.0 - (a * b).mean(axis=1) / np.sqrt(spread), 0.0)
    c, d = (np.sort(np.sqrt(rows), axis=1) for rows in (before, after))
    color = 16.0 * np.abs(c - d).mean(axis=(1, 2)) / _COLOR
    change: Floats = np.sqrt(layout * np.minimum(color, 2.0))
    return change
