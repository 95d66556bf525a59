"""Face detectors behind one interface: `mtcnn`, `haar` and `yunet`.

`make_detector` imports only what the chosen detector needs, so that `haar` and `yunet` run without
TensorFlow.
"""

from pathlib import Path
from typing import Final

from models.detectors.boxes import Box, Detector
from models.detectors.frames import FaceFrame, face_frame

DEFAULT_MIN_FACE: Final = 0.08

DETECTORS: Final = ("mtcnn", "haar", "yunet")

__all__ = ["DEFAULT_MIN_FACE", "DETECTORS", "Box", "Detector", "FaceFrame", "face_frame", "make_detector"]


def make_detector(name: str, min_face: float = DEFAULT_MIN_FACE, weights: Path | None = None) -> Detector:
    """Load a detector, ready to use.

    Args:
        name: one of DETECTORS.
        min_face: the smallest face wanted, longer side of its box, as a fraction (0 to 1) of the
            picture's shorter side. Smaller faces are dropped; a larger value makes detection faster.
        weights: an ONNX file for `yunet`; without it the published weights are downloaded once.

    Raises:
        ValueError: unknown name, min_face out of range, weights that the detector does not take, or
            that cannot be had or read. The message is one sentence that says what to do.
    """
    if name not in DETECTORS:
        raise ValueError(f"There is no detector '{name}'; choose one of {', '.join(DETECTORS)}.")
    if not 0 < min_face <= 1:
        raise ValueError(f"The smallest face is {min_face:g}; give a fraction above 0 and at most 1.")
    if weights is not None and name != "yunet":
        raise ValueError(f"The detector '{name}' brings its own weights; leave the weights file out.")
    if name == "mtcnn":
        from models.detectors.mtcnn import MtcnnDetector

        return MtcnnDetector(min_face)
    if name == "haar":
        from models.detectors.haar import HaarDetector

        return HaarDetector(min_face)
    from models.detectors.yunet import YunetDetector, published_weights

    return YunetDetector(min_face, weights or published_weights())
