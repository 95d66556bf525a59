"""resnet50-hybrid: ResNet50 with attention over channels and places, a transformer and class branches."""

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras

BACKBONE_SIZE: Final = 224  # pixels; what the backbones were trained on

_HARD_CLASSES: Final = ("angry", "disgust", "fear", "sad")  # those with a branch of their own


def build(architecture: Architecture, to_rgb: Literal["repeat", "learned"]) -> "keras.Model":
    """Enlarged grey faces through the backbone and everything on top of it.

    to_rgb: how one channel becomes three: as `grey_to_rgb`.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    from models.architectures.backbones import apply_backbone
    from models.architectures.layers import ChannelAttention, SpatialAttention, TransformerBlock

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Resizing(BACKBONE_SIZE, BACKBONE_SIZE, name="enlarge")(inputs)
    x = apply_backbone(grey_to_rgb(x, to_rgb), "ResNet50", architecture.backbone_weights)
    attended = ChannelAttention(reduction=8, name="channel_attention")(x)
    attended = SpatialAttention(kernel_size=7, name="spatial_attention")(attended)
    x = layers.Add(name="attended")([x, attended])
    x = TransformerBlock(heads=8, dropout=0.3, name="transformer")(x)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    branches = [layers.Dense(128, activation="gelu", name=f"{name}_branch")(x) for name in _HARD_CLASSES]
    x = layers.Concatenate(name="with_branches")([x, *branches])
    return classify(architecture, inputs, x)


def grey_to_rgb(grey: "keras.KerasTensor", how: Literal["repeat", "learned"]) -> "keras.KerasTensor":
    """Three channels [N, H, W, 3] from one [N, H, W, 1].

    how: "repeat", or "learned", by a 3x3 convolution that repeats the channel until it is trained.
    """
    import numpy as np
    from keras import layers

    if how == "repeat":
        return layers.Concatenate(name="grey_to_rgb")([grey, grey, grey])
    convolution = layers.Conv2D(3, 3, padding="same", name="grey_to_rgb")
    rgb = convolution(grey)
    kernel = np.zeros((3, 3, 1, 3), np.float32)
    kernel[1, 1] = 1
    convolution.set_weights([kernel, np.zeros(3, np.float32)])
    return rgb


def classify(
    architecture: Architecture, inputs: "keras.KerasTensor", features: "keras.KerasTensor"
) -> "keras.Model":
    """The network from inputs to logits [N, K], with one hidden layer after features [N, C]."""
    import keras
    from keras import layers

    x = layers.Dense(512, activation="gelu", name="hidden")(features)
    x = layers.Dropout(0.5)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


def phases(backbone_layers: int) -> tuple[Phase, ...]:
    """The source's three phases, for a backbone of so many layers; the second one has three steps.

    The source unfreezes ResNet50's 175 layers from 160, 140 and 100 on; other backbones from the same
    parts of their depth.
    """

    def unfrozen(start: int, epochs: int, learning_rate: float) -> Phase:
        first = start * backbone_layers // 175
        return Phase(
            f"unfreeze-{first}",
            epochs=epochs,
            learning_rate=learning_rate,
            optimizer="adamw",
            weight_decay=1e-3,
            backbone=(first, backbone_layers),
        )

    head = Phase(
        "head",
        epochs=30,
        learning_rate=1e-4,  # the source does not give it
        optimizer="adamw",
        weight_decay=1e-3,
        warmup_epochs=3,
        schedule="cosine",
        backbone="frozen",
    )
    return (
        head,
        unfrozen(160, 15, 1e-5),
        unfrozen(140, 15, 5e-6),
        unfrozen(100, 20, 1e-6),
        Phase("head-again", epochs=20, learning_rate=1e-7, backbone="frozen"),
    )


def recipe(phases: tuple[Phase, ...]) -> Recipe:
    """All that the source's models have in common, whatever their phases."""
    return Recipe(
        phases=phases,
        batch_size=64,
        # The source's shear of 0.4 is in degrees, as Keras's ImageDataGenerator has it.
        augmentation=Augmentation(
            rotation=35, shift=0.25, shear=0.007, zoom=0.4, flip=True, brightness=0.5, fill="constant"
        ),
        labels="fer2013",
        monitor="accuracy",
        early_stopping=15,
        plateau=5,
        class_weights="balanced",
        class_boosts={"disgust": 3.0},
        mixed_precision=True,
    )


RESNET50_HYBRID = Architecture(
    name="resnet50-hybrid",
    build=partial(build, to_rgb="repeat"),
    input_size=48,
    channels=1,
    parameters=77_360_873,
    trainable_parameters=77_307_753,
    crop=FER2013_CROP,
    recipe=recipe(phases(175)),
    source="R4",
    backbone_weights="auto",
)

RESNET50_HYBRID_RGB = replace(
    RESNET50_HYBRID,
    name="resnet50-hybrid-rgb",
    build=partial(build, to_rgb="learned"),
    parameters=77_360_903,
    trainable_parameters=77_307_783,
)
