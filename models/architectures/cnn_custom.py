"""cnn-custom and its smaller sibling cnn-base: blocks of one convolution on 48x48 colour faces."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras


def build(
    architecture: Architecture, blocks: Sequence[tuple[int, int]], hidden: Sequence[int]
) -> "keras.Model":
    """Blocks of a convolution, pooling, normalisation and dropout, then hidden layers.

    blocks: filters and kernel size of each convolution. hidden: units of each hidden layer.

    Input [N, 48, 48, 3] RGB, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for filters, kernel_size in blocks:
        x = layers.Conv2D(filters, kernel_size, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    for units in hidden:
        x = layers.Dense(units, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.25)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


# The source does not say how it trained, and wishes for richer augmentation.
RECIPE = Recipe(
    phases=(Phase("train", epochs=60, learning_rate=1e-3),),
    batch_size=64,
    augmentation=Augmentation(rotation=15, shift=0.1, zoom=0.1, flip=True, brightness=0.2),
    labels="fer2013",
    early_stopping=12,
    plateau=5,
)

CNN_CUSTOM = Architecture(
    name="cnn-custom",
    build=partial(build, blocks=((64, 3), (128, 5), (256, 3), (512, 3)), hidden=(512, 256)),
    input_size=48,
    channels=3,
    parameters=4_181_895,
    trainable_parameters=4_178_439,
    crop=FER2013_CROP,
    recipe=RECIPE,
    source="R3",
)

CNN_BASE = Architecture(
    name="cnn-base",
    build=partial(build, blocks=((32, 3), (64, 3), (128, 3)), hidden=(256,)),
    input_size=48,
    channels=3,
    parameters=1_276_871,
    trainable_parameters=1_275_911,
    crop=FER2013_CROP,
    recipe=RECIPE,
    source="R3",
)
