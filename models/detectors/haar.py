"""Viola and Jones' boosted Haar cascade for frontal faces, as shipped inside OpenCV 4."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from models.detectors.boxes import Box, check_image, finish, resize

_CASCADE: Final = "haarcascade_frontalface_alt2.xml"
_WINDOW: Final = 20  # pixels; the cascade's smallest face
_SCALE_STEP: Final = 1.1
_NEIGHBOURS: Final = 3  # more windows than that must agree on a face

# A face is as likely as not when this many windows agree. The weight of the cascade's last stage does
# not tell faces from others (docs/detectors.md); how many windows agree does.
_WINDOWS_AT_HALF: Final = 4.5
_STEEPNESS: Final = 4


class HaarDetector:
    """Frontal faces by a Haar cascade: no weights to fetch, quick to start, square boxes."""

    name = "haar"

    def __init__(self, min_face: float, frame_scale: float) -> None:
        self._min_face, self._frame_scale = min_face, frame_scale
        self._cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / _CASCADE))

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> list[Box]:
        check_image(image)
        height, width = image.shape[:2]
        shorter = min(height, width)
        if shorter < _WINDOW:
            return []
        # Shrink until the smallest face wanted just fills the cascade's window: no face is lost and
        # no time is spent on smaller ones.
        scale = min(1.0, _WINDOW / (self._min_face * shorter))
        small_h, small_w = max(_WINDOW, round(height * scale)), max(_WINDOW, round(width * scale))
        grey = cv2.equalizeHist(cv2.cvtColor(resize(image, small_h, small_w), cv2.COLOR_RGB2GRAY))
        smallest = max(_WINDOW, round(self._min_face * min(small_h, small_w)))
        rectangles, windows = self._cascade.detectMultiScale2(
            grey, scaleFactor=_SCALE_STEP, minNeighbors=_NEIGHBOURS, minSize=(smallest, smallest)
        )
        if len(rectangles) == 0:
            return []
        corners = np.asarray(rectangles, np.float64)
        corners[:, 2:] += corners[:, :2]
        corners *= np.array([width / small_w, height / small_h] * 2)
        scores = 1 / (1 + (_WINDOWS_AT_HALF / np.ravel(windows)) ** _STEEPNESS)
        return finish(corners, scores, image, self._min_face, self._frame_scale)
