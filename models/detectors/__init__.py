"""Face detectors behind one interface, each described by one record.

`make_detector` imports only what the chosen detector needs, so that one runs without the others' libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.detectors.boxes import Box, Detector, FaceFrame
from schemas import defaults
from schemas.errors import UsageError

__all__ = ["DETECTORS", "Box", "Detector", "DetectorKind", "FaceFrame", "make_detector"]


@dataclass(frozen=True)
class DetectorKind:
    """A detector by name, and how it is loaded.

    frame_scale: side of the face's frame (see `FaceFrame`) in longer sides of its box: medians over
        FER2013's own pictures, found again (`python -m benchmarks.redetection`), whose centres agree to
        a hundredth of a side.
    takes_weights: whether it runs on a file of weights that a user may give, fetched once otherwise.
    load: from the smallest face, the frame's scale and that file to the detector.
    """

    name: str
    frame_scale: float
    takes_weights: bool
    load: Callable[[float, float, Path | None], Detector]


def _mtcnn(min_face: float, frame_scale: float, _weights: Path | None) -> Detector:
    from models.detectors.mtcnn import MtcnnDetector

    return MtcnnDetector(min_face, frame_scale)


def _haar(min_face: float, frame_scale: float, _weights: Path | None) -> Detector:
    from models.detectors.haar import HaarDetector

    return HaarDetector(min_face, frame_scale)


def _yunet(min_face: float, frame_scale: float, weights: Path | None) -> Detector:
    from models.detectors.yunet import YunetDetector, published_weights

    return YunetDetector(min_face, frame_scale, weights or published_weights())


DETECTORS: Final = {
    kind.name: kind
    for kind in (
        DetectorKind("mtcnn", 0.94, takes_weights=False, load=_mtcnn),
        DetectorKind("haar", 0.96, takes_weights=False, load=_haar),
        DetectorKind("yunet", 0.89, takes_weights=True, load=_yunet),
    )
}


def get_detector(name: str) -> DetectorKind:
    """The detector of that name; UsageError, listing the known ones, when there is none."""
    if name not in DETECTORS:
        raise UsageError(f"There is no detector '{name}'; choose one of {', '.join(DETECTORS)}.")
    return DETECTORS[name]


def make_detector(
    name: str, min_face: float = defaults.MIN_FACE, weights: str | Path | None = None
) -> Detector:
    """Load a detector, ready to use.

    Args:
        name: one of DETECTORS.
        min_face: the smallest face wanted, longer side of its box, as a fraction (0 to 1) of the
            picture's shorter side. Smaller faces are dropped; a larger value makes detection faster.
        weights: a file for a detector that takes one; without it the published weights are downloaded
            once.

    Raises:
        UsageError: unknown name, min_face out of range, weights that the detector does not take, or
            that cannot be had or read. The message is one sentence that says what to do.
    """
    kind = get_detector(name)
    if not 0 < min_face <= 1:
        raise UsageError(f"The smallest face is {min_face:g}; give a fraction above 0 and at most 1.")
    if weights is not None and not kind.takes_weights:
        raise UsageError(f"The detector '{name}' brings its own weights; leave the weights file out.")
    return kind.load(min_face, kind.frame_scale, Path(weights) if weights is not None else None)
