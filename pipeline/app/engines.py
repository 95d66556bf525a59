"""Detectors and models by the names that the page offers, each loaded once."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from models.classify.classifier import Classifier, load_classifier
from models.classify.spec import find_model, installed_models, shipped_weights
from models.detectors import Detector, all_detectors, get_detector, make_detector
from schemas import defaults
from schemas.emotions import all_emotions
from schemas.errors import UsageError
from transforms.faces.analyzer import Analyzer
from transforms.timelines.smoothing import SMOOTHING_METHODS

_SHOWN: Final = "shown"


@dataclass(frozen=True)
class Choice:
    """What a person chose on the page; each is one of the names that `Engines` offers."""

    model: str
    detector: str
    smoothing: str
    mesh: str

    @property
    def shows_mesh(self) -> bool:
        """Whether faces are shown with their mesh."""
        return self.mesh == _SHOWN


class Engines:
    """What the page offers, and the loaded parts. For one thread at a time, but for `offered` and `check`.

    Args:
        model: the one preselected: a shipped name, or the path of a file.
        detector_weights: for the detector that takes some. Without them it is not offered: to fetch them
            would be an external request that nobody asked for.

    `emotions` are those that faces on the page can have: the seven, then what models know beside them.

    Raises UsageError when either cannot be used.
    """

    def __init__(self, model: str = defaults.MODEL, detector_weights: Path | None = None) -> None:
        self._weights = detector_weights
        self._models = {name: name for name in (*shipped_weights(), *installed_models())}
        known = [name for each in (model, *installed_models()) for name in find_model(each).spec.classes]
        self.emotions = all_emotions([*dict.fromkeys(known)])
        for name, kind in all_detectors().items():
            if kind.takes_weights and detector_weights is not None:
                make_detector(name, weights=detector_weights)
        self._first = model
        if model not in self._models:
            self._first = Path(model).name
            self._models[self._first] = str(Path(model).resolve())
        self._classifiers: dict[str, Classifier] = {}
        self._detectors: dict[tuple[str, float], Detector] = {}

    @property
    def offered(self) -> dict[str, list[str]]:
        """The names to choose from, the preselected one first."""
        detectors = [
            name
            for name, kind in all_detectors().items()
            if not kind.takes_weights or self._weights is not None
        ]
        return {
            "model": _with_first(list(self._models), self._first),
            "detector": _with_first(detectors, defaults.DETECTOR),
            "smoothing": _with_first(list(SMOOTHING_METHODS), defaults.SMOOTHING),
            "mesh": ["hidden", _SHOWN],
        }

    def check(self, asked: dict[str, str]) -> Choice:
        """The choice in a request, preselected where it is silent; UsageError for what is not offered."""
        chosen = {}
        for what, names in self.offered.items():
            name = asked.get(what, names[0])
            if name not in names:
                raise UsageError(f"There is no {what} {name[:80]!r} here; choose one of {', '.join(names)}.")
            chosen[what] = name
        return Choice(**chosen)

    def model_argument(self, choice: Choice) -> str:
        """The chosen model as `affectline run --model` takes it."""
        return self._models[choice.model]

    def detector_arguments(self, choice: Choice) -> list[str]:
        """The chosen detector as arguments of `affectline run`."""
        weights = self._weights_of(choice.detector)
        return ["--detector", choice.detector, *(["--detector-weights", str(weights)] if weights else [])]

    def analyzer(self, choice: Choice, min_face: float) -> Analyzer:
        """The chosen detector and model, loaded.

        min_face: the smallest face, as a part of a picture's shorter side.
        """
        if choice.model not in self._classifiers:
            self._classifiers[choice.model] = load_classifier(self._models[choice.model])
        key = choice.detector, min_face
        if key not in self._detectors:
            weights = self._weights_of(choice.detector)
            self._detectors[key] = make_detector(choice.detector, min_face, weights)
        found_by, named_by = self._detectors[key], self._classifiers[choice.model]
        return Analyzer(found_by, named_by, keep_mesh=choice.shows_mesh)

    def _weights_of(self, detector: str) -> Path | None:
        return self._weights if get_detector(detector).takes_weights else None


def _with_first(names: list[str], first: str) -> list[str]:
    return [first, *(name for name in names if name != first)]
