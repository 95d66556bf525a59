"""Random changes to training faces, as Keras layers, so that they run inside the training graph."""

import keras
from keras import layers, ops

from models.spec import Architecture


@keras.saving.register_keras_serializable("affectline")
class RandomAffine(layers.Layer):
    """Rotates, shifts and zooms each picture in one resampling, so that faces stay sharp.

    rotation: degrees either way. shift, zoom: fraction of the picture either way. Pixels from
    outside repeat the border. Float pictures [N, H, W, C] in and out; does nothing in inference.
    """

    def __init__(self, rotation: float, shift: float, zoom: float, seed: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.rotation, self.shift, self.zoom = rotation, shift, zoom
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """The changed pictures, same shape."""
        if not training:
            return images
        count, height, width = ops.shape(images)[0], images.shape[1], images.shape[2]
        draw = keras.random.uniform((5, count), -1, 1, seed=self.seed_generator)
        angle = draw[0] * (self.rotation * 3.141592653589793 / 180)
        cos, sin = ops.cos(angle) / (1 + self.zoom * draw[1]), ops.sin(angle) / (1 + self.zoom * draw[2])
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        move_x, move_y = draw[3] * self.shift * width, draw[4] * self.shift * height
        zero = ops.zeros_like(angle)
        # Rows map output to input pixels: x' = a x + b y + c, y' = d x + e y + f, about the centre.
        transform = ops.stack(
            [
                cos,
                -sin,
                center_x - cos * center_x + sin * center_y + move_x,
                sin,
                cos,
                center_y - sin * center_x - cos * center_y + move_y,
                zero,
                zero,
            ],
            axis=1,
        )
        return ops.image.affine_transform(
            images, transform, interpolation="bilinear", fill_mode="nearest", data_format="channels_last"
        )


def augmentation(architecture: Architecture, seed: int) -> keras.Sequential:
    """The augmentation of the architecture's recipe: pixels 0 to 255 in and out, [N, H, W, C] float."""
    recipe = architecture.recipe
    pixels = (0, 255)
    steps: list[layers.Layer] = [RandomAffine(recipe.rotation, recipe.shift, recipe.zoom, seed)]
    if recipe.flip:
        steps.append(layers.RandomFlip("horizontal", seed=seed + 1))
    if recipe.brightness:
        steps.append(layers.RandomBrightness(recipe.brightness, value_range=pixels, seed=seed + 2))
    if recipe.contrast:
        steps.append(layers.RandomContrast(recipe.contrast, value_range=pixels, seed=seed + 3))
    if recipe.cutout:
        scale = (0.1, recipe.cutout)
        steps.append(
            layers.RandomErasing(factor=0.5, scale=scale, fill_value=127.5, value_range=pixels, seed=seed + 4)
        )
    return keras.Sequential(steps, name="augmentation")
