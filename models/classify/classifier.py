"""Inference: a loaded model, and the batches it computes.

Keras is imported only where it really runs a model.
"""

import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import Any, Final

import numpy as np

from models.classify.litert import MEMBER
from models.classify.runtimes import WrappedNetwork, completed_keras
from models.classify.sharpness import sharpness, soften
from models.classify.spec import ModelRef, find_model
from models.classify.trust import holds_numbers
from models.classify.wrapped import unwrap
from models.gpu import has_gpu
from models.litert import LitertNetwork
from models.thread_pool import thread_pool
from schemas.emotions import all_emotions, emotion_columns
from schemas.errors import AffectlineError, UsageError

# Batches are padded to one of a few sizes: one traced graph each, and no other ever. On a CPU larger ones
# are no quicker, and with one core a batch several run at a time. A GPU needs many faces at once, and has
# one size alone: another could give other digits in half precision.
CPU_BATCH_SIZES: Final = (1, 8)
GPU_BATCH_SIZE: Final = 256  # at most; halved until it fits, and what is not filled is wasted


def load_network(model: ModelRef) -> Any:
    """The saved Keras model: pixels [N, input_size, input_size, channels], 0 to 255, to probabilities.

    Raises UsageError for a network made elsewhere that is not Keras's.
    """
    import keras

    import models.classify.output  # noqa: F401 - registers the output layer that the file names

    if model.spec.wrapped:
        with _of_model(model):
            return completed_keras(unwrap(model.read()))
    network = keras.models.load_model(model.path, compile=False, safe_mode=True)
    if model.head is None:
        return network
    return keras.Model(network.input, network.get_layer(model.head).output, name=network.name)


@contextmanager
def _of_model(model: ModelRef) -> Iterator[None]:
    """Around what is done with a network made elsewhere: says of which model an error is."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"The model '{model.name}' cannot be used: {_lower_first(str(error))}") from error


def _lower_first(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:] if sentence.startswith("It") else sentence


# One full batch, uint8 [N, H, W, C], to probabilities float32 [N, K]; may be called from several threads.
_Run = Callable[[np.ndarray], np.ndarray]


def keras_graphs(model: ModelRef, in_half: bool) -> Callable[[int], Any]:
    """The model as a TensorFlow graph for each size of batch; `in_half`: see `compute_in_half`."""
    import tensorflow as tf

    network = load_network(model)
    spec = model.spec
    if in_half:
        compute_in_half(network)

    @tf.function
    def probabilities(pixels: Any) -> Any:
        return network(tf.cast(pixels, tf.float32), training=False)

    @cache
    def graph(size: int) -> Any:
        shape = (size, spec.input_size, spec.input_size, spec.channels)
        return probabilities.get_concrete_function(tf.TensorSpec(shape, tf.uint8))

    return graph


def _keras_run(model: ModelRef, in_half: bool) -> _Run:
    import tensorflow as tf

    graph = keras_graphs(model, in_half)
    return lambda pixels: graph(len(pixels))(tf.constant(pixels)).numpy()


def _litert_run(content: bytes, columns: tuple[int, int]) -> _Run:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        network = LitertNetwork(archive.read(MEMBER))
    return lambda pixels: network(pixels)[:, slice(*columns)]


def _wrapped_run(model: ModelRef, content: bytes) -> tuple[_Run, int | None]:
    """How a network made elsewhere is run, and the only number of faces that it takes at a time, if any."""
    wrapped = unwrap(content)
    if wrapped.is_keras:
        return _keras_run(model, in_half=False), None
    with _of_model(model):
        network = WrappedNetwork(wrapped)

    def run(pixels: np.ndarray) -> np.ndarray:
        with _of_model(model):
            return network(pixels)

    return run, network.batch


class Classifier:
    """A loaded `model`, described by its `spec`.

    `batch_sizes` are those it computes. On a CPU it runs the file's LiteRT form where there is one; on a GPU
    all layers but the last two compute in half precision, with float32 weights. A network made elsewhere
    runs in its own form.
    """

    def __init__(self, model: ModelRef, batch_size: int = GPU_BATCH_SIZE) -> None:
        """Load the model; a GPU computes `batch_size` faces at a time, or what `warm_up` finds to fit.

        Raises ModelChangedError when the file is not the one that `model` describes.
        """
        content = model.read()
        self.model, self.spec = model, model.spec
        spec = model.spec
        self._shape = (spec.input_size, spec.input_size, spec.channels)
        self._on_gpu = has_gpu() and spec.wrapped is None
        self.batch_sizes: tuple[int, ...] = (batch_size,) if self._on_gpu else CPU_BATCH_SIZES
        if spec.wrapped:
            self._run, only = _wrapped_run(model, content)
            self.batch_sizes = (only,) if only else CPU_BATCH_SIZES
        elif spec.litert and not self._on_gpu:
            self._run = _litert_run(content, spec.litert)
        else:
            self._run = _keras_run(model, self._on_gpu)

    def warm_up(self) -> None:
        """Compute a batch of each size, so that none has to be traced later; on a GPU find one that fits."""
        if self._on_gpu:
            self._find_fitting_batch()
            return
        for size in self.batch_sizes:
            self._compute(np.zeros((size, *self._shape), np.uint8))

    def _find_fitting_batch(self) -> None:
        from tensorflow.errors import ResourceExhaustedError

        [size] = self.batch_sizes
        while True:
            try:
                self._compute(np.zeros((size, *self._shape), np.uint8))
                return
            except ResourceExhaustedError:
                if size == 1:
                    raise
                size //= 2
                self.batch_sizes = (size,)

    def predict(self, crops: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of each face, whatever faces are beside it.

        crops: uint8 [N, input_size, input_size, channels], N >= 0.

        Returns float32 [N, len(classes)], rows summing to 1. Raises ValueError for another shape or dtype.
        """
        if crops.dtype != np.uint8 or crops.shape[1:] != self._shape:
            raise ValueError(
                f"The model '{self.model.name}' takes crops uint8 [N, {', '.join(map(str, self._shape))}], "
                f"not {crops.dtype} {list(crops.shape)}."
            )
        largest = self.batch_sizes[-1]
        batches = [crops[start : start + largest] for start in range(0, len(crops), largest)]
        none = np.empty((0, len(self.spec.classes)), np.float32)
        computed = map(self._compute, batches) if self._on_gpu else thread_pool().map(self._compute, batches)
        probabilities = np.concatenate([none, *computed])
        if self.spec.softening:
            return soften(probabilities, sharpness(crops), self.spec.softening)
        return probabilities

    def slots(self, faces: int) -> int:
        """How many faces are computed, with those that only fill batches up, when so many are asked for."""
        largest = self.batch_sizes[-1]
        full, rest = divmod(faces, largest)
        return full * largest + (self._padded(rest) if rest else 0)

    def _padded(self, faces: int) -> int:
        return next(size for size in self.batch_sizes if size >= faces)

    def _compute(self, batch: np.ndarray) -> np.ndarray:
        size = self._padded(len(batch))
        padded = np.zeros((size, *self._shape), dtype=np.uint8)
        padded[: len(batch)] = batch
        return self._run(padded)[: len(batch)]

    def predict_emotions(self, crops: np.ndarray) -> np.ndarray:
        """As `predict`, with a column for each of the seven, whichever the model knows, and for its others.

        crops: uint8 [N, input_size, input_size, channels], N >= 0.

        Returns float32 [N, 7 or more] in the order of `all_emotions`: nan for a class that the model does
        not know (unknown is not absent), the others sum to 1. Raises ValueError as `predict` does, and when
        the model itself gives no number.
        """
        probabilities = self.predict(crops)
        if not np.isfinite(probabilities).all():
            raise ValueError(f"The model '{self.model.name}' gives no numbers for a face; train it again.")
        emotions = np.full((len(crops), len(all_emotions(self.spec.classes))), np.nan, dtype=np.float32)
        emotions[:, emotion_columns(self.spec.classes)] = probabilities
        return emotions


def compute_in_half(model: Any) -> None:
    """Let a Keras model compute in float16, all but its last two layers; the weights stay float32."""
    from keras import Model

    def halve(layers: list[Any]) -> None:
        for layer in layers:
            if isinstance(layer, Model):
                halve(layer.layers)
            else:
                layer.dtype_policy = "mixed_float16"

    halve(model.layers[:-2])  # logits and probabilities are what is left


def load_classifier(name_or_path: str, batch_size: int = GPU_BATCH_SIZE) -> Classifier:
    """Load a saved model by the name of its weights in the package, or from its file.

    batch_size: on a GPU, the most faces computed at a time. Raises UsageError as `find_model` does.
    """
    return Classifier(find_model(name_or_path), batch_size)


# What Keras, HDF5, zip and LiteRT raise for a file that is not in order.
_LOADING_ERRORS: Final = (
    *(ValueError, TypeError, KeyError, OSError, RuntimeError, UserWarning),
    *(zipfile.BadZipFile, zlib.error),
)


def check_model(model: ModelRef) -> None:
    """Load a saved model once, and let it look at one picture of noise.

    Raises UsageError when it cannot be loaded, when its weights do not fit its network, or when they are not
    all numbers; ModelChangedError as `Classifier` does.
    """
    spec = model.spec
    shape = (1, spec.input_size, spec.input_size, spec.channels)
    noise = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    try:
        with warnings.catch_warnings():
            # Keras leaves layers untrained that the file has no weights for, and only warns.
            warnings.filterwarnings("error", "Skipping nested container", UserWarning)
            content = model.read()
            numbers = (spec.wrapped is not None or holds_numbers(content)) and np.isfinite(
                Classifier(model).predict(noise)
            ).all()
    except AffectlineError:
        raise
    except _LOADING_ERRORS as error:
        raise UsageError(
            f"The model '{model.name}' cannot be loaded: its file is damaged, or its weights do not fit its "
            "network; save it again."
        ) from error
    if not numbers:
        raise UsageError(f"The model '{model.name}' has weights that are no numbers; train it again.")
