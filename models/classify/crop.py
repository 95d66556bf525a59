"""Cutting a face out of a picture as a model wants it."""

import math
from typing import Final

import cv2
import numpy as np

from models.classify.spec import ModelSpec
from models.detectors.boxes import FaceFrame

_LEVEL: Final = 3.0  # degrees; a head no more tilted is cut out as it is, which keeps every pixel


def make_crop(image: np.ndarray, frame: FaceFrame, spec: ModelSpec) -> np.ndarray:
    """The face in a frame, cut out as the model's training faces were: upright, and as wide.

    image: uint8 [H, W, 3], RGB. frame: may reach out of the picture, whose border is then repeated.

    Returns uint8 [input_size, input_size, channels], grey or RGB. Raises ValueError for an image of
    another kind and for a frame without a positive, finite size.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError("A face is cut from an RGB picture, uint8 [height, width, 3].")
    if not (np.isfinite(frame).all() and frame.side > 0):
        raise ValueError(f"The frame {frame} has no positive, finite size.")
    side = max(1, round(frame.side * spec.crop.scale))
    # A tilted face is cut out with its surroundings, which a turn brings in at the corners.
    turned = abs(frame.roll) > _LEVEL
    margin = math.ceil(side * (math.sqrt(2) - 1) / 2) if turned else 0
    wide = side + 2 * margin
    square = cut_square(image, frame.x, frame.y, side, margin)
    if spec.channels == 1:
        square = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    if turned:
        turn = cv2.getRotationMatrix2D(((wide - 1) / 2, (wide - 1) / 2), frame.roll, 1.0)
        upright = cv2.warpAffine(square, turn, (wide, wide), borderMode=cv2.BORDER_REPLICATE)
        square = upright[margin : margin + side, margin : margin + side]
    size = spec.input_size
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=interpolation).reshape(size, size, spec.channels)


def cut_square(image: np.ndarray, x: float, y: float, side: int, margin: int = 0) -> np.ndarray:
    """A square of a picture [H, W, C] about a place, with a margin; the border repeats where it is left."""
    left, top = round(x - side / 2) - margin, round(y - side / 2) - margin
    wide = side + 2 * margin
    return image.take(range(top, top + wide), axis=0, mode="clip").take(
        range(left, left + wide), axis=1, mode="clip"
    )
