"""What many tests need."""

from pathlib import Path

import pytest

from tests.tiny_model import save_untrained_model


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory) -> Path:
    """A saved cnn48 with random weights."""
    return save_untrained_model(tmp_path_factory.mktemp("model") / "untrained.keras")
