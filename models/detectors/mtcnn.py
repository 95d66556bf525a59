"""MTCNN through the `mtcnn` package."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from mtcnn import MTCNN

from models.detectors.boxes import Box, check_image, finish, resize

_WINDOW: Final = 20


class MtcnnDetector:
    """The three networks of the `mtcnn` package."""

    name = "mtcnn"

    def __init__(self, min_face: float) -> None:
        self._min_face = min_face
        self._network = MTCNN()

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> list[Box]:
        check_image(image)
        height, width = image.shape[:2]
        shorter = min(height, width)
        if shorter < _WINDOW:
            return []
        scale = min(_WINDOW / 12, _WINDOW / (self._min_face * shorter))
        small_h, small_w = round(height * scale), round(width * scale)
        rows = self._network.detect_faces(
            resize(image, small_h, small_w), fit_to_image=False, output_type="numpy", box_format="xyxy"
        )
        corners = rows[:, 1:5] * np.array([width / small_w, height / small_h] * 2)
        return finish(corners, rows[:, 5], image, self._min_face)
