"""Layers that Keras lacks, registered so that a saved network loads in safe mode."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("affectline")
class ChannelAttention(layers.Layer):
    """Weighs each channel of feature maps [N, h, w, C] by what all of the picture says; same shape.

    One hidden layer of C / reduction units is shared by the channels' means and maxima over the picture;
    a sigmoid of the sum of both answers is the weight. Woo et al. 2018, "CBAM: Convolutional Block
    Attention Module".
    """

    def __init__(self, reduction: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.reduction = reduction

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the hidden layer for the channels that come in."""
        channels = shape[-1]
        self.squeeze = layers.Dense(channels // self.reduction, activation="relu", dtype=self.dtype_policy)
        self.excite = layers.Dense(channels, dtype=self.dtype_policy)
        self.squeeze.build((None, channels))
        self.excite.build((None, channels // self.reduction))

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """The weighed maps."""
        pooled = (ops.mean(maps, axis=(1, 2)), ops.max(maps, axis=(1, 2)))
        mean, maximum = (self.excite(self.squeeze(values)) for values in pooled)
        return maps * ops.sigmoid(mean + maximum)[:, None, None, :]

    def get_config(self) -> dict[str, Any]:
        """The settings, as saved in the file."""
        return {**super().get_config(), "reduction": self.reduction}


@keras.saving.register_keras_serializable("affectline")
class SpatialAttention(layers.Layer):
    """Weighs each place of feature maps [N, h, w, C] by what is around it; same shape.

    A sigmoid of one convolution over the channels' mean and maximum is the weight; Woo et al. 2018.
    """

    def __init__(self, kernel_size: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the convolution."""
        self.convolution = layers.Conv2D(
            1, self.kernel_size, padding="same", activation="sigmoid", use_bias=False, dtype=self.dtype_policy
        )
        self.convolution.build((*shape[:-1], 2))

    def call(self, maps: keras.KerasTensor) -> keras.KerasTensor:
        """The weighed maps."""
        summary = [ops.mean(maps, axis=-1, keepdims=True), ops.max(maps, axis=-1, keepdims=True)]
        return maps * self.convolution(ops.concatenate(summary, axis=-1))

    def get_config(self) -> dict[str, Any]:
        """The settings, as saved in the file."""
        return {**super().get_config(), "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("affectline")
class TransformerBlock(layers.Layer):
    """Lets every place of feature maps [N, h, w, C] look at every other; same shape.

    Self-attention of `heads` heads, C / heads wide each, then two 1x1 convolutions by way of 4 C channels
    with GELU. Each is added to what came in and normalised, as in Vaswani et al. 2017, "Attention Is All
    You Need". C is a multiple of heads.
    """

    def __init__(self, heads: int, dropout: float, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout

    def build(self, shape: tuple[int, ...]) -> None:
        """Make the layers for the maps that come in."""
        _, height, width, channels = shape
        policy = self.dtype_policy
        self.tokens = layers.Reshape((height * width, channels), dtype=policy)
        self.places = layers.Reshape((height, width, channels), dtype=policy)
        self.attention = layers.MultiHeadAttention(
            self.heads, channels // self.heads, dropout=self.dropout, dtype=policy
        )
        self.widen = layers.Conv2D(4 * channels, 1, activation="gelu", dtype=policy)
        self.narrow = layers.Conv2D(channels, 1, dtype=policy)
        self.drop_attended = layers.Dropout(self.dropout, dtype=policy)
        self.drop_fed = layers.Dropout(self.dropout, dtype=policy)
        self.normalize_attended = layers.LayerNormalization(epsilon=1e-6, dtype=policy)
        self.normalize_fed = layers.LayerNormalization(epsilon=1e-6, dtype=policy)
        self.attention.build((None, height * width, channels), (None, height * width, channels))
        self.widen.build(shape)
        self.narrow.build((None, height, width, 4 * channels))
        self.normalize_attended.build(shape)
        self.normalize_fed.build(shape)

    def call(self, maps: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Maps of the same shape."""
        tokens = self.tokens(maps)
        attended = self.places(self.attention(tokens, tokens, training=training))
        maps = self.normalize_attended(maps + self.drop_attended(attended, training=training))
        fed = self.narrow(self.widen(maps))
        return self.normalize_fed(maps + self.drop_fed(fed, training=training))

    def get_config(self) -> dict[str, Any]:
        """The settings, as saved in the file."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}
