"""Networks that are little more than a backbone: efficientnetb2, and resnet50-hybrid's rivals."""

from functools import partial
from typing import TYPE_CHECKING

from models.architectures import FER2013_CROP
from models.architectures.resnet50_hybrid import BACKBONE_SIZE, classify, grey_to_rgb, phases, recipe
from models.architectures.spec import Architecture, Augmentation, Phase, Recipe

if TYPE_CHECKING:
    import keras


def build_efficientnetb2(architecture: Architecture) -> "keras.Model":
    """EfficientNetB2 with its own top, less the 1000 classes; the pictures are not enlarged.

    Input [N, 48, 48, 3] RGB, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    from models.architectures.backbones import apply_backbone

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = apply_backbone(inputs, "EfficientNetB2", architecture.backbone_weights)
    x = layers.GlobalAveragePooling2D(name="mean")(x)
    x = layers.Dropout(0.3)(x)
    logits = layers.Dense(len(architecture.classes), dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name=architecture.name)


def build_rival(architecture: Architecture, application: str) -> "keras.Model":
    """Enlarged grey faces through a backbone, then one hidden layer.

    application: the backbone's name in keras.applications.

    Input [N, 48, 48, 1] grey, 0 to 255; output [N, 7] logits.
    """
    import keras
    from keras import layers

    from models.architectures.backbones import apply_backbone

    size = architecture.input_size
    inputs = keras.Input((size, size, architecture.channels), name="pixels")
    x = layers.Resizing(BACKBONE_SIZE, BACKBONE_SIZE, name="enlarge")(inputs)
    x = apply_backbone(grey_to_rgb(x, "repeat"), application, architecture.backbone_weights)
    return classify(architecture, inputs, layers.GlobalAveragePooling2D(name="mean")(x))


EFFICIENTNETB2 = Architecture(
    name="efficientnetb2",
    build=build_efficientnetb2,
    input_size=48,
    channels=3,
    parameters=7_778_425,
    trainable_parameters=7_710_857,
    crop=FER2013_CROP,
    # The source does not say how it trained: the head first, then everything, gently.
    recipe=Recipe(
        phases=(
            Phase("head", epochs=10, learning_rate=1e-3, backbone="frozen"),
            Phase("all", epochs=40, learning_rate=1e-4, warmup_epochs=1, schedule="cosine"),
        ),
        batch_size=64,
        augmentation=Augmentation(rotation=15, shift=0.1, zoom=0.1, flip=True, brightness=0.2),
        labels="fer2013",
        early_stopping=12,
    ),
    source="R3",
    backbone_weights="auto",
)


def _rival(
    name: str, application: str, backbone_layers: int, parameters: int, trainable_parameters: int
) -> Architecture:
    """A network compared with resnet50-hybrid: all but the backbone is the same for each."""
    return Architecture(
        name=name,
        build=partial(build_rival, application=application),
        input_size=48,
        channels=1,
        parameters=parameters,
        trainable_parameters=trainable_parameters,
        crop=FER2013_CROP,
        recipe=recipe(phases(backbone_layers)),
        source="R4",
        backbone_weights="auto",
    )


MOBILENETV3SMALL = _rival("mobilenetv3small", "MobileNetV3Small", 156, 1_238_135, 1_226_023)
EFFICIENTNETB3 = _rival("efficientnetb3", "EfficientNetB3", 382, 11_574_063, 11_486_767)
XCEPTION = _rival("xception", "Xception", 132, 21_914_159, 21_859_631)
