"""happy-sad: tells happy from sad, with one logit for both."""

from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture) -> "keras.Model":
    """A convolution, five blocks that halve the picture down to one pixel, and four dense blocks.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 1], the logit of the second class.
    """
    import keras
    from keras import layers

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    for filters in (64, 128, 256, 512, 1024):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.2)(x)
    x = layers.Flatten()(x)
    for units in (64, 128, 256, 512):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.2)(x)
    logit = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, logit, name=architecture.name)


HAPPY_SAD = Architecture(
    name="happy-sad",
    build=build,
    input_size=48,
    channels=1,
    parameters=6_538_433,
    trainable_parameters=6_532_545,
    crop=FER2013_CROP,
    recipe=Recipe(
        # The source gives no number of epochs: early stopping ends them.
        phases=(Phase("train", epochs=200, learning_rate=1e-4),),
        batch_size=64,
        # The source's shear of 0.5 is in degrees, as Keras's ImageDataGenerator has it.
        augmentation=Augmentation(rotation=10, shift=0.05, shear=0.009, zoom=0.05, flip=True),
        labels="fer2013",
        validation_fraction=0.3,
        early_stopping=25,
    ),
    source="R1",
    classes=("happy", "sad"),
)
