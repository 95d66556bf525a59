"""How a model wants a face to be cut out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CropSpec:
    """How a face is cut out for a model.

    scale: side of the square crop, in sides of the face's frame (see `models.detectors.FaceFrame`).
    """

    scale: float
