"""Random changes to training faces, as Keras layers, so that they run inside the training graph."""

import keras
from keras import layers, ops

from models.architectures.spec import Augmentation, Fill

_PIXELS = (0, 255)


@keras.saving.register_keras_serializable("affectline")
class RandomAffine(layers.Layer):
    """Rotates, shifts, shears and zooms each picture in one resampling, so that faces stay sharp.

    rotation: degrees either way. shift, zoom: fraction of the picture either way. shear: slope either
    way. fill: "nearest" repeats the border into what comes in from outside, "constant" leaves it black.
    Float pictures [N, H, W, C] in and out; does nothing in inference.
    """

    def __init__(
        self,
        rotation: float,
        shift: float,
        shear: float,
        zoom: float,
        fill: Fill,
        seed: int,
        **kwargs: object,
    ) -> None:
        super().__init__(**kwargs)
        self.rotation, self.shift, self.shear, self.zoom, self.fill = rotation, shift, shear, zoom, fill
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The changed pictures, same shape."""
        if not training:
            return images
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        draw = keras.random.uniform((6, count), -1, 1, seed=self.seed_generator)
        angle = draw[0] * (self.rotation * 3.141592653589793 / 180)
        cos, sin, slope = ops.cos(angle), ops.sin(angle), draw[5] * self.shear
        zoom_x, zoom_y = 1 + self.zoom * draw[1], 1 + self.zoom * draw[2]
        # Rows map output to input pixels: x' = a x + b y + c, y' = d x + e y + f, about the centre:
        # the inverse of a shear along x, then a zoom, then a rotation.
        a, b = cos / zoom_x - slope * sin / zoom_y, -sin / zoom_x - slope * cos / zoom_y
        d, e = sin / zoom_y, cos / zoom_y
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        c = center_x - a * center_x - b * center_y + draw[3] * self.shift * width
        f = center_y - d * center_x - e * center_y + draw[4] * self.shift * height
        zero = ops.zeros_like(angle)
        return ops.image.affine_transform(
            images,
            ops.stack([a, b, c, d, e, f, zero, zero], axis=1),
            interpolation="bilinear",
            fill_mode=self.fill,
            data_format="channels_last",
        )


@keras.saving.register_keras_serializable("affectline")
class RandomLight(layers.Layer):
    """Multiplies each picture by a factor between 1 - light and 1 + light, and clips it.

    Float pictures [N, H, W, C], 0 to 255, in and out; does nothing in inference.
    """

    def __init__(self, light: float, seed: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.light = light
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The changed pictures, same shape."""
        if not training:
            return images
        count = ops.shape(images)[0]
        factor = keras.random.uniform(
            (count, 1, 1, 1), 1 - self.light, 1 + self.light, seed=self.seed_generator
        )
        return ops.clip(images * factor, *_PIXELS)


def augmentation(changes: Augmentation, seed: int) -> keras.Sequential:
    """The changes as a network: pixels 0 to 255 in and out, [N, H, W, C] float."""
    steps: list[layers.Layer] = []
    if changes.rotation or changes.shift or changes.shear or changes.zoom:
        steps.append(
            RandomAffine(changes.rotation, changes.shift, changes.shear, changes.zoom, changes.fill, seed)
        )
    if changes.flip:
        steps.append(layers.RandomFlip("horizontal", seed=seed + 1))
    if changes.brightness:
        steps.append(RandomLight(changes.brightness, seed=seed + 2))
    if changes.contrast:
        both_ways = (changes.contrast, changes.contrast)  # of a single number Keras makes only more contrast
        steps.append(layers.RandomContrast(both_ways, value_range=_PIXELS, seed=seed + 3))
    if changes.cutout:
        scale = (min(0.1, changes.cutout), changes.cutout)
        steps.append(
            layers.RandomErasing(
                factor=0.5, scale=scale, fill_value=127.5, value_range=_PIXELS, seed=seed + 4
            )
        )
    return keras.Sequential(steps or [layers.Identity()], name="augmentation")
