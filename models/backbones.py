"""The part of a network that was made, and perhaps trained, by others."""

import keras


def backbone_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """The layers of the network's backbone, a model nested in it, in its own order; none without one."""
    return [inner for layer in model.layers if isinstance(layer, keras.Model) for inner in layer.layers]
