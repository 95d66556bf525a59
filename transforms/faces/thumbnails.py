"""Small pictures of faces, for reports."""

from fractions import Fraction
from typing import Final

import cv2
import numpy as np

from models.detectors import Box

THUMBNAIL_SIZE: Final = 72
THUMBNAILS_PER_SECOND: Final = 5  # a face seen once at the usual rate has one
# Tables of its own make a small picture a sixth smaller.
_JPEG: Final = (cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_OPTIMIZE, 1)
_FPS_OF_EVERY_FRAME: Final = 30  # assumed for thumbnails alone
_ROUNDED_US: Final = 5_000  # a frame may be this much early for the instant that it serves


def carries_thumbnails(sample: int, pts_us: int, fps: Fraction) -> bool:
    """Whether the faces at a sample carry a thumbnail: some do, so that rows stay small at any rate.

    At `fps` samples a second, those of every so manieth instant k / fps. A sample is the first frame after
    all the instants from its own number's to its own time, any of which may be the one.
    """
    interval = max(1, round((fps or _FPS_OF_EVERY_FRAME) / THUMBNAILS_PER_SECOND))
    last = max(sample, int((pts_us + _ROUNDED_US) * fps / 1_000_000))
    return last // interval > (sample - 1) // interval


def make_thumbnail(image: np.ndarray, box: Box) -> bytes:
    """A square JPEG of a face and a little around it, from an RGB picture uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    half = 0.65 * max(box.w, box.h)
    center_x, center_y = box.x + box.w / 2, box.y + box.h / 2
    left, right = max(0, round(center_x - half)), min(width, round(center_x + half))
    top, bottom = max(0, round(center_y - half)), min(height, round(center_y + half))
    face = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = THUMBNAIL_SIZE / max(face.shape[:2])
    size = (max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale)))
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), _JPEG)
    return encoded.tobytes()
