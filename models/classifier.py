"""Inference: a saved model, what it knows about itself, and the crops it wants.

A `.keras` file made by `affectline train` is all that is needed. Keras is imported only where it
really runs a model, so that a launcher can ask for a model's description cheaply.
"""

import hashlib
import json
import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np

from models.detectors.frames import FaceFrame
from models.litert import MEMBER, LitertRunner
from models.sharpness import Softening, sharpness, soften
from models.spec import CropSpec

_WEIGHTS: Final = Path(__file__).parent / "weights"

# Batches are padded to one of these sizes: one graph each, and no other ever.
BATCH_SIZES: Final = (1, 8, 64)

_LEVEL: Final = 3.0  # degrees; a head no more tilted is cut out as it is, which keeps every pixel


@dataclass(frozen=True)
class ModelSpec:
    """What a saved model says about itself.

    name: as asked for. sha256: hex digest of the file. classes: in the order of its probabilities.
    channels: 1 for grey, 3 for RGB. prior: the shares of the classes that its probabilities assume;
    None: unknown. softening: None where confidence does not depend on sharpness. litert: whether the
    file holds the form that runs fast on a CPU.
    """

    name: str
    path: Path
    sha256: str
    architecture: str
    classes: tuple[str, ...]
    input_size: int
    channels: int
    crop: CropSpec
    prior: tuple[float, ...] | None
    softening: Softening | None
    litert: bool


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
            litert = MEMBER in archive.namelist()
        settings = {layer["class_name"]: layer["config"] for layer in layers}
        pixels, output = settings["InputLayer"], settings["ClassProbabilities"]
    except (zipfile.BadZipFile, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(foreign) from error
    _, size, _, channels = pixels["batch_shape"]
    # Files from before these settings were kept do not have them.
    prior, softening = output.get("prior"), output.get("softening")
    return ModelSpec(
        name=name_or_path,
        path=path,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        architecture=output["architecture"],
        classes=tuple(output["classes"]),
        input_size=size,
        channels=channels,
        crop=CropSpec(**output["crop"]),
        prior=tuple(prior["assumed"]) if prior else None,
        softening=Softening(**softening) if softening else None,
        litert=litert,
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


def make_crop(image: np.ndarray, frame: FaceFrame, spec: ModelSpec) -> np.ndarray:
    """The face in a frame, cut out as the model's training faces were: upright, and as wide.

    image: uint8 [H, W, 3], RGB. frame: may reach out of the picture, whose border is then repeated.

    Returns uint8 [input_size, input_size, channels], grey or RGB. Raises ValueError for an image of
    another kind and for a frame without a positive, finite size.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError("A face is cut from an RGB picture, uint8 [height, width, 3].")
    if not (np.isfinite(frame).all() and frame.side > 0):
        raise ValueError(f"The frame {frame} has no positive, finite size.")
    side = max(1, round(frame.side * spec.crop.scale))
    # A tilted face is cut out with its surroundings, which a turn brings in at the corners.
    turned = abs(frame.roll) > _LEVEL
    margin = math.ceil(side * (math.sqrt(2) - 1) / 2) if turned else 0
    left, top = round(frame.x - side / 2) - margin, round(frame.y - side / 2) - margin
    wide = side + 2 * margin
    square = image.take(range(top, top + wide), axis=0, mode="clip").take(
        range(left, left + wide), axis=1, mode="clip"
    )
    if spec.channels == 1:
        square = cv2.cvtColor(square, cv2.COLOR_RGB2GRAY)
    if turned:
        turn = cv2.getRotationMatrix2D(((wide - 1) / 2, (wide - 1) / 2), frame.roll, 1.0)
        upright = cv2.warpAffine(square, turn, (wide, wide), borderMode=cv2.BORDER_REPLICATE)
        square = upright[margin : margin + side, margin : margin + side]
    size = spec.input_size
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=interpolation).reshape(size, size, spec.channels)


# One full batch, uint8 [N, H, W, C], to probabilities that numpy takes for float32 [N, K].
_Run = Callable[[np.ndarray], Any]


def _keras_runs(spec: ModelSpec) -> dict[int, _Run]:
    """The model as TensorFlow graphs, on the GPU when there is one."""
    import keras
    import tensorflow as tf

    import models.output  # noqa: F401 - registers the output layer that the file names

    model = keras.models.load_model(spec.path, compile=False)

    def probabilities(pixels: Any) -> Any:
        return model(tf.cast(pixels, tf.float32), training=False)

    shape = (spec.input_size, spec.input_size, spec.channels)
    return {
        size: tf.function(probabilities, input_signature=[tf.TensorSpec((size, *shape), tf.uint8)])
        for size in BATCH_SIZES
    }


def _litert_runs(spec: ModelSpec) -> dict[int, _Run]:
    """The model's LiteRT form; needs neither Keras nor TensorFlow."""
    with zipfile.ZipFile(spec.path) as archive:
        content = archive.read(MEMBER)
    return {size: LitertRunner(content, size) for size in BATCH_SIZES}


class Classifier:
    """A loaded model. `classes`, `input_size`, `channels`, `crop` and `sha256` are those of its `spec`."""

    def __init__(self, spec: ModelSpec, gpu: bool = False) -> None:
        """Load the form that is the faster one: LiteRT where the file has it, unless a GPU is to be used."""
        self.spec = spec
        self.classes = spec.classes
        self.input_size = spec.input_size
        self.channels = spec.channels
        self.crop = spec.crop
        self.sha256 = spec.sha256
        self._shape = (spec.input_size, spec.input_size, spec.channels)
        self._runs = _litert_runs(spec) if spec.litert and not gpu else _keras_runs(spec)

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
            result[start : start + len(batch)] = np.asarray(self._runs[size](padded))[: len(batch)]
        if self.spec.softening:
            result = soften(result, sharpness(crops), self.spec.softening)
        return result


def load_classifier(name_or_path: str, gpu: bool = False) -> Classifier:
    """Load a saved model by the name of its weights in the package, or from a .keras file.

    gpu: run it with TensorFlow, which uses a GPU, also where the file has a form for CPUs.

    Raises ValueError as `read_model_spec` does.
    """
    return Classifier(read_model_spec(name_or_path), gpu)
