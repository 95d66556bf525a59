"""What is known of a model without building it: plain data, no deep learning library needed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from schemas.emotions import EMOTIONS


@dataclass(frozen=True)
class CropSpec:
    """How a face is cut out for a model.

    scale: side of the square crop, in sides of the face's frame (see `models.detectors.frames`). Where
        a frame is a little off, the background that a crop too wide takes in does more harm than the
        cheek that one too tight leaves out: hence a little below 1 for models trained on frames.
    """

    scale: float


@dataclass(frozen=True)
class Recipe:
    """How the source of an architecture trained it; every value is only a default.

    rotation is in degrees either way; shift, zoom, contrast and cutout are fractions of the picture
    (cutout: the longest side of the erased rectangle); brightness is a fraction of the value range.
    mixed_precision computes in bfloat16 with float32 weights; the saved model is float32 either way.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    warmup_epochs: int
    label_smoothing: float
    ema_momentum: float
    rotation: float
    shift: float
    zoom: float
    flip: bool
    brightness: float
    contrast: float
    cutout: float
    mixed_precision: bool


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    build: makes the untrained Keras model, from raw pixels [N, input_size, input_size, channels]
        (0 to 255) to logits [N, len(classes)].
    parameters, trainable_parameters: what the source reports, and what `build` must give.
    """

    name: str
    build: Callable[["Architecture"], Any]
    input_size: int
    channels: int
    parameters: int
    trainable_parameters: int
    crop: CropSpec
    recipe: Recipe
    source: str
    classes: tuple[str, ...] = EMOTIONS
