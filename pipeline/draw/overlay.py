"""Drawing on a picture what is known of a face: box, track, label, emotions as bars, pose and mesh."""

from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from schemas.emotions import colors_of
from transforms.faces.analyzer import AnalyzedFace, TrackedFace
from transforms.faces.view import FaceView

_FAINTEST = 0.3  # of a colour's brightness, so that an unsure label's box can still be seen
_PANEL = (0, 0, 0, 184)  # RGBA
_EMPTY_BAR = (62, 62, 62, 184)
_TEXT_PER_FACE = 0.13  # height of the text as a part of the box's width, within the limits below
_AXIS = 0.16  # length of an axis in shorter sides of the box
_AXES = ((230, 60, 60), (60, 200, 60), (80, 130, 255))
_MESH = (120, 255, 200)
_SMALLEST_TEXT, _LARGEST_TEXT = 9, 0.05  # pixels; a part of the picture's shorter side


def confidence_color(color: str, confidence: float) -> tuple[int, int, int]:
    """RGB of an emotion's colour (hex), the darker the less sure the label is."""
    scale = _FAINTEST + (1 - _FAINTEST) * confidence
    red, green, blue = np.rint(np.array(ImageColor.getrgb(color)) * scale).astype(int).tolist()
    return red, green, blue


def draw_face(image: np.ndarray, face: AnalyzedFace, name: str) -> None:
    """Draw one face onto uint8 RGB [H, W, 3], in place.

    Args:
        image: the picture.
        face: whose box may reach over the edges; pose and mesh are drawn where they are known. Classes that
            the model does not know get no bar.
        name: stands before the label, such as a track's number.
    """
    color = colors_of(face.emotions)[face.emotion]
    height, width = image.shape[:2]
    x, y, w, h = face.box[:4]
    left, top, right, bottom = round(x), round(y), round(x + w), round(y + h)
    line = max(1, round(min(height, width) / 300))
    # The dark rim keeps a light box visible on a light picture.
    cv2.rectangle(image, (left, top), (right, bottom), (0, 0, 0), 3 * line)
    cv2.rectangle(image, (left, top), (right, bottom), confidence_color(color, face.confidence), line)

    if face.view.mesh is not None:
        _draw_mesh(image, face.view.mesh)
    draw_axes(image, face.view)

    largest = max(_SMALLEST_TEXT, round(_LARGEST_TEXT * min(height, width)))
    size = min(max(_SMALLEST_TEXT, round(_TEXT_PER_FACE * w)), largest)
    panel = _panel(f"{name} {face.emotion} {face.confidence:.0%}".strip(), face, size)
    _paste(image, panel, *_beside((left, top, right, bottom), panel.shape, image.shape, 2 * line))


def draw_axes(image: np.ndarray, view: FaceView) -> None:
    """Draw how a head is turned, in place, as a small cross in its box's lower right corner: red to the
    person's left, green up, blue forward. Nothing where it is not known.
    """
    if np.isnan(view.pose.yaw):
        return
    length = _AXIS * min(view.box.w, view.box.h)
    middle = np.array(view.box[:2]) + view.box[2:4] - 1.2 * length
    line = max(1, round(length / 10))
    # What points away from the camera is drawn first, so that it lies behind.
    axes = sorted(zip(view.pose.axes.tolist(), _AXES, strict=True), key=lambda axis: -axis[0][2])
    for width, shaded in ((3 * line, True), (line, False)):
        for axis, color in axes:
            start, end = np.rint([middle, middle + length * np.array(axis[:2])]).astype(int).tolist()
            cv2.line(image, start, end, (0, 0, 0) if shaded else color, width, cv2.LINE_AA)


def _draw_mesh(image: np.ndarray, mesh: np.ndarray) -> None:
    radius = max(1, round(np.ptp(mesh[:, 0]) / 200))
    for x, y in np.rint(mesh[:, :2]).astype(int).tolist():
        cv2.circle(image, (x, y), radius, _MESH, -1)


def draw_analyzed(image: np.ndarray, faces: Sequence[AnalyzedFace]) -> None:
    """Draw a picture's faces onto it, in place, numbered from 1; the first, which is the surest, on top."""
    for number, face in reversed(list(enumerate(faces, 1))):
        draw_face(image, face, f"#{number}")


def draw_tracked(image: np.ndarray, faces: Sequence[TrackedFace]) -> None:
    """Draw a frame's faces onto it, in place, with their tracks; the largest, the nearest, on top."""
    for face in sorted(faces, key=lambda face: face.box.w * face.box.h):
        draw_face(image, face, f"#{face.track}")


def _beside(
    box: tuple[int, int, int, int], panel: tuple[int, ...], image: tuple[int, ...], distance: int
) -> tuple[int, int]:
    """Left and top of a panel next to a box: above, below, right or left of it, where there is room."""
    left, top, right, bottom = box
    height, width = panel[:2]
    above, below = top - distance - height, bottom + distance
    if above >= 0:
        return left, above
    if below + height <= image[0]:
        return left, below
    if right + distance + width <= image[1]:
        return right + distance, top
    if left - distance - width >= 0:
        return left - distance - width, top
    return left, above


def _panel(text: str, face: AnalyzedFace, size: int) -> np.ndarray:
    """The label over a bar for each known emotion with its first letters, uint8 RGBA [h, w, 4]."""
    colors = colors_of(face.emotions)
    known = np.flatnonzero(~np.isnan(face.probabilities)).tolist()
    pad, bars = max(2, size // 3), 2 * size
    font, small = _font(size), _font(max(6, round(0.65 * size)))
    width = int(max(font.getlength(text), len(known) * small.getlength("MM"))) + 2 * pad
    letters = round(0.9 * size)
    height = pad + round(1.25 * size) + bars + letters + pad
    panel = Image.new("RGBA", (width, height), _PANEL)
    draw = ImageDraw.Draw(panel)
    draw.text((pad, pad), text, "white", font)
    floor = height - pad - letters
    step = (width - 2 * pad) / len(known)
    for place, number in enumerate(known):
        emotion = face.emotions[number]
        left, right = pad + round(place * step), pad + round((place + 1) * step) - 2
        draw.rectangle((left, floor - bars, right, floor), _EMPTY_BAR)
        part = round(bars * float(face.probabilities[number]))
        if part:
            draw.rectangle((left, floor - part, right, floor), colors[emotion])
        draw.text(((left + right) / 2, floor + 2), emotion[:2], "white", small, anchor="ma")
    return np.asarray(panel)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # the one inside Pillow: it is the same on every machine


def _paste(image: np.ndarray, panel: np.ndarray, left: int, top: int) -> None:
    """Blend a panel into the picture, moved inside it; what does not fit is cut off."""
    height, width = image.shape[:2]
    left = max(0, min(left, width - panel.shape[1]))
    top = max(0, min(top, height - panel.shape[0]))
    target = image[top : top + panel.shape[0], left : left + panel.shape[1]]
    panel = panel[: target.shape[0], : target.shape[1]]
    opacity = panel[..., 3:].astype(np.float32) / 255
    target[:] = np.rint(target + opacity * (panel[..., :3] - target.astype(np.float32))).astype(np.uint8)
