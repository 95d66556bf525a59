"""What a saved model says about itself, read without loading it."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final

from models.classify.litert import MEMBER
from models.classify.sharpness import Softening
from models.classify.shipped import FILES, SHA256
from models.classify.trust import keras_config, unknown_classes
from models.classify.wrapped import COLOURS, Description, endings, is_network, read_wrapped
from models.crop_spec import CropSpec
from models.entry_points import MODELS, brought, load, origin
from schemas.emotions import class_name
from schemas.errors import ModelChangedError, RunError, UsageError

_WEIGHTS: Final = Path(__file__).parent.parent / "weights"


@dataclass(frozen=True)
class ModelSpec:
    """What a saved model says about itself.

    classes: in the order of its probabilities.
    channels: 1 for grey, 3 for RGB. prior: the shares of the classes that its probabilities assume;
    None: unknown. softening: None where confidence does not depend on sharpness. litert: the columns,
    from one up to another, of its probabilities in what the form that runs fast on a CPU gives; None where
    the file does not hold that form. wrapped: what is known of a network made elsewhere; None for a model
    that affectline trained, whose file says all of this itself.
    """

    architecture: str
    classes: tuple[str, ...]
    input_size: int
    channels: int
    crop: CropSpec
    prior: tuple[float, ...] | None
    softening: Softening | None
    litert: tuple[int, int] | None
    wrapped: Description | None = None


@dataclass(frozen=True)
class ModelRef:
    """A saved model, as it travels to whoever will load it.

    name: as asked for. location: where it is loaded from, a shipped name, a path or a URI. sha256: hex
    digest of what `read` gives, which must not change meanwhile. head: which of the file's answers it is;
    None where the file has only one.
    """

    name: str
    location: str
    sha256: str
    head: str | None
    spec: ModelSpec

    @property
    def path(self) -> Path:
        """The file on this machine; UsageError when there is none."""
        return _find(self.location)

    def read(self) -> bytes:
        """The file's content; ModelChangedError when it is no longer the one that was described.

        Of a network made elsewhere it is that of its `.affectline` file, also where there is none yet.
        """
        content = _content(self.path, self.spec)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ModelChangedError(
                f"The model {self.name} is another file than when the run began; run the same command again."
            )
        return content


def find_model(name_or_path: str) -> ModelRef:
    """A saved model and the description in its file, read without loading the model.

    name_or_path: the name of weights in the package, such as "default", or of another installed package's
        model, or the path of a model's file (see `models.classify.wrapped`); of a file with several heads a
        path means the first.

    Raises UsageError when there is no such model, when nothing says how to run the file, and when loading it
    would build what neither Keras's arithmetic nor ours is; RunError when a file of the package is damaged.
    """
    path = _find(name_or_path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    if path.parent == _WEIGHTS and sha256 != SHA256.get(path.name):
        raise RunError(f"The model {path} is not the one that was shipped; install affectline again.")
    heads = read_heads(path)
    head = name_or_path if name_or_path in heads else next(iter(heads))
    spec = heads[head]
    if spec.wrapped:  # also where its file is still to be made
        sha256 = hashlib.sha256(_content(path, spec)).hexdigest()
    return ModelRef(name_or_path, name_or_path, sha256, head, spec)


def _content(path: Path, spec: ModelSpec) -> bytes:
    return read_wrapped(path).as_file() if spec.wrapped else path.read_bytes()


def read_heads(path: Path) -> dict[str | None, ModelSpec]:
    """What a file says of each of its heads, by name, in the order of its layers; None names a sole one.

    Raises UsageError when nothing says how to run the file, and when loading it would build what neither
    Keras's arithmetic nor ours is.
    """
    layers = _own_layers(path)
    if layers is None:
        return {None: _wrapped_spec(read_wrapped(path).description)}
    pixels = next(layer["config"] for layer in layers if layer["class_name"] == "InputLayer")
    outputs = [layer["config"] for layer in layers if layer["class_name"] == _HEAD]
    heads: dict[str | None, ModelSpec] = {}
    column = 0
    with zipfile.ZipFile(path) as archive:
        has_litert = MEMBER in archive.namelist()
    for output in outputs:
        columns = column, column + len(output["classes"])
        column = columns[1]
        name = output["name"] if len(outputs) > 1 else None
        heads[name] = _spec(path, pixels, output, columns if has_litert else None)
    return heads


_HEAD: Final = "ClassProbabilities"


def _own_layers(path: Path) -> list[dict[str, Any]] | None:
    """The layers of a file that affectline saved; None for a network made elsewhere."""
    if path.suffix != ".keras":
        return None
    try:
        config = keras_config(path.read_bytes())
        layers: list[dict[str, Any]] = config["config"]["layers"]
        own = any(layer["class_name"] == _HEAD for layer in layers)
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"'{path}' is not a model that Keras saved, or is damaged; save it again."
        ) from error
    if unknown := unknown_classes(config):
        raise UsageError(
            f"The model '{path}' asks for {', '.join(unknown)}, which may run code or read files, and is not "
            "loaded; use a model of Keras's own layers, such as affectline train saves."
        )
    return layers if own else None


def _wrapped_spec(description: Description) -> ModelSpec:
    """The spec of a network made elsewhere."""
    return ModelSpec(
        architecture="made elsewhere",
        classes=description.classes,
        input_size=description.size,
        channels=COLOURS[description.colour],
        crop=CropSpec(description.crop),
        prior=None,
        softening=description.softening,
        litert=None,
        wrapped=description,
    )


def _spec(
    path: Path, pixels: Mapping[str, Any], output: Mapping[str, Any], litert: tuple[int, int] | None
) -> ModelSpec:
    """What the settings of the layers at both ends say."""
    classes = tuple(output["classes"])
    try:
        named = [class_name(name) for name in classes]
    except ValueError as error:
        raise UsageError(f"The model '{path}' cannot be used: {error}") from error
    if (*named,) != classes or len({*named}) != len(named):
        raise UsageError(
            f"The model '{path}' knows the classes {', '.join(classes)}; each must be there once, under its "
            "own name."
        )
    _, size, _, channels = pixels["batch_shape"]
    # Files from before these settings were kept do not have them.
    prior, softening = output.get("prior"), output.get("softening")
    return ModelSpec(
        architecture=output["architecture"],
        classes=classes,
        input_size=size,
        channels=channels,
        crop=CropSpec(**output["crop"]),
        prior=tuple(prior["assumed"]) if prior else None,
        softening=Softening(**softening) if softening else None,
        litert=litert,
    )


def shipped_weights() -> list[str]:
    """The names of the saved models in the package."""
    return sorted(FILES)


def is_shipped(name: str) -> bool:
    """Whether a name is that of a saved model in the package."""
    return name in FILES


def installed_models() -> list[str]:
    """The names of the models that other installed packages bring."""
    return sorted(brought(MODELS).keys() - FILES.keys())


def is_saved(name: str) -> bool:
    """Whether a name is that of a saved model, or ends like a model's file."""
    return is_shipped(name) or is_network(name) or name in installed_models()


def _find(name_or_path: str) -> Path:
    if is_shipped(name_or_path):
        return _WEIGHTS / FILES[name_or_path]
    if name_or_path in installed_models():
        return _brought(brought(MODELS)[name_or_path])
    path = Path(name_or_path)
    if is_network(name_or_path):
        if not path.is_file():
            raise UsageError(f"There is no model file '{path}'; check the path.")
        return path
    if path.is_file():
        raise UsageError(f"The model file '{path}' does not end in {endings()}; export it as one of these.")
    choices = ", ".join(
        [*shipped_weights(), *installed_models(), f"or the path of a file that ends in {endings()}"]
    )
    raise UsageError(f"There is no model '{name_or_path}'; choose {choices}.")


def _brought(point: EntryPoint) -> Path:
    """The file of another installed package's model: the entry point names its path, or a function to it."""
    given = load(point)
    path = Path(given() if callable(given) else given)
    if not (path.is_file() and is_network(path.name)):
        raise UsageError(
            f"The model '{point.name}' of the installed package {origin(point)} has no file {path} that ends "
            f"in {endings()}; install the package again."
        )
    return path
