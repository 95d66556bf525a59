"""resnet48: a residual network for 48x48 grey faces, the architecture of the shipped weights."""

from typing import TYPE_CHECKING, Final

from models.architectures import FER2013_CROP
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras

# The mean grey of faces and its deviation, roughly: scaling is part of the network.
MEAN: Final = 117
SCALE: Final = 64

# Name, filters and whether the block halves the picture. Names and shapes are those of dlib's face
# recognition network (King 2017), so that its weights can be the start of training.
BLOCKS: Final = (
    ("conv32_1", 32, False),
    ("conv32_2", 32, False),
    ("conv32_3", 32, False),
    ("conv64_down", 64, True),
    ("conv64_1", 64, False),
    ("conv64_2", 64, False),
    ("conv64_3", 64, False),
    ("conv128_down", 128, True),
    ("conv128_1", 128, False),
    ("conv128_2", 128, False),
    ("conv256_down", 256, True),
    ("conv256_1", 256, False),
)


def build(architecture: Architecture) -> "keras.Model":
    """Twelve residual blocks of two 3x3 convolutions, then the mean over the picture.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Rescaling(1 / SCALE, offset=-MEAN / SCALE, name="rescale")(inputs)
    x = layers.ReLU()(_convolution(x, 32, 5, 1, "stem"))
    x = layers.MaxPooling2D(3, 2, name="stem_pool")(layers.ZeroPadding2D(1)(x))
    for name, filters, halves in BLOCKS:
        y = layers.ReLU()(_convolution(x, filters, 3, 2 if halves else 1, f"{name}_1"))
        y = _convolution(y, filters, 3, 1, f"{name}_2")
        if halves:
            # A shortcut without weights: the mean of four pixels, and zeros for the new channels.
            x = layers.AveragePooling2D(2, name=f"{name}_pool")(x)
            x = layers.Concatenate(name=f"{name}_widen")([x, layers.Rescaling(0.0)(x)])
        x = layers.ReLU(name=name)(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.3)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


def _convolution(
    x: "keras.KerasTensor", filters: int, size: int, strides: int, name: str
) -> "keras.KerasTensor":
    from keras import layers

    if strides > 1:
        # Symmetric, unlike "same" with strides, so that faces stay centred.
        x = layers.ZeroPadding2D(size // 2)(x)
    padding = "same" if strides == 1 else "valid"
    x = layers.Conv2D(filters, size, strides, padding, use_bias=False, name=name)(x)
    return layers.BatchNormalization(epsilon=1e-5, momentum=0.95, name=f"{name}_normalize")(x)


RESNET48 = Architecture(
    name="resnet48",
    build=build,
    input_size=48,
    channels=1,
    parameters=3_219_879,
    trainable_parameters=3_214_823,
    crop=FER2013_CROP,
    # From random weights; models/training/train_ferplus.py is how the shipped ones began.
    recipe=Recipe(
        phases=(
            Phase(
                "train",
                epochs=60,
                learning_rate=0.05,
                optimizer="sgd",
                weight_decay=5e-4,
                warmup_epochs=1,
                schedule="cosine",
            ),
        ),
        batch_size=128,
        augmentation=Augmentation(
            rotation=15, shift=0.08, zoom=0.15, flip=True, brightness=0.1, contrast=0.35, cutout=0.25
        ),
        labels="ferplus",
        ema_momentum=0.998,
        mixed_precision=True,
    ),
    source="affectline",
)
