"""Shot cuts from a tiny colour picture of each sampled frame.

A cut changes the whole picture at once and for good. A pan or zoom moves it, a flash or a fade
brightens it, a person walking by changes a part of it. So two pictures are compared at the best of
a few shifts and with their overall brightness and contrast taken out, pictures that show nothing
(black, white) are passed over, and a change that the next picture takes back is no cut.
"""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

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


_CUT: Final = 0.33  # change above which a lone jump is a cut; 0 is the same picture, 1 is unrelated
_PEAK: Final = 2.0  # a cut also stands out this much from the changes right before and after it
_CERTAIN: Final = 0.7  # ... unless the pictures have next to nothing in common
_BLANK: Final = 4.0  # standard deviation, in grey levels, below which a picture shows nothing
_FLASH: Final = 25.0  # grey levels by which a flash outshines what is before and after it
_FLOOR: Final = 3.0  # grey levels of noise in a signature
_REACH: Final = 1  # cells a picture may have moved


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
    pictures = signatures.reshape(n, GRID, GRID, 3).astype(np.float32)
    seen = np.flatnonzero(decoded & (pictures.std(axis=(1, 2)).max(axis=1) >= _BLANK))
    if len(seen) > 1:
        starts[seen[1:][_is_cut(pictures[seen])]] = 1
    return np.cumsum(starts, dtype=np.int32)


def _is_cut(pictures: NDArray[np.float32]) -> NDArray[np.bool_]:
    """For each picture [m, GRID, GRID, 3] but the first: does a new shot start with it? bool [m - 1]."""
    change = _change(pictures[:-1], pictures[1:])
    over_two = np.concatenate([[2.0], _change(pictures[:-2], pictures[2:]), [2.0]])
    brightness = pictures.mean(axis=(1, 2, 3))
    around = np.maximum(brightness[:-2], brightness[2:])
    flash = np.concatenate([[False], brightness[1:-1] > around + _FLASH, [False]])
    taken_back = (flash[1:] & (over_two[1:] < _CUT)) | (flash[:-1] & (over_two[:-1] < _CUT))
    padded = np.concatenate([[0.0], change, [0.0]])
    neighbours = np.maximum(padded[:-2], padded[2:])
    stands_out = change > _PEAK * neighbours
    return (change > _CUT) & (stands_out | (change > _CERTAIN)) & ~taken_back


def _change(before: NDArray[np.float32], after: NDArray[np.float32]) -> NDArray[np.float64]:
    """How unlike two rows of pictures are, [m]: one minus their correlation at the best shift."""
    best = np.full(len(before), 2.0)
    shifts = range(-_REACH, _REACH + 1)
    for dy in shifts:
        for dx in shifts:
            a = _part(before, dy, dx)
            b = _part(after, -dy, -dx)
            covariance = (a * b).mean(axis=1)
            spread = ((a * a).mean(axis=1) + _FLOOR**2) * ((b * b).mean(axis=1) + _FLOOR**2)
            best = np.minimum(best, 1.0 - covariance / np.sqrt(spread))
    return best


def _part(pictures: NDArray[np.float32], dy: int, dx: int) -> NDArray[np.float32]:
    """The cells that remain after a shift, around their mean: [m, cells × 3]."""
    part = pictures[:, max(0, dy) : GRID + min(0, dy), max(0, dx) : GRID + min(0, dx)]
    flat = part.reshape(len(pictures), -1)
    return flat - flat.mean(axis=1, keepdims=True)
