"""Backbones: networks of keras.applications without their top, nested as one layer in ours.

The nested model has the application's own name (such as "ResNet50") and its own layers, less those
that scale pixels: these are ours to place, so that a backbone holds nothing but trained layers.
"""

import contextlib
import socket
import sys
import warnings
from pathlib import Path
from typing import Final

import keras
from keras import layers

from schemas.errors import UsageError

# Seconds without a byte after which a download has failed; Keras would wait for ever.
_TIMEOUT_S: Final = 30

# Of all batch normalisations, as most applications have it. MobileNetV3's own 0.999 follows so slowly that
# after 2,400 steps from random weights all faces still got the same answer outside of training.
_MOMENTUM: Final = 0.99

# Mean and deviation of each channel, for pixels 0 to 255, as each family was trained on ImageNet. Those
# of ResNet50 are of blue, green, red, in this order.
_CAFFE: Final = ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0))
_TORCH: Final = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
_TENSORFLOW: Final = ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))
_PIXELS: Final = {
    "ResNet50": _CAFFE,
    "EfficientNetB2": _TORCH,
    "EfficientNetB3": _TORCH,
    "Xception": _TENSORFLOW,
    "MobileNetV3Small": _TENSORFLOW,
}


def apply_backbone(pixels: keras.KerasTensor, application: str, weights: str | None) -> keras.KerasTensor:
    """The feature maps of an application of keras.applications, by the name it has there.

    pixels: [N, H, W, 3], 0 to 255, channels in the order of the application's training (blue first for
    ResNet50). weights: as for `start_backbone`; None is "none".

    Returns [N, h, w, C], h and w a 32nd of H and W.
    """
    mean, deviation = _PIXELS[application]
    variance = [value**2 for value in deviation]
    scaled = layers.Normalization(mean=list(mean), variance=variance, name="preprocess")(pixels)
    backbone = _untrained(application, pixels.shape[1:])
    start_backbone(backbone, weights or "none")
    return backbone(scaled)


def backbone_of(network: keras.Model) -> keras.Model | None:
    """The backbone nested in a network; None without one."""
    return next((layer for layer in network.layers if isinstance(layer, keras.Model)), None)


def backbone_layers(network: keras.Model) -> list[layers.Layer]:
    """The layers of the backbone nested in a network, with the indices of Keras; none without one.

    ResNet50 has 175, the input layer first. EfficientNet lacks the two that scale pixels.
    """
    backbone = backbone_of(network)
    return backbone.layers if backbone else []


def start_backbone(backbone: keras.Model, weights: str) -> None:
    """Put weights trained elsewhere into an untrained backbone, and say so on stderr.

    weights: "none": leave it untrained. "imagenet": Keras's own, downloaded once into its cache. "auto":
    these where they can be had, else none. Else the path of a file that Keras's `load_weights` reads,
    such as Keras's own download, made without the top ("notop").

    Raises UsageError when the weights asked for cannot be had; the message says what to do.
    """
    if weights == "none":
        return
    if weights == "auto":
        try:
            trained = _from_imagenet(backbone)
        except UsageError as error:
            print(f"{backbone.name} starts untrained. {error}", file=sys.stderr, flush=True)
            return
    elif weights == "imagenet":
        trained = _from_imagenet(backbone)
    else:
        trained = _from_file(backbone, weights)
    for ours, theirs in zip(_trained_layers(backbone), _trained_layers(trained), strict=True):
        ours.set_weights(theirs.get_weights())
    source = "ImageNet's weights" if weights in ("auto", "imagenet") else f"the weights in '{weights}'"
    print(f"{backbone.name} starts with {source}.", file=sys.stderr, flush=True)


def _application(name: str, shape: tuple[int, int, int], weights: str | None) -> keras.Model:
    # What scales pixels inside of an application comes before its first layer with weights. MobileNetV3
    # can be had without it; EfficientNet cannot, see `_untrained`.
    options = {"include_preprocessing": False} if name.startswith("MobileNetV3") else {}
    make = getattr(keras.applications, name)
    return make(include_top=False, weights=weights, input_shape=shape, name=name, **options)


def _untrained(name: str, shape: tuple[int, int, int]) -> keras.Model:
    application = _application(name, shape, None)
    for layer in application.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    if not name.startswith("EfficientNet"):
        return application
    # EfficientNet's own scaling is left out: with ImageNet's weights it has a layer more than without, and
    # its Normalization takes over changed weights only when loading a file.
    return keras.Model(application.get_layer("stem_conv_pad").input, application.output, name=name)


def _trained_layers(model: keras.Model) -> list[layers.Layer]:
    return [layer for layer in model.layers if layer.weights and not isinstance(layer, layers.Normalization)]


def _from_imagenet(backbone: keras.Model) -> keras.Model:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT_S)
    try:
        # Keras shows its progress on stdout, which is for results.
        with contextlib.redirect_stdout(sys.stderr):
            return _application(backbone.name, backbone.input_shape[1:], "imagenet")
    except Exception as error:
        # Keras raises a bare Exception while it handles the real one, and ValueError for a wrong hash.
        cause = error if isinstance(error, OSError | ValueError) else error.__context__
        if not isinstance(cause, OSError | ValueError):
            raise
        raise UsageError(
            f"ImageNet's weights for {backbone.name} cannot be had ({cause}); use --backbone-weights none, "
            "or --backbone-weights FILE with Keras's file fetched elsewhere."
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _from_file(backbone: keras.Model, path: str) -> keras.Model:
    if not Path(path).is_file():
        raise UsageError(f"There is no weights file '{path}'; check the path, or give imagenet or none.")
    trained = _application(backbone.name, backbone.input_shape[1:], None)
    try:
        # Keras only warns of layers that the file lacks, and leaves them as they are.
        with warnings.catch_warnings(action="error", category=UserWarning):
            trained.load_weights(path)
    except (OSError, ValueError, KeyError, UserWarning) as error:
        raise UsageError(
            f"'{path}' does not hold weights of {backbone.name} ({str(error).splitlines()[0]}); give Keras's "
            "own file without the top (its name ends in notop.h5 or no_top_v2.h5)."
        ) from error
    return trained
