"""How a model wants a face to be cut out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CropSpec:
    """How a face is cut out for a model.

    scale: side of the square crop, in sides of the face's frame (see `models.detectors.FaceFrame`). Where
        a frame is a little off, the background that a crop too wide takes in does more harm than the
        cheek that one too tight leaves out: hence a little below 1 for models trained on frames.
    """

    scale: float
