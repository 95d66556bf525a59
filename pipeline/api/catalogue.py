"""What there is to choose from."""

from dataclasses import dataclass

from models.architectures.registry import get_architecture
from models.classify.spec import find_model, installed_models, shipped_weights
from models.detectors import all_detectors
from models.entry_points import MODELS, brought, origin
from models.inspect.data_sets import LEARNED_FROM


@dataclass(frozen=True)
class ModelInfo:
    """A model that `model=` names.

    classes: in the order of its probabilities. input_shape: height, width and channels of the faces that it
    looks at. data: what it learned from, as far as that is known. terms: what the makers of these data allow.
    origin: the installed package that brings it, with its version; "" for our own.
    """

    name: str
    architecture: str
    parameters: int | None
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    sha256: str
    data: tuple[str, ...]
    terms: str
    origin: str


@dataclass(frozen=True)
class DetectorInfo:
    """A face detector that `detector=` names.

    takes_weights: whether it runs on a file that may be given as `detector_weights`, fetched once otherwise.
    origin: as in ModelInfo.
    """

    name: str
    takes_weights: bool
    origin: str


def models() -> list[ModelInfo]:
    """The models that have names: those of this package and of other installed ones. Files are models too."""
    return [_model(name) for name in (*shipped_weights(), *installed_models())]


def _model(name: str) -> ModelInfo:
    found, learned_from = find_model(name), LEARNED_FROM.get(name, ())
    spec, ours = found.spec, name in LEARNED_FROM
    return ModelInfo(
        name=name,
        architecture=spec.architecture,
        parameters=get_architecture(spec.architecture).parameters if ours else None,
        classes=spec.classes,
        input_shape=(spec.input_size, spec.input_size, spec.channels),
        sha256=found.sha256,
        data=tuple(data.name for data in learned_from),
        terms=" ".join(data.terms for data in learned_from),
        origin="" if ours else origin(brought(MODELS)[name]),
    )


def detectors() -> list[DetectorInfo]:
    """The face detectors, the default one first."""
    return [DetectorInfo(kind.name, kind.takes_weights, kind.origin) for kind in all_detectors().values()]
