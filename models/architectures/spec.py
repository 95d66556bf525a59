"""What is known of a model without building it: plain data, no deep learning library needed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from models.crop_spec import CropSpec
from schemas.emotions import EMOTIONS

Labels = Literal["ferplus", "fer2013", "both"]
Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine"]
Monitor = Literal["loss", "accuracy"]
ClassWeights = Literal["none", "balanced"]
Loss = Literal["cross-entropy", "focal"]
Fill = Literal["nearest", "constant"]


@dataclass(frozen=True)
class Augmentation:
    """How far training pictures are changed at random; nothing is changed by default.

    rotation: degrees either way. shift: part of the picture's side, either way. shear: slope, either
    way (0.1 moves the top row against the bottom row by a tenth of the height). zoom: 0.1 scales each
    axis between 0.9 and 1.1. brightness: 0.1 multiplies pixels by 0.9 to 1.1. contrast: the same, about
    each picture's mean. cutout: largest area, as a part of the picture, of a rectangle that is greyed
    out in about every fourth picture. fill: what comes in from outside, the border repeated or black.
    """

    rotation: float = 0.0
    shift: float = 0.0
    shear: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0
    cutout: float = 0.0
    fill: Fill = "nearest"


@dataclass(frozen=True)
class Phase:
    """A stretch of training with an optimizer of its own. It starts from the best epoch so far.

    epochs: at most; early stopping may end it. learning_rate: reached after warmup_epochs, which climb
    linearly from a tenth of it; then "constant", or "cosine" down to zero at the end. weight_decay:
    decoupled from the gradient. backbone: which of the backbone's layers train beside the head: all
    ("trained"), none ("frozen"), or those from one index up to, not including, another, so that gradual
    unfreezing is one phase a step, such as (160, 175), then (140, 175).
    """

    name: str
    epochs: int
    learning_rate: float
    optimizer: Optimizer = "adam"
    weight_decay: float = 0.0
    warmup_epochs: float = 0.0
    schedule: Schedule = "constant"
    backbone: Literal["trained", "frozen"] | tuple[int, int] = "trained"


@dataclass(frozen=True)
class Recipe:
    """How the source of an architecture trained it; every value is only a default.

    labels: what a FER2013 picture should be called (see `models.training.data.soft_targets`).
    validation_fraction: part of the pictures held out. monitor: the validation figure that picks the
    epoch to keep, and that early stopping and the plateau watch. early_stopping: epochs of one phase
    without a better figure that end the phase; None: never. plateau: the same, after which the learning
    rate is multiplied by plateau_factor. class_weights: "balanced" counts each class as if all had
    equally many pictures; class_boosts multiplies a class's weight on top. label_smoothing: part of a
    target spread over all classes. ema_momentum: of the moving average of the weights that is validated
    and kept; 0: the weights themselves. mixed_precision: compute in bfloat16 with float32 weights; the
    saved model is float32 either way.
    """

    phases: tuple[Phase, ...]
    batch_size: int
    augmentation: Augmentation = Augmentation()
    labels: Labels = "both"
    validation_fraction: float = 0.1
    monitor: Monitor = "loss"
    early_stopping: int | None = None
    plateau: int | None = None
    plateau_factor: float = 0.5
    class_weights: ClassWeights = "none"
    class_boosts: Mapping[str, float] = field(default_factory=dict)
    loss: Loss = "cross-entropy"
    focal_gamma: float = 2.0
    label_smoothing: float = 0.0
    ema_momentum: float = 0.0
    mixed_precision: bool = False


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    build: makes the untrained Keras model, from raw pixels [N, input_size, input_size, channels]
        (0 to 255) to logits [N, len(classes)], or [N, 1] for two classes.
    parameters, trainable_parameters: what the source reports, and what `build` must give.
    backbone_weights: what `build` starts its backbone from: "imagenet", "none" (at random), or the
        path of a weights file; None for a network without a backbone.
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
    backbone_weights: str | None = None
