"""What other installed packages bring: detectors and models, by packaging's entry points."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from schemas.errors import UsageError

DETECTORS: Final = "affectline.detectors"
MODELS: Final = "affectline.models"


@cache
def brought(group: str) -> Mapping[str, EntryPoint]:
    """The entry points of a group, by name."""
    return {point.name: point for point in entry_points(group=group)}


def load(point: EntryPoint) -> Any:
    """What an entry point names; UsageError when its package cannot give it."""
    try:
        return point.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"'{point.name}' of the installed package {origin(point)} cannot be loaded ({error}); install "
            "the package again or remove it."
        ) from error


def origin(point: EntryPoint) -> str:
    """The package that brings an entry point, with its version."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value
