"""cnn100: three plain convolutions on 100x100 grey faces."""

from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Phase, Recipe

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture) -> "keras.Model":
    """Three blocks of an unpadded convolution, then two hidden layers.

    Input [N, 100, 100, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    for units in (128, 64):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(0.1)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


CNN100 = Architecture(
    name="cnn100",
    build=build,
    input_size=100,
    channels=1,
    parameters=1_740_807,
    trainable_parameters=1_740_359,
    crop=FER2013_CROP,
    recipe=Recipe(
        phases=(Phase("train", epochs=50, learning_rate=1e-3),),
        batch_size=64,
        labels="fer2013",
        validation_fraction=0.25,
    ),
    source="R2",
)
