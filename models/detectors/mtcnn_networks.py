"""MTCNN's three networks in TensorFlow, from the weights in the `mtcnn` wheel.

    python -m models.detectors.mtcnn_networks

writes their LiteRT form, which runs on a CPU, into models/weights and prints the digests that
models/detectors/mtcnn_files.py holds. A GPU runs the same functions as TensorFlow's graphs.

Each takes pixels and gives, in its last axis, a face's four offsets, the logit of its probability and, from
O-Net, five marks. Kernels are [height, width, in, out]; weights become constants.
"""

import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import tensorflow as tf

from models.detectors.mtcnn_files import LITERT_FILES


def _weights(network: str) -> list[np.ndarray]:
    """The arrays in the order of the wheel's own layers: kernel, bias, slopes; kernel, ..."""
    # Found without importing the package, which would build its own networks' classes.
    spec = find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise ImportError("The package 'mtcnn' is not installed; its weights are needed.")
    return joblib.load(Path(spec.origin).parent / "assets" / "weights" / f"{network}.lz4")


def _normalised(pixels: tf.Tensor) -> tf.Tensor:
    return (tf.cast(pixels, tf.float32) - 127.5) / 128


def _prelu(x: tf.Tensor, slopes: np.ndarray) -> tf.Tensor:
    """In the form that the converter knows, with one axis for each of a picture's."""
    slopes = slopes.reshape((1,) * (len(x.shape) - 2) + (-1,))
    return tf.nn.relu(x) + -slopes * tf.nn.relu(-x)


def _convolution(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)


def _dense(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    """A layer over all pixels, whose weights were trained with columns before rows."""
    height, width, channels = x.shape[1:]
    kernel = kernel.reshape(width, height, channels, -1).transpose(1, 0, 2, 3).reshape(len(kernel), -1)
    return tf.reshape(x, [-1, len(kernel)]) @ kernel + bias


def _heads(box: np.ndarray, face: np.ndarray, *marks: np.ndarray) -> np.ndarray:
    """The last layers' weights side by side: of two classes' logits the difference is all that counts."""
    return np.concatenate([box, face[..., 1:] - face[..., :1], *marks], axis=-1)


def _pnet(x: tf.Tensor, weights: list[np.ndarray]) -> tf.Tensor:
    """Canvases [n, height, width, 3] to cells [n, (height - 10) / 2, (width - 10) / 2, 5]."""
    k1, b1, a1, k2, b2, a2, k3, b3, a3, k_box, b_box, k_face, b_face = weights
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k1, b1), a1), 2, 2, "SAME")
    x = _prelu(_convolution(x, k2, b2), a2)
    x = _prelu(_convolution(x, k3, b3), a3)
    return _convolution(x, _heads(k_box, k_face), _heads(b_box, b_face))


def _rnet(x: tf.Tensor, weights: list[np.ndarray]) -> tf.Tensor:
    """Crops [m, 24, 24, 3] to [m, 5]."""
    k1, b1, a1, k2, b2, a2, k3, b3, a3, w4, b4, a4, w_box, b_box, w_face, b_face = weights
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k1, b1), a1), 3, 2, "SAME")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k2, b2), a2), 3, 2, "VALID")
    x = _prelu(_convolution(x, k3, b3), a3)
    x = _prelu(_dense(x, w4, b4), a4)
    return x @ _heads(w_box, w_face) + _heads(b_box, b_face)


def _onet(x: tf.Tensor, weights: list[np.ndarray]) -> tf.Tensor:
    """Crops [m, 48, 48, 3] to [m, 15]: the marks are five x, then five y."""
    *layers, w_box, b_box, w_marks, b_marks, w_face, b_face = weights
    k1, b1, a1, k2, b2, a2, k3, b3, a3, k4, b4, a4, w5, b5, a5 = layers
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k1, b1), a1), 3, 2, "SAME")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k2, b2), a2), 3, 2, "VALID")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k3, b3), a3), 2, 2, "SAME")
    x = _prelu(_convolution(x, k4, b4), a4)
    x = _prelu(_dense(x, w5, b5), a5)
    return x @ _heads(w_box, w_face, w_marks) + _heads(b_box, b_face, b_marks)


_NETWORKS: Final[dict[str, tuple[Callable[..., tf.Tensor], int | None]]] = {  # with the side of its input
    "pnet": (_pnet, None),
    "rnet": (_rnet, 24),
    "onet": (_onet, 48),
}


def _graph(name: str) -> Any:
    network, side = _NETWORKS[name]
    weights = _weights(name)
    signature = [tf.TensorSpec([None, side, side, 3], tf.uint8)]
    # A concrete one: to find the graph that fits takes tf.function a third of a millisecond each time.
    return tf.function(
        lambda pixels: network(_normalised(pixels), weights), input_signature=signature
    ).get_concrete_function()


def tensorflow_network(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """A network by name as a graph, from pictures uint8 [N, H, W, 3] to float32."""
    graph = _graph(name)
    return lambda pixels: graph(tf.constant(pixels)).numpy()


def main() -> None:
    """Write the three LiteRT files and print their digests."""
    for name, (path, _) in LITERT_FILES.items():
        content = tf.lite.TFLiteConverter.from_concrete_functions([_graph(name)]).convert()
        path.write_bytes(content)
        print(name, hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
