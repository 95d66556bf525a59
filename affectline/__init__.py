"""Emotion timelines from videos and pictures.

    import affectline as af

    faces = af.Analyzer().image("photo.jpg")
    clip = af.Analyzer().video("clip.mp4")
    result = af.run(["videos/"], "out")
    tables = af.open_tables("out")

Importing it takes no time: what a name needs is loaded when the name is first used. Everything public is here
and in `affectline.beam`; the packages `pipeline`, `transforms`, `models` and `schemas` are private.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from affectline_command import find_own_packages, warn_of_hidden_modules

find_own_packages()
warn_of_hidden_modules()

if TYPE_CHECKING:
    from pipeline.api.analyzer import Analyzer as Analyzer
    from pipeline.api.analyzer import Face as Face
    from pipeline.api.catalogue import DetectorInfo as DetectorInfo
    from pipeline.api.catalogue import ModelInfo as ModelInfo
    from pipeline.api.catalogue import detectors as detectors
    from pipeline.api.catalogue import models as models
    from pipeline.api.runs import RunResult as RunResult
    from pipeline.api.runs import plan as plan
    from pipeline.api.runs import run as run
    from pipeline.api.table import Table as Table
    from pipeline.api.tables import Tables as Tables
    from pipeline.api.tables import open_tables as open_tables
    from pipeline.api.timeline import Timeline as Timeline
    from pipeline.run.options import SettingsOptions as Settings
    from pipeline.run.plan import Plan as Plan
    from schemas import VERSION as __version__  # noqa: N811
    from schemas.errors import AffectlineError as AffectlineError
    from schemas.errors import RunError as RunError
    from schemas.errors import UnreadablePictureError as UnreadablePictureError
    from schemas.errors import UsageError as UsageError

__all__ = [
    "AffectlineError",
    "Analyzer",
    "DetectorInfo",
    "Face",
    "ModelInfo",
    "Plan",
    "RunError",
    "RunResult",
    "Settings",
    "Table",
    "Tables",
    "Timeline",
    "UnreadablePictureError",
    "UsageError",
    "__version__",
    "detectors",
    "models",
    "open_tables",
    "plan",
    "run",
]

# Where each is, and under which name there.
_PLACES = {
    "AffectlineError": ("schemas.errors", "AffectlineError"),
    "Analyzer": ("pipeline.api.analyzer", "Analyzer"),
    "DetectorInfo": ("pipeline.api.catalogue", "DetectorInfo"),
    "Face": ("pipeline.api.analyzer", "Face"),
    "ModelInfo": ("pipeline.api.catalogue", "ModelInfo"),
    "Plan": ("pipeline.run.plan", "Plan"),
    "RunError": ("schemas.errors", "RunError"),
    "RunResult": ("pipeline.api.runs", "RunResult"),
    "Settings": ("pipeline.run.options", "SettingsOptions"),
    "Table": ("pipeline.api.table", "Table"),
    "Tables": ("pipeline.api.tables", "Tables"),
    "Timeline": ("pipeline.api.timeline", "Timeline"),
    "UnreadablePictureError": ("schemas.errors", "UnreadablePictureError"),
    "UsageError": ("schemas.errors", "UsageError"),
    "__version__": ("schemas", "VERSION"),
    "detectors": ("pipeline.api.catalogue", "detectors"),
    "models": ("pipeline.api.catalogue", "models"),
    "open_tables": ("pipeline.api.tables", "open_tables"),
    "plan": ("pipeline.api.runs", "plan"),
    "run": ("pipeline.api.runs", "run"),
}


if not TYPE_CHECKING:  # or type checkers would take any name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module 'affectline' has no attribute '{name}'")
        module, there = _PLACES[name]
        value = getattr(import_module(module), there)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
