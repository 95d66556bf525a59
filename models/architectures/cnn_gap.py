"""cnn-gap: a small network without a backbone, trained like resnet50-hybrid to compare."""

from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.resnet50_hybrid import recipe
from models.architectures.spec import Architecture, Phase

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture) -> "keras.Model":
    """Four convolutions, the mean of the last one's maps, and two hidden layers.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for filters in (32, 64, 128):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(256, 3, padding="same", activation="relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    for units in (512, 256):
        x = layers.Dense(units, activation="relu")(x)
        x = layers.Dropout(0.5)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


CNN_GAP = Architecture(
    name="cnn-gap",
    build=build,
    input_size=48,
    channels=1,
    parameters=652_551,
    trainable_parameters=652_551,
    crop=FER2013_CROP,
    # There is nothing to unfreeze: one phase, as long as the other rivals' together.
    recipe=recipe(
        (
            Phase(
                "train",
                epochs=100,
                learning_rate=1e-3,
                optimizer="adamw",
                weight_decay=1e-3,
                warmup_epochs=3,
                schedule="cosine",
            ),
        )
    ),
    source="R4",
)
