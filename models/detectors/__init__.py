"""Face detectors behind one interface, each described by one record.

`make_detector` imports only what the chosen detector needs, so that one runs without the others' libraries.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

from models.detectors.boxes import Box, Detector, FaceFrame
from models.entry_points import DETECTORS as INSTALLED
from models.entry_points import brought, origin
from schemas import defaults
from schemas.errors import UsageError

__all__ = [
    "DETECTORS",
    "Box",
    "Detector",
    "DetectorKind",
    "FaceFrame",
    "all_detectors",
    "get_detector",
    "make_detector",
]


@dataclass(frozen=True)
class DetectorKind:
    """A detector by name, and how it is loaded.

    frame_scale: side of the face's frame (see `FaceFrame`) in longer sides of its box: medians over
        FER2013's own pictures, found again (`python -m benchmarks.redetection`), whose centres agree to
        a hundredth of a side.
    takes_weights: whether it runs on a file of weights that a user may give, fetched once otherwise.
    load: from the smallest face, the frame's scale and that file to the detector.
    origin: the installed package that brings it, with its version; "" for our own.
    """

    name: str
    frame_scale: float
    takes_weights: bool
    load: Callable[[float, float, Path | None], Detector]
    origin: str = ""


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


def all_detectors() -> dict[str, DetectorKind]:
    """Every detector by name: ours, then those of other installed packages."""
    others = {name: _installed(point) for name, point in brought(INSTALLED).items() if name not in DETECTORS}
    return DETECTORS | others


def _installed(point: EntryPoint) -> DetectorKind:
    def load(min_face: float, _frame_scale: float, _weights: Path | None) -> Detector:
        from models.detectors.installed import InstalledDetector

        return InstalledDetector(point, min_face)

    return DetectorKind(point.name, 1.0, takes_weights=False, load=load, origin=origin(point))


def get_detector(name: str) -> DetectorKind:
    """The detector of that name; UsageError, listing the known ones, when there is none."""
    known = DETECTORS if name in DETECTORS else all_detectors()
    if name not in known:
        raise UsageError(f"There is no detector '{name}'; choose one of {', '.join(known)}.")
    return known[name]


def make_detector(
    name: str, min_face: float = defaults.MIN_FACE, weights: str | Path | None = None
) -> Detector:
    """Load a detector, ready to use.

    Args:
        name: one of DETECTORS, or of an installed package.
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
