"""YuNet, a small convolutional detector that OpenCV runs by itself.

Wu, Peng and Yu, "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research, 2023.
The weights are MIT-licensed and published in OpenCV's model zoo; no package ships them, so they are
downloaded once, checked, and kept.
"""

import hashlib
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import platformdirs

from models.detectors.boxes import Box, check_image, finish, resize
from models.detectors.tilt import roll_of
from schemas.errors import UsageError

WEIGHTS_URL: Final = (
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "47534e27c9851bb1128ccc0102f1145e27f23f98/"
    "models/face_detection_yunet/face_detection_yunet_2026may.onnx"
)
WEIGHTS_SHA256: Final = "ebafce4e3c118d6554634be5c27ab333b4c047a9a8c3faf1d7cf93101c22f0f0"

CACHE_VARIABLE: Final = "AFFECTLINE_CACHE"  # environment variable: a folder to use instead

_TIMEOUT_S: Final = 30
_LARGEST_DOWNLOAD: Final = 16 << 20  # bytes; the real file has 230 kB

_WINDOW: Final = 18  # pixels; about the smallest face the network finds reliably
# A side within the coarsest cell, 32 pixels, makes OpenCV read memory that nobody wrote. Black below and to
# the right is what it puts there itself, up to whole cells.
_LEAST_SIDE: Final = 64
_SCORE: Final = 0.5
_OVERLAP: Final = 0.3
_CANDIDATES: Final = 5000


def cache_folder() -> Path:
    """Where downloads are kept: $AFFECTLINE_CACHE or the platform's own cache folder."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("affectline"))


def published_weights(
    url: str = WEIGHTS_URL, sha256: str = WEIGHTS_SHA256, folder: Path | None = None
) -> Path:
    """The file at the URL, from the cache folder when it is there, else downloaded into it.

    Nothing is kept unless its sha256 is the one given, so that a file in the cache is a good one.

    Raises:
        UsageError: no download, or other bytes than expected. The message says what to do.
    """
    folder = folder or cache_folder()
    target = folder / f"{sha256[:16]}-{Path(url).name}"
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == sha256:
        return target
    remedy = "fetch it elsewhere and pass it with --detector-weights FILE."
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:
            data = response.read(_LARGEST_DOWNLOAD)
    except (OSError, HTTPException) as error:
        raise UsageError(f"The detector's weights at {url} did not download ({error}); {remedy}") from error
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise UsageError(
            f"The file at {url} is not the expected one (sha256 {found}, not {sha256}); {remedy}"
        )
    # Written beside and renamed: another process may be doing the same.
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as part:
            part.write(data)
        os.replace(part.name, target)
    except OSError as error:
        raise UsageError(
            f"The cache folder {folder} cannot be written ({error.strerror}); "
            f"set {CACHE_VARIABLE} to a folder that can be."
        ) from error
    return target


class YunetDetector:
    """YuNet run by OpenCV's own network code, one picture at a time."""

    name = "yunet"

    def __init__(self, min_face: float, frame_scale: float, weights: Path) -> None:
        """Load the ONNX file; UsageError when it is missing or is not a YuNet."""
        self._min_face, self._frame_scale = min_face, frame_scale
        if not weights.is_file():
            raise UsageError(f"There is no weights file {weights}; pass YuNet's ONNX file.")
        try:
            self._network = cv2.FaceDetectorYN.create(
                str(weights),
                "",
                (32, 32),
                score_threshold=_SCORE,
                nms_threshold=_OVERLAP,
                top_k=_CANDIDATES,
            )
            self._network.detect(np.zeros((32, 32, 3), np.uint8))
        except cv2.error as error:
            raise UsageError(f"OpenCV cannot use {weights} as YuNet weights; pass its ONNX file.") from error

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> list[Box]:
        check_image(image)
        height, width = image.shape[:2]
        shorter = min(height, width)
        if shorter < _WINDOW:
            return []
        scale = min(1.0, _WINDOW / (self._min_face * shorter))
        small_h, small_w = max(1, round(height * scale)), max(1, round(width * scale))
        small = cv2.cvtColor(resize(image, small_h, small_w), cv2.COLOR_RGB2BGR)
        below, right = max(0, _LEAST_SIDE - small_h), max(0, _LEAST_SIDE - small_w)
        small = cv2.copyMakeBorder(small, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._network.setInputSize(small.shape[1::-1])
        _, faces = self._network.detect(small)
        if faces is None:
            return []
        corners = faces[:, :4].astype(np.float64)
        corners[:, 2:] += corners[:, :2]
        to_image = np.array([width / small_w, height / small_h])
        corners *= np.tile(to_image, 2)
        marks = faces[:, 4:14].reshape(-1, 5, 2)
        return finish(
            corners,
            faces[:, 14],
            image,
            self._min_face,
            self._frame_scale,
            roll_of(marks),
            marks * to_image,
        )
