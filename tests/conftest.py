"""What many tests need."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory) -> Path:
    """A saved cnn48 with random weights: it names no emotion well, but always the same one."""
    import keras

    from models.registry import get_architecture
    from models.training import calibrated

    keras.utils.set_random_seed(1)
    architecture = get_architecture("cnn48")
    path = tmp_path_factory.mktemp("model") / "untrained.keras"
    calibrated(architecture.build(architecture), architecture, temperature=1.0).save(path)
    return path
