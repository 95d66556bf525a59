"""cnn48: a compact VGG-like network for 48x48 grey faces, the default architecture."""

from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras


def build(architecture: Architecture) -> "keras.Model":
    """Three stages of two convolutions, then one hidden layer.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    size, channels = architecture.input_size, architecture.channels
    inputs = keras.Input((size, size, channels), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    dropouts = (layers.Dropout(0.1), layers.SpatialDropout2D(0.1), layers.SpatialDropout2D(0.1))
    for filters, dropout in zip((32, 64, 128), dropouts, strict=True):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same")(x)
            x = layers.BatchNormalization()(x)
            x = layers.LeakyReLU(0.1)(x)
        x = layers.MaxPooling2D()(x)
        x = dropout(x)
    x = layers.Flatten()(x)
    x = layers.Dense(256)(x)
    x = layers.BatchNormalization()(x)
    x = layers.LeakyReLU(0.1)(x)
    x = layers.Dropout(0.4)(x)
    # Probabilities need float32 also when the rest computes in bfloat16.
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


CNN48 = Architecture(
    name="cnn48",
    build=build,
    input_size=48,
    channels=1,
    parameters=1_470_951,
    trainable_parameters=1_469_543,
    crop=FER2013_CROP,
    recipe=Recipe(
        phases=(Phase("train", epochs=100, learning_rate=1e-3, warmup_epochs=1, schedule="cosine"),),
        batch_size=64,
        augmentation=Augmentation(
            rotation=10, shift=0.1, zoom=0.1, flip=True, brightness=0.2, contrast=0.3, cutout=0.4
        ),
        ema_momentum=0.999,
        mixed_precision=True,
    ),
    source="R0",
)
