"""From a detector's box to the face's frame: the square that FER2013's makers would have cut out.

Detectors draw their boxes differently around the same face. A classifier states its crop relative to
the frame alone, so that it sees the same part of a face after any of them.
"""

from typing import Final, NamedTuple

import numpy as np

from models.detectors.boxes import Box

# Side of the frame, in longer sides of the box: medians over FER2013's own pictures, found again
# (`python -m benchmarks.redetection`). Their centres agree to a hundredth of a side.
_FRAME_SIDE: Final = {"mtcnn": 0.94, "haar": 0.96, "yunet": 0.89}

# Both eyes, the tip of the nose and both corners of the mouth of an upright face, about their mean, in
# distances between the eyes; left and right as one sees them.
_UPRIGHT: Final = np.array([(-0.5, -0.52), (0.5, -0.52), (0.0, 0.02), (-0.42, 0.51), (0.42, 0.51)])


class FaceFrame(NamedTuple):
    """A square about a face: its centre and side in pixels, and how far the head is tilted."""

    x: float
    y: float
    side: float
    roll: float  # degrees, clockwise


def face_frame(detector: str, box: Box) -> FaceFrame:
    """The frame of the face in the box that the detector of that name found."""
    side = _FRAME_SIDE[detector] * max(box.w, box.h)
    return FaceFrame(box.x + box.w / 2, box.y + box.h / 2, side, box.roll)


def roll_of(marks: np.ndarray) -> np.ndarray:
    """The tilt of heads, in degrees clockwise: of the turn that best fits an upright face to the marks.

    marks: float [N, 5, 2], x and y of both eyes, the nose and both corners of the mouth, from left to
    right as one sees them. All five count, for a head in profile shows its eyes in one place.

    Returns float64 [N]. Least squares over turns and scales; Umeyama 1991 has the general case.
    """
    x, y = np.moveaxis(marks - marks.mean(axis=1, keepdims=True), 2, 0)
    return np.degrees(
        np.arctan2(y @ _UPRIGHT[:, 0] - x @ _UPRIGHT[:, 1], x @ _UPRIGHT[:, 0] + y @ _UPRIGHT[:, 1])
    )
