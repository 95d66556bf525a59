"""How a head is turned, from points of the face that stay where they are whatever it expresses.

Their places on an average head are those of the canonical face model that Google publishes with MediaPipe
(Apache-2.0). Which turn of that head shows them where they are in the picture is the perspective-n-point
problem, which OpenCV solves (`cv2.SOLVEPNP_SQPNP`: Terzakis and Lourakis, "A Consistently Fast and Globally
Optimal Solution to the Perspective-n-Point Problem", ECCV 2020).
"""

import math
from typing import Final, NamedTuple

import cv2
import numpy as np

from models.detectors.boxes import Box

# Points of the mesh on bone and gristle: forehead, ridge, tip and wings of the nose, temples, corners of the
# eyes, cheekbones. Centimetres: x to the person's left, y up, z forward. Each pair has one place, mirrored.
_MIDLINE: Final = {
    10: (0.0, 8.262, 4.482),
    168: (0.0, 3.271, 5.236),
    6: (0.0, 2.473, 5.789),
    4: (0.0, -0.463, 7.587),
    2: (0.0, -2.089, 6.058),
}
_PAIRS: Final = {
    (297, 67): (3.524, 8.006, 3.729),
    (284, 54): (6.279, 6.615, 1.426),
    (263, 33): (4.446, 2.664, 3.173),
    (362, 133): (1.856, 2.585, 3.758),
    (358, 129): (1.786, -0.978, 4.850),
    (346, 117): (5.259, 0.946, 2.974),
}
STABLE_POINTS: Final = np.array([*_MIDLINE, *np.ravel(list(_PAIRS))])
_TO_CAMERA: Final = np.array([1.0, -1.0, -1.0])  # x right, y down, z away, as OpenCV's cameras have it
_STABLE: Final = _TO_CAMERA * np.array(
    [*_MIDLINE.values(), *(place for x, y, z in _PAIRS.values() for place in ((x, y, z), (-x, y, z)))]
)

# A detector's five marks: both eyes, the tip of the nose, both corners of the mouth.
_MARKS: Final = _TO_CAMERA * np.array(
    [
        (-3.151, 2.62, 3.7),
        (3.151, 2.62, 3.7),
        (0.0, -0.8, 7.53),
        (-2.456, -4.343, 4.284),
        (2.456, -4.343, 4.284),
    ]
)

# The camera is taken to look at the face from two metres, between the arm's length of a webcam and the
# distance of a stage: its focal length in sides of the face's frame, which is about 18 cm wide.
_FOCAL_LENGTH: Final = 2.0 / 0.18

# Marks that no turn of a head explains are not on one; in sides of the frame, root of the mean square.
_LARGEST_MISFIT: Final = 0.06


class Pose(NamedTuple):
    """How a head is turned, in degrees; nan where it cannot be known. docs/pose.md draws the signs.

    yaw: positive when the face is turned to the right of the picture. pitch: positive when it looks up.
    roll: positive when it is tilted clockwise. They follow one another as pitch, yaw, roll, so that a turn of
    the picture changes roll alone.
    """

    yaw: float
    pitch: float
    roll: float

    @property
    def axes(self) -> np.ndarray:
        """Where the head's axes point, float [3, 3]: to its left, up and forward, one a row, each x to the
        right, y down and z away from the camera. A pitch that is not known counts as none.
        """
        yaw, pitch, roll = np.radians([-self.yaw, -np.nan_to_num(self.pitch), self.roll])
        nod = [[1, 0, 0], [0, math.cos(pitch), -math.sin(pitch)], [0, math.sin(pitch), math.cos(pitch)]]
        turn = [[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]]
        tilt = [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
        axes: np.ndarray = (np.array(tilt) @ turn @ nod * _TO_CAMERA).T
        return axes


UNKNOWN: Final = Pose(math.nan, math.nan, math.nan)


def estimate_pose(points: np.ndarray | None, box: Box) -> Pose:
    """How the head in a box is turned.

    points: float [468, 2 or more], x and y in pixels, from `FaceMesh`. Where there are none, the detector's
    five marks tell yaw and roll; not pitch, for two of them are corners of the mouth, which move up and down
    as much by an expression as by a nod. Without marks nothing is known.
    """
    if points is not None:
        turn, _ = _solve(_STABLE, points[STABLE_POINTS, :2], box)
        return _angles(turn)
    if not box.marks:
        return UNKNOWN
    turn, misfit = _solve(_MARKS, np.array(box.marks), box)
    return _angles(turn)._replace(pitch=math.nan) if misfit <= _LARGEST_MISFIT else UNKNOWN


def _solve(model: np.ndarray, points: np.ndarray, box: Box) -> tuple[np.ndarray, float]:
    """The rotation [3, 3] of the model that shows its points where they are, and how far they are off."""
    x, y, side, _ = box.frame
    # In sides of the frame about its centre, where the camera looks: no number depends on the picture's size.
    seen = (points.astype(np.float64) - (x, y)) / side
    camera = np.diag([_FOCAL_LENGTH, _FOCAL_LENGTH, 1.0])
    _, turn, shift = cv2.solvePnP(model, seen, camera, None, flags=cv2.SOLVEPNP_SQPNP)
    shown, _ = cv2.projectPoints(model, turn, shift, camera, None)
    misfit = math.sqrt(((shown[:, 0] - seen) ** 2).sum(axis=1).mean())
    return cv2.Rodrigues(turn)[0], misfit


def _angles(turn: np.ndarray) -> Pose:
    yaw = math.asin(max(-1.0, min(1.0, turn[2, 0])))
    pitch = -math.atan2(turn[2, 1], turn[2, 2])
    roll = math.atan2(turn[1, 0], turn[0, 0])
    return Pose(math.degrees(yaw), math.degrees(pitch), math.degrees(roll))
