"""Every architecture by name."""

from typing import Final

from models.cnn48 import CNN48
from models.spec import Architecture

ARCHITECTURES: Final = {architecture.name: architecture for architecture in (CNN48,)}


def get_architecture(name: str) -> Architecture:
    """The architecture of that name; ValueError, listing the known ones, when there is none."""
    if name not in ARCHITECTURES:
        raise ValueError(f"There is no model '{name}'; choose one of {', '.join(ARCHITECTURES)}.")
    return ARCHITECTURES[name]
