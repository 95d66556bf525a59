"""Untrained models for tests: right in form, meaningless in what they say."""

from collections.abc import Sequence
from pathlib import Path


def save_untrained_model(path: Path, seed: int = 0) -> Path:
    """Save cnn48 with random weights, the same for the same seed; `path` ends in .keras."""
    import keras

    from models.architectures.registry import get_architecture
    from models.training.training import calibrated

    keras.utils.set_random_seed(seed)
    architecture = get_architecture("cnn48")
    # Random logits are nearly equal; a low temperature tells pictures apart.
    calibrated(architecture.build(architecture), architecture, temperature=0.02).save(path)
    return path


def save_brightness_model(path: Path, classes: Sequence[str], middle: float, steepness: float) -> Path:
    """Save a model of two classes for 48x48 grey faces that says the first of bright ones.

    The logit of the first class is `steepness` times the mean grey level over `middle`; the other's is 0.
    """
    import keras
    import numpy as np

    from models.classify.output import ClassProbabilities

    pixels = keras.Input((48, 48, 1), name="pixels")
    brightness = keras.layers.GlobalAveragePooling2D()(pixels)
    logits = keras.layers.Dense(2, name="logits")(brightness)
    probabilities = ClassProbabilities(1.0, "brightness", list(classes), {"scale": 1.0})(logits)
    model = keras.Model(pixels, probabilities)
    kernel, bias = np.array([[steepness, 0.0]]), np.array([-steepness * middle, 0.0])
    model.get_layer("logits").set_weights([kernel, bias])
    model.save(path)
    return path
