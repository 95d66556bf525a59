"""Networks that train in a second: one with a backbone, and one that tells two classes by one logit."""

import keras
from keras import layers

from models.architectures.registry import ARCHITECTURES
from models.architectures.spec import Architecture, Phase, Recipe
from models.crop_spec import CropSpec

SIZE = 12


def _build(architecture):
    """A backbone of six layers (the input is layer 0) below a head with dropout."""
    pixels = keras.Input((SIZE, SIZE, architecture.channels), name="pixels")
    inside = keras.Input((SIZE, SIZE, architecture.channels))
    x = layers.Conv2D(4, 3, strides=2, name="first")(inside)
    x = layers.BatchNormalization(momentum=0.5, name="norm")(x)  # soon knows what is normal
    x = layers.ReLU()(x)
    x = layers.Conv2D(8, 3, strides=2, name="second")(x)
    backbone = keras.Model(inside, layers.ReLU()(x), name="backbone")
    x = layers.Flatten()(backbone(layers.Rescaling(1 / 255)(pixels)))
    x = layers.Dropout(0.1)(x)
    logits = 1 if len(architecture.classes) == 2 else len(architecture.classes)
    return keras.Model(pixels, layers.Dense(logits, dtype="float32", name="head")(x), name=architecture.name)


TINY = Architecture(
    name="tiny",
    build=_build,
    input_size=SIZE,
    channels=3,
    parameters=0,
    trainable_parameters=0,
    crop=CropSpec(1.0),
    recipe=Recipe((Phase("train", epochs=2, learning_rate=1e-2),), batch_size=16),
    source="tests",
    backbone_weights="none",
)

TWO = Architecture(
    name="two",
    build=_build,
    input_size=SIZE,
    channels=1,
    parameters=0,
    trainable_parameters=0,
    crop=CropSpec(1.0),
    recipe=Recipe(
        (Phase("train", epochs=8, learning_rate=2e-2),),
        batch_size=8,
        labels="fer2013",
        validation_fraction=0.3,
    ),
    source="tests",
    classes=("happy", "sad"),
)


def register(monkeypatch):
    """Make the networks known by name while a test runs."""
    for architecture in (TINY, TWO):
        monkeypatch.setitem(ARCHITECTURES, architecture.name, architecture)
