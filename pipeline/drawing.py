"""Boxes, labels and bars on pictures, for `annotate` and `predict`."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import cv2
import numpy as np

from schemas.emotions import COLORS, EMOTIONS

_FONT: Final = cv2.FONT_HERSHEY_DUPLEX
_PANEL: Final = (24, 24, 28)
_WHITE: Final = (245, 245, 245)
# RGB of each emotion, float [7, 3].
_PALETTE: Final = np.array([list(bytes.fromhex(COLORS[emotion][1:])) for emotion in EMOTIONS], float)
# An unsure face is drawn in its colour, but dark.
_DARKEST: Final = 0.35


class DrawnFace(NamedTuple):
    """One face as it is drawn."""

    x: float  # pixels of the picture: left, top, width, height
    y: float
    w: float
    h: float
    probabilities: np.ndarray  # float [7], in the order of EMOTIONS
    name: str = ""  # shown before the label


def emotion_color(emotion: int, confidence: float) -> tuple[int, int, int]:
    """RGB of an emotion, scaled by how sure it is (0 to 1)."""
    scaled = _PALETTE[emotion] * (_DARKEST + (1 - _DARKEST) * confidence)
    red, green, blue = np.rint(scaled).astype(int).tolist()
    return red, green, blue


def draw_faces(image: np.ndarray, faces: Sequence[DrawnFace]) -> None:
    """Draw boxes, labels with confidence, and a small bar for each emotion into `image`.

    Args:
        image: uint8 RGB [height, width, 3], contiguous; changed in place.
        faces: what to draw; parts outside the picture are cut off.
    """
    scale = max(0.4, min(image.shape[:2]) / 900)
    for face in faces:
        _draw_face(image, face, scale)


def _draw_face(image: np.ndarray, face: DrawnFace, scale: float) -> None:
    emotion = int(face.probabilities.argmax())
    confidence = float(face.probabilities[emotion])
    color = emotion_color(emotion, confidence)
    line = max(1, round(3 * scale))
    left, top = round(face.x), round(face.y)
    right, bottom = round(face.x + face.w), round(face.y + face.h)
    # A dark rim, so that the box is seen on any background.
    cv2.rectangle(image, (left, top), (right, bottom), _PANEL, line + 2, cv2.LINE_AA)
    cv2.rectangle(image, (left, top), (right, bottom), color, line, cv2.LINE_AA)

    text = f"{face.name} {EMOTIONS[emotion]} {confidence:.0%}".strip()
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, max(1, round(scale)))
    margin = max(2, round(6 * scale))
    column, gap = max(3, round(11 * scale)), max(1, round(2 * scale))
    bars_width = len(EMOTIONS) * (column + gap) - gap
    width = margin + bars_width + margin + text_width + margin
    height = text_height + 2 * margin
    # Above the box where there is room, else inside it; never beyond the picture's sides.
    x = max(0, min(left, image.shape[1] - width))
    y = top - height if top >= height else max(0, top)
    area = image[y : y + height, x : x + width]
    area[:] = (0.25 * area + 0.75 * np.array(_PANEL)).astype(np.uint8)
    floor, tallest = y + height - 2, height - 4
    for number, probability in enumerate(face.probabilities):
        start = x + margin + number * (column + gap)
        tall = max(1, round(float(probability) * tallest))
        cv2.rectangle(
            image, (start, floor - tall), (start + column - 1, floor), emotion_color(number, 1.0), -1
        )
    place = (x + 2 * margin + bars_width, y + height - margin)
    cv2.putText(image, text, place, _FONT, scale, _WHITE, max(1, round(scale)), cv2.LINE_AA)
