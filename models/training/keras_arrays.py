"""The arrays in a saved resnet48 with one or more heads, read without Keras."""

import io
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Final

import numpy as np

from models.classify.trust import CONFIG, WEIGHTS

# Layers with weights, and what their class is called in the file.
_GROUPS: Final = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}


def read_keras_arrays(path: Path) -> dict[str, np.ndarray]:
    """What each layer holds, by name and number as in `models.training.resnet48_torch.keras_weights`."""
    import h5py

    with zipfile.ZipFile(path) as archive:
        layers = json.loads(archive.read(CONFIG))["config"]["layers"]
        weights = io.BytesIO(archive.read(WEIGHTS))
    arrays: dict[str, np.ndarray] = {}
    numbers: Counter[str] = Counter()
    with h5py.File(weights) as file:
        for layer in layers:
            if (group := _GROUPS.get(layer["class_name"])) is None:
                continue
            number, numbers[group] = numbers[group], numbers[group] + 1
            name = layer["config"]["name"].removesuffix("_logits")
            values = file[f"layers/{group}_{number}/vars" if number else f"layers/{group}/vars"]
            arrays |= {f"{name}.{place}": np.array(value) for place, value in values.items()}
    return arrays
