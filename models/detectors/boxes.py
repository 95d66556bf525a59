"""Boxes and what every detector does with pictures before and with boxes after its network."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import cv2
import numpy as np


class FaceFrame(NamedTuple):
    """The square about a face that FER2013's makers would have cut out: its centre and side in pixels, and
    how far the head is tilted.

    Detectors draw their boxes differently around the same face. A classifier states its crop relative to
    the frame alone, so that it sees the same part of a face after any of them.
    """

    x: float
    y: float
    side: float
    roll: float  # degrees, clockwise


class Box(NamedTuple):
    """A face in a picture: left, top, width and height in its pixels, and the detector's certainty."""

    x: float
    y: float
    w: float
    h: float
    score: float  # 0 to 1
    roll: float = 0.0  # tilt of the head in degrees clockwise; 0 where the detector does not tell
    frame_scale: float = 1.0  # side of the face's frame, in longer sides of the box
    # x and y of both eyes, the tip of the nose and both corners of the mouth, each pair from left to right as
    # one sees it, in pixels; empty where the detector does not tell.
    marks: tuple[tuple[float, float], ...] = ()

    @property
    def frame(self) -> FaceFrame:
        """The face's frame."""
        side = self.frame_scale * max(self.w, self.h)
        return FaceFrame(self.x + self.w / 2, self.y + self.h / 2, side, self.roll)


class Detector(Protocol):
    """Finds faces in pictures."""

    name: str

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """The faces of each picture, best score first.

        Args:
            images: uint8 RGB arrays [height, width, 3], not all of one size.

        Returns:
            One list per picture, in order. Boxes lie inside their picture. What is found in a
            picture does not depend on the others in the call. A picture too small to hold a face
            gives an empty list.

        Raises:
            ValueError: a picture of another shape or type.
        """
        ...


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless the array is uint8 [height, width, 3]."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"A picture must be uint8 RGB [height, width, 3], not {image.dtype} {list(image.shape)}."
        )


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """The picture at another size: averaged over whole blocks of pixels, then bilinear.

    The average keeps a large picture from aliasing, and OpenCV does it much faster than the exact
    average over fractions of pixels.
    """
    block = min(image.shape[0] // height, image.shape[1] // width)
    if block > 1:
        rows, columns = image.shape[0] // block, image.shape[1] // block
        whole = image[: rows * block, : columns * block]
        image = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def finish(
    corners: np.ndarray,
    scores: np.ndarray,
    image: np.ndarray,
    min_face: float,
    frame_scale: float,
    rolls: np.ndarray | None = None,
    marks: np.ndarray | None = None,
) -> list[Box]:
    """Clip boxes to the picture, drop the small ones, sort the rest.

    Args:
        corners: float [n, 4], left, top, right, bottom in the picture's pixels.
        scores: float [n], 0 to 1.
        image: the picture, for its size.
        min_face: fraction of the picture's shorter side that a box's longer side must reach.
        frame_scale: of the boxes, see `Box`.
        rolls: float [n], tilt of each head in degrees clockwise; None: not known.
        marks: float [n, 5, 2], see `Box`; None: not known.
    """
    height, width = image.shape[:2]
    smallest = min_face * min(height, width)
    limits = np.array([width, height, width, height])
    boxes = []
    tilts = np.zeros(len(corners)) if rolls is None else rolls
    places = np.zeros((len(corners), 0, 2)) if marks is None else marks
    for (left, top, right, bottom), score, roll, points in zip(
        np.clip(corners, 0, limits).tolist(), scores.tolist(), tilts.tolist(), places.tolist(), strict=True
    ):
        w, h = right - left, bottom - top
        if min(w, h) > 0 and max(w, h) >= smallest:
            boxes.append(Box(left, top, w, h, score, roll, frame_scale, tuple((x, y) for x, y in points)))
    return sorted(boxes, key=lambda box: (-box.score, *box))
