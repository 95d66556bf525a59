"""An untrained model for tests: right in form, meaningless in what it says."""

from pathlib import Path


def save_untrained_model(path: Path, seed: int = 0) -> Path:
    """Save cnn48 with random weights, the same for the same seed; `path` ends in .keras."""
    import keras

    from models.registry import get_architecture
    from models.training import calibrated

    keras.utils.set_random_seed(seed)
    architecture = get_architecture("cnn48")
    # Random logits are nearly equal; a low temperature tells pictures apart.
    calibrated(architecture.build(architecture), architecture, temperature=0.02).save(path)
    return path
