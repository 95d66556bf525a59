"""What a saved model's file must pass before it is run: it comes from wherever the user got it.

A Keras file names classes and functions, which loading builds and calls. Keras's safe mode refuses Python
code in it; what is left are classes of Keras that read other files or reach for the network.
"""

import json
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from typing import Any, Final

import numpy as np

WEIGHTS: Final = "model.weights.h5"  # of the .keras file, which is a zip archive
CONFIG: Final = "config.json"

_OURS: Final = frozenset(
    f"affectline>{name}"
    for name in ("ChannelAttention", "ClassProbabilities", "SpatialAttention", "TransformerBlock")
)
_KERAS: Final = frozenset(
    ("keras", "keras.initializers", "keras.layers", "keras.models", "keras.regularizers")
)
# Networks within, and arithmetic on what layers give: Keras names these by where they are defined.
_KERAS_INSIDE: Final = ("keras.src.models.", "keras.src.ops.")
_RUN_CODE_OR_READ_FILES: Final = frozenset(
    (
        *("FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"),
        *("Hashing", "IntegerLookup", "StringLookup", "TextVectorization"),
    )
)
_NO_CLASSES: Final = frozenset(("__keras_tensor__", "__numpy__", "__tensor__", "__ellipsis__", "__slice__"))


def keras_config(content: bytes) -> Mapping[str, Any]:
    """What a `.keras` file asks to be built; BadZipFile, KeyError or ValueError when it cannot be read."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        config: Mapping[str, Any] = json.loads(archive.read(CONFIG))
    return config


def h5_config(content: bytes) -> Mapping[str, Any]:
    """The same of an HDF5 file that Keras saved; OSError, KeyError or ValueError when it cannot be read."""
    import h5py

    with h5py.File(BytesIO(content), "r") as file:
        config: Mapping[str, Any] = json.loads(file.attrs["model_config"])
    return config


def unknown_classes(config: Mapping[str, Any]) -> list[str]:
    """What a Keras file's `config.json` asks to be built that is neither Keras's own arithmetic nor ours."""
    return sorted({str(found["class_name"]) for found in _objects(config) if not _is_known(found)})


def unknown_names(config: Mapping[str, Any]) -> list[str]:
    """The same of an HDF5 file, which names classes without the module that they are of.

    Keras looks such names up among its own, and those registered with it.
    """
    import keras

    own = (keras, keras.layers, keras.initializers, keras.models, keras.regularizers)
    names = {str(found["class_name"]) for found in _objects(config)}
    # As Keras 2 and 3 call a network.
    return sorted(
        name
        for name in names - _NO_CLASSES - {"Functional"}
        if name in _RUN_CODE_OR_READ_FILES or not any(hasattr(module, name) for module in own)
    )


def _objects(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        if "class_name" in value:
            yield value
        # How to go on training is not loaded.
        value = [inner for name, inner in value.items() if name != "compile_config"]
    if isinstance(value, list):
        for inner in value:
            yield from _objects(inner)


def _is_known(found: Mapping[str, Any]) -> bool:
    name, module = found["class_name"], found.get("module")
    if name in _NO_CLASSES or found.get("registered_name") in _OURS:
        return True
    if name == "function" or name in _RUN_CODE_OR_READ_FILES or not isinstance(module, str):
        return False
    return module in _KERAS or module.startswith(_KERAS_INSIDE)


def holds_numbers(content: bytes) -> bool:
    """Whether every weight in a Keras file is a finite number; nothing is run.

    Raises OSError, KeyError or BadZipFile when the weights cannot be read.
    """
    import h5py

    finite = True

    def look(name: str, node: Any) -> None:
        nonlocal finite
        if isinstance(node, h5py.Dataset) and np.issubdtype(node.dtype, np.floating):
            finite = finite and bool(np.isfinite(node[()]).all())

    with (
        zipfile.ZipFile(BytesIO(content)) as archive,
        h5py.File(BytesIO(archive.read(WEIGHTS)), "r") as weights,
    ):
        weights.visititems(look)
    return finite
