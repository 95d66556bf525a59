"""How sharp a crop is, and what too little of it does to confidence.

A face too small or too blurred looks smooth once it is a crop, whichever of the two it was, so the crop
alone tells. Classifiers trained on sharp pictures stay confident on smooth ones; a temperature that
rises as sharpness falls makes them say how often they are right.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

_SIDE: Final = 48  # pixels; crops are measured at this size
_FINE, _COARSE = 1.0, 2.0  # pixels; deviations of the two blurs whose difference is detail


@dataclass(frozen=True)
class Softening:
    """Temperature exp(slope * (knee - sharpness)) of crops below `knee`, and 1 of those above it."""

    knee: float
    slope: float  # not negative


def sharpness(crops: np.ndarray) -> np.ndarray:
    """Log of the detail in each crop, relative to its contrast.

    Detail is what a blur of 1 pixel keeps and one of 2 pixels removes: finer things are noise and
    compression as often as faces. crops: uint8 [N, H, W, C], square.

    Returns float32 [N]: about -1.6 for sharp faces, -2.2 for faces of 12 pixels, -3 for mere blobs.
    """
    values = np.empty(len(crops), np.float32)
    for i, crop in enumerate(crops):
        if crop.shape[0] != _SIDE:
            crop = cv2.resize(crop, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        picture = crop.astype(np.float32)
        detail = cv2.GaussianBlur(picture, (0, 0), _FINE) - cv2.GaussianBlur(picture, (0, 0), _COARSE)
        # A grey level's worth keeps empty crops finite, and is nothing beside a face.
        values[i] = np.log((detail.std() + 0.1) / (picture.std() + 1))
    return values


def soften(probabilities: np.ndarray, sharp: np.ndarray, softening: Softening) -> np.ndarray:
    """Less confident where the crop was not sharp; the most probable class stays the same.

    probabilities: float [N, K], rows sum to 1. sharp: float [N], from `sharpness`. Returns float32 [N, K].
    """
    temperature = np.exp(softening.slope * np.maximum(0, softening.knee - sharp))[:, None]
    softer = probabilities.astype(np.float64) ** (1 / temperature)
    total: NDArray[np.float64] = softer.sum(axis=1, keepdims=True)
    return (softer / total).astype(np.float32)
