"""Looking inside a saved model: its kernels, what its layers answer to a face, and where it looked."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from models.classify.output import ClassProbabilities
from schemas.errors import UsageError

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


class UnknownLayerError(UsageError):
    """A model has no such layer, or one that cannot be shown so; the message lists those that can."""


@dataclass(frozen=True)
class FeatureMaps:
    """What a layer gave for one face: float32 [h, w, maps]."""

    layer: str
    maps: np.ndarray


@dataclass(frozen=True)
class GradCam:
    """How much each place of a face speaks for each class.

    layer: whose maps were weighed. heat: float32 [classes, h, w], at the layer's resolution, 0 and up,
    in the unit of the class's score (its logit). probabilities: float32 [classes].
    """

    layer: str
    heat: np.ndarray
    probabilities: np.ndarray


def layers_by_name(network: keras.Model) -> dict[str, keras.layers.Layer]:
    """Every layer in order; one of a nested backbone is called backbone/layer."""
    found: dict[str, keras.layers.Layer] = {}
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            found |= {f"{layer.name}/{name}": inner for name, inner in layers_by_name(layer).items()}
        else:
            found[layer.name] = layer
    return found


def kernels(network: keras.Model, layer: str | None = None) -> tuple[str, np.ndarray]:
    """A convolution's name and weights: float32 [height, width, channels in, filters].

    A depthwise one, also inside of a separable one, has its own filters for each channel. Without a
    name, the first convolution. Raises UnknownLayerError.
    """
    found = {}
    for name, each in layers_by_name(network).items():
        if isinstance(each, keras.layers.SeparableConv2D):
            found[name] = each.depthwise_kernel
        elif isinstance(each, _CONVOLUTIONS):
            found[name] = each.kernel
    name = _choose(layer, list(found), 0)
    return name, found[name].numpy()


def feature_maps(network: keras.Model, crop: np.ndarray, layer: str | None = None) -> FeatureMaps:
    """What a layer answers to a face.

    crop: uint8 [input_size, input_size, channels], as the model wants it. layer: any that gives maps; the
    first convolution without a name. Raises UnknownLayerError.
    """
    layers = layers_by_name(network)
    with _recorded(layers) as outputs:
        network(_as_batch(crop), training=False)
    spatial = _spatial(outputs)
    first = next((name for name in spatial if isinstance(layers[name], _CONVOLUTIONS)), None)
    name = _choose(layer or first, list(spatial), 0)
    return FeatureMaps(name, spatial[name][0].numpy())


def grad_cam(network: keras.Model, crop: np.ndarray, layer: str | None = None) -> GradCam:
    """Where a face speaks for each class: maps weighed by how much the class's score follows them.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization": the weight of a map is the mean of the gradient of the class's score before the softmax
    over the map, and the heat is what is positive of the weighted sum of all maps.

    crop: as for `feature_maps`. layer: any that gives maps; without a name, the last that gives maps of
    the last convolution's shape, which is after its activation and before any pooling. Raises
    UnknownLayerError.
    """
    layers = layers_by_name(network)
    [head] = [each for each in network.layers if isinstance(each, ClassProbabilities)]
    body = keras.Model(network.inputs, head.input)
    pixels = _as_batch(crop)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(pixels)
        with _recorded(layers) as outputs:
            logits = body(pixels, training=False)
        scores = [score[0] for score in tf.unstack(_scores(logits), axis=1)]
    spatial = _spatial(outputs)
    name = _choose(layer or _last_maps(spatial, layers), list(spatial), -1)
    maps = spatial[name]
    heat = []
    for score in scores:
        gradient = tape.gradient(score, maps, unconnected_gradients="zero")
        weights = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        heat.append(tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))[0].numpy())
    return GradCam(name, np.stack(heat), head(logits)[0].numpy())


def _scores(logits: tf.Tensor) -> tf.Tensor:
    """A score before the softmax for each class, [1, classes]."""
    # A single logit speaks for the second of two classes and as much against the first.
    return tf.concat([-logits, logits], axis=1) if logits.shape[1] == 1 else logits


def _as_batch(crop: np.ndarray) -> tf.Tensor:
    return tf.constant(crop[None], tf.float32)


@contextmanager
def _recorded(layers: Mapping[str, keras.layers.Layer]) -> Iterator[dict[str, Any]]:
    """What each layer gives while this lasts, by its name, in the order of being called.

    A model made of layers' symbolic outputs would not do: those of a nested backbone belong to a graph
    of its own.
    """
    outputs: dict[str, Any] = {}

    def recording(name: str, call: Any) -> Any:
        @wraps(call)
        def recorded(*arguments: Any, **options: Any) -> Any:
            outputs[name] = call(*arguments, **options)
            return outputs[name]

        return recorded

    for name, layer in layers.items():
        layer.call = recording(name, layer.call)
    try:
        yield outputs
    finally:
        for layer in layers.values():
            del layer.call


def _spatial(outputs: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Those that are maps: [1, h, w, channels] of more than one place."""
    return {
        name: output
        for name, output in outputs.items()
        if tf.is_tensor(output) and output.shape.rank == 4 and output.shape[1] * output.shape[2] > 1
    }


def _last_maps(spatial: Mapping[str, tf.Tensor], layers: Mapping[str, keras.layers.Layer]) -> str | None:
    """The last layer whose maps have the shape of the last convolution's."""
    convolutions = [name for name in spatial if isinstance(layers[name], _CONVOLUTIONS)]
    if not convolutions:
        return None
    shape = spatial[convolutions[-1]].shape
    return [name for name, maps in spatial.items() if maps.shape == shape][-1]


def _choose(layer: str | None, names: list[str], default: int) -> str:
    if not names:
        raise UnknownLayerError("The model has no layer that can be shown so.")
    if layer is None:
        return names[default]
    if layer not in names:
        raise UnknownLayerError(f"There is no layer '{layer}' to show; choose one of {', '.join(names)}.")
    return layer
