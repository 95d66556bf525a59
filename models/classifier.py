"""Inference: a saved model, what it knows about itself, and the crops it wants.

A `.keras` file made by `affectline train` is all that is needed. Keras is imported only where a
model is really loaded, so that a launcher can ask for a model's description cheaply.
"""

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from models.spec import CropSpec
from schemas.emotions import EMOTIONS

_WEIGHTS: Final = Path(__file__).parent / "weights"

# Batches are padded to one of these sizes: one traced graph each, and no other ever.
BATCH_SIZES: Final = (1, 8, 64)


@dataclass(frozen=True)
class ModelSpec:
    """What a saved model says about itself.

    name: as asked for. sha256: hex digest of the file. classes: in the order of its probabilities.
    channels: 1 for grey, 3 for RGB.
    """

    name: str
    path: Path
    sha256: str
    architecture: str
    classes: tuple[str, ...]
    input_size: int
    channels: int
    crop: CropSpec


def read_model_spec(name_or_path: str) -> ModelSpec:
    """The description in a saved model's file, read without loading the model.

    name_or_path: the name of weights in the package, such as "default", or a path ending in .keras.

    Raises ValueError when there is no such model or the file is not one of ours.
    """
    path = _find(name_or_path)
    foreign = f"'{path}' is not a model saved by affectline train; give such a .keras file."
    try:
        with zipfile.ZipFile(path) as archive:
            layers = json.loads(archive.read("config.json"))["config"]["layers"]
        settings = {layer["class_name"]: layer["config"] for layer in layers}
        pixels, output = settings["InputLayer"], settings["ClassProbabilities"]
    except (zipfile.BadZipFile, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(foreign) from error
    classes = tuple(output["classes"])
    if len({*classes} & {*EMOTIONS}) != len(classes):
        raise ValueError(
            f"The model '{path}' knows the classes {', '.join(classes)}; "
            f"its classes must be among {', '.join(EMOTIONS)}, each once."
        )
    _, size, _, channels = pixels["batch_shape"]
    return ModelSpec(
        name=name_or_path,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        architecture=output["architecture"],
        classes=classes,
        input_size=size,
        channels=channels,
        crop=CropSpec(**output["crop"]),
    )


def _find(name_or_path: str) -> Path:
    if name_or_path.endswith(".keras"):
        path = Path(name_or_path)
        if not path.is_file():
            raise ValueError(f"There is no model file '{path}'; check the path.")
        return path
    path = _WEIGHTS / f"{name_or_path}.keras"
    known = sorted(file.stem for file in _WEIGHTS.glob("*.keras"))
    if name_or_path not in known:
        choices = ", ".join([*known, "or the path of a .keras file"])
        raise ValueError(f"There is no model '{name_or_path}'; choose {choices}.")
    return path


def make_crop(image: np.ndarray, box: tuple[float, float, float, float], spec: ModelSpec) -> np.ndarray:
    """The face in a box, cut out as the model's training faces were.

    image: uint8 [H, W, 3], RGB. box: x, y, w, h in pixels; it may reach out of the picture, whose
    border is then repeated.

    Returns uint8 [input_size, input_size, channels], grey or RGB. Raises ValueError for an image of
    another kind and for a box without a positive, finite size.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError("A face is cut from an RGB picture, uint8 [height, width, 3].")
    x, y, w, h = box
    if not (np.isfinite(box).all() and w > 0 and h > 0):
        raise ValueError(f"The box {box} has no positive, finite size.")
    side = max(1, round(max(w, h) * spec.crop.scale))
    left, top = round(x + w / 2 - side / 2), round(y + h / 2 - side / 2)
    square = image.take(range(top, top + side), axis=0, mode="clip").take(
        range(left, left + side), axis=1, mode="clip"
    )
    if spec.channels == 1:
        square = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    size = spec.input_size
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=interpolation).reshape(size, size, spec.channels)


def load_network(spec: ModelSpec) -> Any:
    """The saved Keras model: pixels [N, input_size, input_size, channels], 0 to 255, to probabilities."""
    import keras

    import models.output  # noqa: F401 - registers the output layer that the file names

    return keras.models.load_model(spec.path, compile=False)


class Classifier:
    """A loaded model. `classes`, `input_size`, `channels`, `crop` and `sha256` are those of its `spec`."""

    def __init__(self, spec: ModelSpec) -> None:
        import tensorflow as tf

        self.spec = spec
        self.classes = spec.classes
        self.input_size = spec.input_size
        self.channels = spec.channels
        self.crop = spec.crop
        self.sha256 = spec.sha256
        model = load_network(spec)
        self._shape = (spec.input_size, spec.input_size, spec.channels)

        def probabilities(pixels: Any) -> Any:
            return model(tf.cast(pixels, tf.float32), training=False)

        self._graphs = {
            size: tf.function(probabilities, input_signature=[tf.TensorSpec((size, *self._shape), tf.uint8)])
            for size in BATCH_SIZES
        }

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of each face, whatever faces are beside it.

        crops: uint8 [N, input_size, input_size, channels], N >= 0.

        Returns float32 [N, len(classes)], rows summing to 1. Raises ValueError for another shape or dtype.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != self._shape:
            raise ValueError(
                f"The model '{self.spec.name}' takes crops uint8 [N, {', '.join(map(str, self._shape))}], "
                f"not {crops.dtype} {list(crops.shape)}."
            )
        result = np.empty((len(crops), len(self.classes)), dtype=np.float32)
        for start in range(0, len(crops), BATCH_SIZES[-1]):
            batch = crops[start : start + BATCH_SIZES[-1]]
            size = next(size for size in BATCH_SIZES if size >= len(batch))
            padded = np.zeros((size, *self._shape), dtype=np.uint8)
            padded[: len(batch)] = batch
            result[start : start + len(batch)] = self._graphs[size](padded).numpy()[: len(batch)]
        return result

    def predict_emotions(self, crops: np.ndarray) -> np.ndarray:
        """As `predict`, with one column for each of the seven emotions, whichever the model knows.

        crops: uint8 [N, input_size, input_size, channels], N >= 0.

        Returns float32 [N, 7] in the order of EMOTIONS: nan for a class that the model does not know
        (unknown is not absent), the others sum to 1. Raises ValueError as `predict` does, and when the
        model itself gives no number.
        """
        probabilities = self.predict(crops)
        if not np.isfinite(probabilities).all():
            raise ValueError(f"The model '{self.spec.name}' gives no numbers for a face; train it again.")
        emotions = np.full((len(crops), len(EMOTIONS)), np.nan, dtype=np.float32)
        emotions[:, [EMOTIONS.index(name) for name in self.classes]] = probabilities
        return emotions


def load_classifier(name_or_path: str) -> Classifier:
    """Load a saved model by the name of its weights in the package, or from a .keras file.

    Raises ValueError as `read_model_spec` does.
    """
    return Classifier(read_model_spec(name_or_path))
