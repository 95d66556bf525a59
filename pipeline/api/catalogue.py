"""What there is to choose from."""

from dataclasses import dataclass

from models.architectures.registry import get_architecture
from models.classify.spec import find_model, shipped_weights
from models.detectors import DETECTORS
from models.inspect.data_sets import LEARNED_FROM


@dataclass(frozen=True)
class ModelInfo:
    """A model that `model=` names.

    classes: in the order of its probabilities. input_shape: height, width and channels of the faces that it
    looks at. data: what it learned from. terms: what the makers of these data allow.
    """

    name: str
    architecture: str
    parameters: int
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    sha256: str
    data: tuple[str, ...]
    terms: str


@dataclass(frozen=True)
class DetectorInfo:
    """A face detector that `detector=` names.

    takes_weights: whether it runs on a file that may be given as `detector_weights`, fetched once otherwise.
    """

    name: str
    takes_weights: bool


def models() -> list[ModelInfo]:
    """The models that come with the package; any .keras file that `affectline train` saved is one too."""
    return [_model(name) for name in shipped_weights()]


def _model(name: str) -> ModelInfo:
    found, learned_from = find_model(name), LEARNED_FROM[name]
    spec = found.spec
    return ModelInfo(
        name=name,
        architecture=spec.architecture,
        parameters=get_architecture(spec.architecture).parameters,
        classes=spec.classes,
        input_shape=(spec.input_size, spec.input_size, spec.channels),
        sha256=found.sha256,
        data=tuple(data.name for data in learned_from),
        terms=" ".join(data.terms for data in learned_from),
    )


def detectors() -> list[DetectorInfo]:
    """The face detectors, the default one first."""
    return [DetectorInfo(kind.name, kind.takes_weights) for kind in DETECTORS.values()]
