"""Which faces can be believed: those that are frontal, large and sharp enough. docs/pose.md says why."""

from typing import Final

import numpy as np

FRONTAL_DEGREES: Final = 30  # of yaw and of pitch, at most
LEAST_FACE_PX: Final = 40
LEAST_SHARPNESS: Final = -2.0


def face_px(boxes: np.ndarray) -> np.ndarray:
    """The shorter side of each box, float32 [m, 4]: x, y, w, h."""
    shorter: np.ndarray = boxes[:, 2:].min(axis=1)
    return shorter


def is_frontal(pose: np.ndarray) -> np.ndarray:
    """Whether faces look this way, bool [m], by yaw, pitch and roll, float [m, 3]; not where unknown."""
    frontal: np.ndarray = (np.abs(pose[:, :2]) <= FRONTAL_DEGREES).all(axis=1)
    return frontal


def is_believable(pose: np.ndarray, sharpness: np.ndarray, shorter_sides: np.ndarray) -> np.ndarray:
    """Which faces are frontal, sharp and large enough, bool [m]; see `is_frontal` and `face_px`."""
    chosen: np.ndarray = is_frontal(pose) & (sharpness >= LEAST_SHARPNESS) & (shorter_sides >= LEAST_FACE_PX)
    return chosen
