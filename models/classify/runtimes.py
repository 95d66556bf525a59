"""Running networks made elsewhere: ONNX by ONNX Runtime, LiteRT by its interpreter, Keras by TensorFlow.

Each takes pixels as a crop has them, uint8 [N, H, W, C], grey or RGB, and gives probabilities.
"""

import os
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from models.classify.trust import h5_config, keras_config, unknown_classes, unknown_names
from models.classify.wrapped import COLOURS, Description, Wrapped
from models.litert import LitertNetwork
from schemas.errors import UsageError
from schemas.extras import needs_extra

_SMALLEST: Final = 1e-7  # no class is ruled out by a probability that was rounded away


class Network(Protocol):
    """A network with one input and one output; may be called from several threads.

    shape: of the input; a name or None where it may vary.
    """

    shape: tuple[Any, ...]

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Answers, float [N, K], to float32 values of the input's shape."""
        ...


class OnnxNetwork:
    """A network in ONNX, on one core a call."""

    def __init__(self, content: bytes) -> None:
        """Take an .onnx file's content; UsageError when it cannot be loaded."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # else it sends reports home from its import on
        with needs_extra("onnx", "onnxruntime"):
            import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # faces are spread over the cores
        options.log_severity_level = 4  # what is wrong is raised
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=onnxruntime.get_available_providers()
            )
        except _onnx_errors() as error:
            raise UsageError(
                "ONNX Runtime cannot load it: the file is damaged, needs operations that it lacks, or keeps "
                "its weights in another file; export it again as one file (PyTorch: external_data=False)."
            ) from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        _require_one(len(inputs), len(outputs))
        self._name, self.shape = inputs[0].name, tuple(inputs[0].shape)
        self._dtype = _ONNX_TYPES.get(inputs[0].type)
        if self._dtype is None:
            raise UsageError(
                f"Its input is {inputs[0].type}; export it with one of {', '.join(_ONNX_TYPES)}."
            )

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """See `Network`."""
        try:
            [answers] = self._session.run(None, {self._name: values.astype(self._dtype)})
        except _onnx_errors() as error:
            raise UsageError(f"ONNX Runtime cannot run it: {_first_line(error)}") from error
        return np.asarray(answers)


_ONNX_TYPES: Final = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


def _onnx_errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NotImplemented",
        "RuntimeException",
    )
    return tuple(getattr(state, name) for name in names)


class _Litert:
    """A network in LiteRT; quantised values are put into its units and back."""

    def __init__(self, content: bytes) -> None:
        try:
            self._network = LitertNetwork(content)
            given, got = self._network.ends()
        except (ValueError, RuntimeError) as error:
            raise UsageError("LiteRT cannot load it: the file is damaged; export it again.") from error
        _require_one(len(given), len(got))
        [self._given], [self._got] = given, got
        self.shape = tuple(None if side < 0 else side for side in self._given["shape_signature"].tolist())

    def __call__(self, values: np.ndarray) -> np.ndarray:
        scale, zero = self._given["quantization"]
        if scale:
            limits = np.iinfo(self._given["dtype"])
            values = np.clip(np.rint(values / scale) + zero, limits.min, limits.max)
        answers = self._network(values.astype(self._given["dtype"]))
        scale, zero = self._got["quantization"]
        return (answers.astype(np.float32) - zero) * scale if scale else answers


class _Keras:
    def __init__(self, wrapped: Wrapped) -> None:
        self._network = load_keras(wrapped)
        self.shape = tuple(self._network.input_shape)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        answers: np.ndarray = self._network(values, training=False).numpy()
        return answers


def load_keras(wrapped: Wrapped) -> Any:
    """The Keras model of a wrapped network, as its makers saved it.

    Raises UsageError for a network of another kind, one that may run code, and one that cannot be loaded.
    """
    if not wrapped.is_keras:
        kind = {".onnx": "ONNX", ".tflite": "LiteRT"}[wrapped.ending]
        raise UsageError(
            f"It is {kind}, which can be run but not looked into; give the network as Keras saves it."
        )
    require_trusted(wrapped)
    import keras

    with tempfile.TemporaryDirectory(prefix="affectline-") as folder:
        path = Path(folder) / f"network{wrapped.ending}"
        path.write_bytes(wrapped.network)
        network = keras.models.load_model(path, compile=False, safe_mode=True)
    _require_one(len(network.inputs), len(network.outputs))
    return network


def completed_keras(wrapped: Wrapped) -> Any:
    """A Keras model from pixels [N, size, size, channels], grey or RGB, to probabilities.

    Raises UsageError as `load_keras` does, and when its ends are not as described.
    """
    network, said = load_keras(wrapped), wrapped.description
    channels_first = takes_channels_first(network.input_shape, said)
    sides = (said.size, said.size, COLOURS[said.colour])
    nothing = np.zeros((1, *(sides[::-1] if channels_first else sides)), np.float32)
    as_logits(network(nothing, training=False).numpy().reshape(1, -1), said)  # says what is not as described
    import keras
    from keras import ops

    from models.classify.output import ClassProbabilities

    pixels = keras.Input(sides, name="pixels")
    values = pixels[..., ::-1] if said.colour == "bgr" else pixels
    values = (values - np.array(said.mean, np.float32)) / np.array(said.scale, np.float32)
    answers = network(ops.transpose(values, (0, 3, 1, 2)) if channels_first else values)
    if said.answers == "probabilities":
        shares = ops.concatenate([1 - answers, answers], axis=1) if answers.shape[1] == 1 else answers
        answers = ops.log(ops.maximum(shares, _SMALLEST))
    head = ClassProbabilities(
        said.temperature, network.name, list(said.classes), {"scale": said.crop}, name="probabilities"
    )
    return keras.Model(pixels, head(answers), name=network.name)


def require_trusted(wrapped: Wrapped) -> None:
    """UsageError when loading a Keras network would build what Keras's arithmetic is not."""
    if not wrapped.is_keras:
        return  # ONNX and LiteRT hold arithmetic alone, and are loaded from memory, where no other file is
    try:
        unknown = (
            unknown_classes(keras_config(wrapped.network))
            if wrapped.ending == ".keras"
            else unknown_names(h5_config(wrapped.network))
        )
    except (zipfile.BadZipFile, KeyError, ValueError, OSError) as error:
        raise UsageError("Keras cannot load it: the file is damaged; save it again.") from error
    if unknown:
        raise UsageError(
            f"It asks for {', '.join(unknown)}, which may run code or read files, and is not loaded; "
            "use a network of Keras's own layers."
        )


def load_network(wrapped: Wrapped) -> Network:
    """A wrapped network, ready to run. Raises UsageError when it cannot be, without the model's name."""
    if wrapped.ending == ".onnx":
        return OnnxNetwork(wrapped.network)
    return _Litert(wrapped.network) if wrapped.ending == ".tflite" else _Keras(wrapped)


def _require_one(inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (1, 1):
        raise UsageError(
            f"It has {inputs} inputs and {outputs} outputs; export one with one picture and one answer."
        )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0].removesuffix(".") + "."


class WrappedNetwork:
    """A network made elsewhere, from pixels to probabilities; may be called from several threads.

    batch: the faces that it computes at a time, where it takes no other number; else None.
    """

    def __init__(self, wrapped: Wrapped) -> None:
        """Load it; UsageError, without the model's name, when it cannot be or is not as described."""
        self._network = load_network(wrapped)
        self._description = wrapped.description
        self._channels_first = takes_channels_first(self._network.shape, wrapped.description)
        batch = self._network.shape[0]
        self.batch = batch if isinstance(batch, int) else None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Probabilities, float32 [N, K], before softening, of uint8 [N, H, W, C], grey or RGB.

        Raises UsageError when the answers are not what the description says.
        """
        return probabilities(self._answers(pixels), self._description)

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """The same as float64 logits, before any temperature, [N, K]."""
        return as_logits(self._answers(pixels), self._description)

    def _answers(self, pixels: np.ndarray) -> np.ndarray:
        ordered = pixels[..., ::-1] if self._description.colour == "bgr" else pixels
        values = (ordered - np.array(self._description.mean)) / np.array(self._description.scale)
        prepared = np.ascontiguousarray(
            values.transpose(0, 3, 1, 2) if self._channels_first else values, np.float32
        )
        return np.asarray(self._network(prepared), np.float64).reshape(len(pixels), -1)


def guess(wrapped: Wrapped) -> dict[str, Any]:
    """What a network itself tells for its description: size, colour and kind of answers, where it does.

    wrapped: of whose description mean and scale count. Colours are taken to be in the order red, green, blue.
    """
    network = load_network(wrapped)
    sides = network.shape[1:]
    if len(sides) != 3:
        return {}
    for channels, size, other in ((sides[2], *sides[:2]), sides):
        if channels in (1, 3) and isinstance(size, int) and size == other:
            told = {"size": size, "colour": "grey" if channels == 1 else "rgb"}
            noise = np.random.default_rng(0).uniform(0, 255, [each or 1 for each in _fixed(network.shape)])
            values = (noise - wrapped.description.mean[0]) / wrapped.description.scale[0]
            answers = network(values.astype(np.float32)).reshape(len(noise), -1)
            total = answers.sum(axis=1)
            single = answers.shape[1] == 1
            shares = bool((answers >= 0).all() and (single or np.allclose(total, 1, atol=1e-3)))
            return told | {"answers": "probabilities" if shares else "logits"}
    return {}


def _fixed(shape: Sequence[Any]) -> list[int]:
    return [side if isinstance(side, int) else 1 for side in shape]


def takes_channels_first(shape: Sequence[Any], description: Description) -> bool:
    """Whether an input's shape is [N, C, H, W] and not [N, H, W, C]; UsageError when it is neither."""
    size, channels = description.size, COLOURS[description.colour]

    def fits(*sides: int) -> bool:
        return len(shape) == 4 and all(
            not isinstance(side, int) or side == wanted for side, wanted in zip(shape[1:], sides, strict=True)
        )

    if fits(channels, size, size):
        return True
    if fits(size, size, channels):
        return False
    sides = ", ".join(str(side) if isinstance(side, int) else "any" for side in shape)
    raise UsageError(
        f"It takes [{sides}], and its description says size {size} and colour {description.colour}; "
        "correct that."
    )


def as_logits(answers: np.ndarray, description: Description) -> np.ndarray:
    """Answers of a network, float64 [N, K], or [N, 1] for the second of two classes, as logits [N, K].

    Raises UsageError for another number of them, and for probabilities that are none.
    """
    single = answers.shape[1] == 1 and len(description.classes) == 2
    if not single and answers.shape[1] != len(description.classes):
        raise UsageError(
            f"It gives {answers.shape[1]} answers, and its description names {len(description.classes)} "
            "classes; name one for each answer."
        )
    if description.answers == "logits":
        return np.pad(answers, ((0, 0), (1, 0))) if single else answers
    shares = np.concatenate([1 - answers, answers], axis=1) if single else answers
    if np.isfinite(shares).all() and not (
        (shares > -0.01).all() and np.allclose(shares.sum(axis=1), 1, atol=0.01)
    ):
        raise UsageError('Its answers are no probabilities; write answers = "logits".')
    logs: np.ndarray = np.log(np.maximum(shares, _SMALLEST))
    return logs


def probabilities(answers: np.ndarray, description: Description) -> np.ndarray:
    """What `as_logits` takes as probabilities at the description's temperature, float32 [N, K]."""
    scores = as_logits(answers, description) / description.temperature
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)
