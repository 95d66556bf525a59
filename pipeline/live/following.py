"""Where faces went from one frame to the next, by the optical flow inside their boxes.

Kalal, Mikolajczyk and Matas, "Forward-Backward Error: Automatic Detection of Tracking Failures", ICPR 2010:
a grid of points is followed there and back, points that do not come back are left out, and the median of
the others moves and scales the box.
"""

from typing import Final

import cv2
import numpy as np

_WIDTH: Final = 320  # pixels of the pictures that flow is measured in
_GRID: Final = 6  # points along each side of a box
_INNER: Final = 0.8  # of a box, without the background at its edges
_WINDOW: Final = (15, 15)  # pixels around a point
_LEVELS: Final = 3  # of the pyramid: a face may move by about 60 pixels of 320 between frames
_RETURN: Final = 1.0  # pixels that a point may be off when it comes back
_FEWEST: Final = _GRID * _GRID // 4
_GROWTH: Final = 1.15  # at most, from one frame to the next


def flow_picture(image: np.ndarray) -> np.ndarray:
    """What `follow` compares: a small grey uint8 [h, w] of an RGB picture uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    scale = min(1.0, _WIDTH / width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def follow(
    before: np.ndarray, after: np.ndarray, scale: float, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The boxes where they are now, and whether each could be followed.

    Args:
        before: from `flow_picture`, of the frame that the boxes belong to.
        after: of the frame now.
        scale: pixels of the frame for each of these.
        boxes: float [n, 4]: x, y, w, h in the frame's pixels.

    Returns:
        float64 [n, 4] in the frame's pixels and bool [n]; a box that was lost stays as it was.
    """
    moved, found = np.array(boxes, np.float64), np.zeros(len(boxes), bool)
    if not len(boxes) or before.shape != after.shape:
        return moved, found
    steps = (np.arange(_GRID) + 0.5) / _GRID * _INNER + (1 - _INNER) / 2
    grid = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)
    points = ((moved[:, None, :2] + grid * moved[:, None, 2:]) / scale).astype(np.float32)
    flat = points.reshape(-1, 1, 2)
    # OpenCV makes room for the answer where it is given None, which its types leave out.
    there, seen, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        before, after, flat, None, winSize=_WINDOW, maxLevel=_LEVELS
    )
    back, returned, _ = cv2.calcOpticalFlowPyrLK(  # type: ignore[call-overload]
        after, before, there, None, winSize=_WINDOW, maxLevel=_LEVELS
    )
    error = np.abs(back - flat).max(axis=(1, 2))
    good = ((seen[:, 0] > 0) & (returned[:, 0] > 0) & (error < _RETURN)).reshape(len(boxes), -1)
    there = there.reshape(points.shape)
    for number, kept in enumerate(good):
        if kept.sum() < _FEWEST:
            continue
        old, new = points[number, kept], there[number, kept]
        shift = np.median(new - old, axis=0) * scale
        growth = np.clip(_spread(new, old), 1 / _GROWTH, _GROWTH)
        size = moved[number, 2:] * growth
        moved[number, :2] += shift + (moved[number, 2:] - size) / 2
        moved[number, 2:] = size
        found[number] = True
    return moved, found


def _spread(new: np.ndarray, old: np.ndarray) -> float:
    """How many times farther apart points [n, 2] are: the median over all pairs."""
    first, second = np.triu_indices(len(old), k=1)
    was = np.linalg.norm(old[first] - old[second], axis=1)
    return float(np.median(np.linalg.norm(new[first] - new[second], axis=1) / was))
