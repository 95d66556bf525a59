"""One small network in ONNX, LiteRT and Keras, with the same weights, as others would save it."""

from pathlib import Path

import keras
import numpy as np
import onnx
import tensorflow as tf
from keras import layers
from onnx import TensorProto, helper, numpy_helper
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

SIZE = 32
MEAN, SCALE = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)


def weights(classes, seed=0):
    """Of a convolution [3, 3, 3, 8] and a dense layer [8, classes], with their biases."""
    rng = np.random.default_rng(seed)
    shapes = (3, 3, 3, 8), (8,), (8, classes), (classes,)
    return [rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]


def keras_network(classes=7, seed=0, softmax=False):
    kernel, bias, dense, shift = weights(classes, seed)
    pixels = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="convolution")(pixels)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dense(classes, activation="softmax" if softmax else None)(x)
    network = keras.Model(pixels, x)
    network.set_weights([kernel, bias, dense, shift])
    return network


def save_keras(path: Path, classes=7, seed=0, softmax=False) -> Path:
    keras_network(classes, seed, softmax).save(path)
    return path


def save_onnx(path: Path, classes=7, seed=0, batch="batch") -> Path:
    """As PyTorch exports: channels first, any number of pictures, logits."""
    kernel, bias, dense, shift = weights(classes, seed)
    values = {"kernel": kernel.transpose(3, 2, 0, 1), "bias": bias, "dense": dense, "shift": shift}
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["pixels", "kernel", "bias"], ["maps"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["maps"], ["positive"]),
            helper.make_node("GlobalAveragePool", ["positive"], ["means"]),
            helper.make_node("Flatten", ["means"], ["flat"]),
            helper.make_node("Gemm", ["flat", "dense", "shift"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, classes])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def save_litert(path: Path, classes=7, seed=0) -> Path:
    network = keras_network(classes, seed)
    graph = tf.function(network, input_signature=[tf.TensorSpec((None, SIZE, SIZE, 3), tf.float32)])
    constant = convert_variables_to_constants_v2(graph.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([constant])
    path.write_bytes(converter.convert())
    return path


def describe(folder: Path, **other) -> Path:
    """The `model.toml` of these networks, with other values in places; None leaves one out."""
    from schemas.emotions import EMOTIONS

    said = {
        "size": SIZE,
        "colour": '"rgb"',
        "mean": list(MEAN),
        "scale": list(SCALE),
        "classes": list(EMOTIONS),
        "answers": '"logits"',
    } | other
    path = folder / "model.toml"
    path.write_text("".join(f"{key} = {value}\n" for key, value in said.items() if value is not None))
    return path
