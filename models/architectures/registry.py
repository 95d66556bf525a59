"""Every architecture by name."""

from dataclasses import replace
from typing import Any, Final

from models.architectures.cnn48 import CNN48
from models.architectures.cnn100 import CNN100
from models.architectures.cnn_custom import CNN_BASE, CNN_CUSTOM
from models.architectures.cnn_gap import CNN_GAP
from models.architectures.happy_sad import HAPPY_SAD
from models.architectures.resnet48 import RESNET48
from models.architectures.resnet50_hybrid import RESNET50_HYBRID, RESNET50_HYBRID_RGB
from models.architectures.spec import Architecture
from models.architectures.transfer import EFFICIENTNETB2, EFFICIENTNETB3, MOBILENETV3SMALL, XCEPTION
from schemas.errors import UsageError

_ALL: Final = (
    CNN48,
    RESNET48,
    HAPPY_SAD,
    CNN100,
    CNN_CUSTOM,
    CNN_BASE,
    EFFICIENTNETB2,
    RESNET50_HYBRID,
    RESNET50_HYBRID_RGB,
    MOBILENETV3SMALL,
    EFFICIENTNETB3,
    XCEPTION,
    CNN_GAP,
)

ARCHITECTURES: Final = {architecture.name: architecture for architecture in _ALL}


def get_architecture(name: str) -> Architecture:
    """The architecture of that name; UsageError, listing the known ones, when there is none."""
    if name not in ARCHITECTURES:
        raise UsageError(f"There is no model '{name}'; choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]


def build_at_random(architecture: Architecture) -> Any:
    """The Keras model of an architecture with random weights, also in its backbone; nothing is downloaded."""
    return architecture.build(replace(architecture, backbone_weights="none"))
