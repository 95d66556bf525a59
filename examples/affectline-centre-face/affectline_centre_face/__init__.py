"""A detector that takes the middle of every picture for a face, and a model that calls bright faces happy.

For videos that show one person, who never leaves the middle; mostly a pattern for packages of your own.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

BRIGHTNESS = Path(__file__).with_name("brightness.affectline")
"""A network and its description in one file, as `affectline wrap` makes it (see make_model.py)."""


def centre(min_face: float) -> Callable[[np.ndarray], list[tuple[float, ...]]]:
    """The detector. min_face: the smallest face wanted, as a part of the picture's shorter side."""

    def find(picture: np.ndarray) -> list[tuple[float, ...]]:
        """The faces in one picture, uint8 RGB [height, width, 3]: left, top, width, height and score."""
        height, width = picture.shape[:2]
        side = max(0.5, min_face) * min(height, width)
        return [((width - side) / 2, (height - side) / 2, side, side, 1.0)]

    return find
