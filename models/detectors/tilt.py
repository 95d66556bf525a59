"""The tilt of a head, from the five marks that detectors find on a face."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

# Both eyes, the tip of the nose and both corners of the mouth of an upright face, about their mean, in
# distances between the eyes; left and right as one sees them.
_UPRIGHT: Final = np.array([(-0.5, -0.52), (0.5, -0.52), (0.0, 0.02), (-0.42, 0.51), (0.42, 0.51)])


def roll_of(marks: np.ndarray) -> np.ndarray:
    """The tilt of heads, in degrees clockwise: of the turn that best fits an upright face to the marks.

    marks: float [N, 5, 2], x and y of both eyes, the nose and both corners of the mouth, from left to
    right as one sees them. All five count, for a head in profile shows its eyes in one place.

    Returns float64 [N]. Least squares over turns and scales; Umeyama 1991 has the general case.
    """
    x, y = np.moveaxis(marks - marks.mean(axis=1, keepdims=True), 2, 0)
    degrees: NDArray[np.float64] = np.degrees(
        np.arctan2(y @ _UPRIGHT[:, 0] - x @ _UPRIGHT[:, 1], x @ _UPRIGHT[:, 0] + y @ _UPRIGHT[:, 1])
    )
    return degrees
