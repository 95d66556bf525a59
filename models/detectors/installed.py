"""Detectors of other installed packages, which need not know anything of ours.

The entry point, in the group `affectline.detectors`, names a function from the smallest face wanted, a part
of the picture's shorter side, to the detector: a function from one picture, uint8 RGB [height, width, 3], to
the faces in it, rows of left, top, width, height in pixels and a score from 0 to 1. A sixth number is the
head's tilt in degrees clockwise. Its attribute `frame_scale`, where it has one, is that of `DetectorKind`.
"""

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint
from typing import Final

import numpy as np

from models.detectors.boxes import Box, check_image, finish
from models.entry_points import load, origin
from schemas.errors import RunError

USUAL_FRAME_SCALE: Final = 0.94  # as of boxes from brow to chin, which most detectors draw

_Find = Callable[[np.ndarray], Iterable[Sequence[float]]]


class InstalledDetector:
    """A detector that an entry point names."""

    def __init__(self, point: EntryPoint, min_face: float) -> None:
        """Load it; UsageError when its package cannot give it."""
        self.name = point.name
        self._origin = origin(point)
        self._min_face = min_face
        self._find: _Find = load(point)(min_face)
        self._frame_scale = float(getattr(self._find, "frame_scale", USUAL_FRAME_SCALE))

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`; RunError when what the package gives are no faces."""
        return [self._faces(image) for image in images]

    def _faces(self, image: np.ndarray) -> list[Box]:
        check_image(image)
        rows = np.array([[*map(float, row), 0.0][:6] for row in self._find(image)], np.float64).reshape(-1, 6)
        if not (
            np.isfinite(rows).all()
            and (rows[:, 2:4] > 0).all()
            and ((rows[:, 4] >= 0) & (rows[:, 4] <= 1)).all()
        ):
            raise RunError(
                f"The detector '{self.name}' of {self._origin} gave faces without a place, a size or a score "
                "from 0 to 1; ask its makers."
            )
        left, top, width, height, scores, rolls = rows.T
        corners = np.stack([left, top, left + width, top + height], axis=1)
        return finish(corners, scores, image, self._min_face, self._frame_scale, rolls)
