"""Networks made elsewhere: what must be known to run one, and the one file that holds both.

What must be known stands in a `model.toml`, beside the network or in an `.affectline` file with it, a zip
archive that `affectline wrap` makes. Both forms have the same bytes to be known by: see `read_wrapped`.
"""

import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from models.classify.sharpness import Softening
from schemas.emotions import class_name
from schemas.errors import UsageError

DESCRIPTION: Final = "model.toml"
ENDING: Final = ".affectline"
NETWORK_ENDINGS: Final = (".onnx", ".tflite", ".keras", ".h5")
COLOURS: Final = {"grey": 1, "rgb": 3, "bgr": 3}  # with their channels
ANSWERS: Final = ("logits", "probabilities")

_MOST_CLASSES: Final = 64  # labels are numbered with 8 bits

_MANUAL: Final = "see docs/own-model.md"
_EXAMPLE: Final = (
    'size = 64, colour = "rgb" (or "bgr", "grey"), classes = ["angry", "happy", …] in the order of its '
    'answers, answers = "logits" (or "probabilities")'
)


@dataclass(frozen=True)
class Description:
    """What `model.toml` says of a network.

    size: side of its square pictures, pixels. colour: one of COLOURS. classes: in the order of its answers.
    answers: one of ANSWERS. mean, scale: one number, or one a channel in the order of `colour`; the network
    gets (pixel - mean) / scale of pixels from 0 to 255. crop: side of the picture that is cut out, in sides
    of the face's frame (see `models.detectors.FaceFrame`). temperature, softening: its calibration.
    """

    size: int
    colour: str
    classes: tuple[str, ...]
    answers: str
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (1.0,)
    crop: float = 1.0
    temperature: float = 1.0
    softening: Softening | None = None

    def as_toml(self) -> str:
        """The description as a file, the same text for equal ones."""
        lines = [
            f"size = {self.size}",
            f'colour = "{self.colour}"',
            f"mean = {list(self.mean)}",
            f"scale = {list(self.scale)}",
            "classes = [{}]".format(", ".join(f'"{name}"' for name in self.classes)),
            f"crop = {self.crop}",
            f'answers = "{self.answers}"',
            f"temperature = {self.temperature}",
        ]
        if self.softening:
            lines += ["", "[softening]", f"knee = {self.softening.knee}", f"slope = {self.softening.slope}"]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Wrapped:
    """A network made elsewhere, with its description.

    ending: of NETWORK_ENDINGS, which says how it is run. network: the content of its file.
    """

    description: Description
    ending: str
    network: bytes

    @property
    def is_keras(self) -> bool:
        """Whether it is Keras's, and not ONNX or LiteRT."""
        return self.ending in (".keras", ".h5")

    def as_file(self) -> bytes:
        """The content of its `.affectline` file, the same bytes on every machine."""
        content = BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
            for name, member in {
                DESCRIPTION: self.description.as_toml().encode(),
                f"network{self.ending}": self.network,
            }.items():
                archive.writestr(zipfile.ZipInfo(name), member)  # whose date is always the same
        return content.getvalue()


def read_wrapped(path: Path) -> Wrapped:
    """A network and its description, from an `.affectline` file or from the two beside each other.

    Raises UsageError when there is no description, or one that cannot be followed, and for a file that is
    none of these.
    """
    if path.suffix == ENDING:
        return _read_file(path)
    beside = path.with_name(DESCRIPTION)
    if not beside.is_file():
        raise UsageError(
            f"The model '{path}' needs a {DESCRIPTION} beside it that says {_EXAMPLE}; {_MANUAL}."
        )
    return Wrapped(parse_description(beside.read_bytes(), str(beside)), path.suffix, path.read_bytes())


def unwrap(content: bytes) -> Wrapped:
    """The same from what `Wrapped.as_file` gave; ValueError, KeyError or BadZipFile for anything else."""
    with zipfile.ZipFile(BytesIO(content)) as archive:
        [name] = {*archive.namelist()} - {DESCRIPTION}
        description = parse_description(archive.read(DESCRIPTION), DESCRIPTION)
        if (ending := Path(name).suffix) not in NETWORK_ENDINGS:
            raise ValueError(f"{name} is no network.")
        return Wrapped(description, ending, archive.read(name))


def _read_file(path: Path) -> Wrapped:
    try:
        return unwrap(path.read_bytes())
    except UsageError:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError) as error:
        raise UsageError(
            f"'{path}' is no file that `affectline wrap` made, or is damaged; wrap the network again."
        ) from error


def parse_description(content: bytes, name: str) -> Description:
    """What a `model.toml` says; UsageError, in one sentence with what to write, for what cannot be followed.

    name: of the file, for the sentence.
    """
    try:
        said = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{name}' cannot be read as TOML ({error}); {_MANUAL}.") from error
    require_keys(said, name)
    return describe(said, name)


def require_keys(said: Mapping[str, Any], name: str) -> None:
    """UsageError when a description lacks what must be said. name: of the file that says it."""
    if missing := [key for key in ("size", "colour", "classes", "answers") if key not in said]:
        raise UsageError(f"'{name}' lacks {', '.join(missing)}: write {_EXAMPLE}; {_MANUAL}.")


def describe(said: Mapping[str, Any], name: str) -> Description:
    """A description from its values by key; UsageError for one that cannot be followed.

    name: of the file that says so, or the command.
    """
    known = Description.__dataclass_fields__
    if unknown := sorted(said.keys() - known.keys()):
        raise UsageError(f"'{name}' says {', '.join(unknown)}, which is none of {', '.join(known)}.")
    _require(
        name, "size", "a whole number of pixels, 8 or more", _is_whole(said["size"]) and said["size"] >= 8
    )
    _require(name, "colour", f"one of {', '.join(COLOURS)}", said["colour"] in COLOURS)
    _require(name, "answers", f"one of {', '.join(ANSWERS)}", said["answers"] in ANSWERS)
    classes = said["classes"]
    named = isinstance(classes, list | tuple) and all(isinstance(each, str) for each in classes)
    if named:
        try:
            classes = [class_name(each) for each in classes]
        except ValueError as error:
            raise UsageError(f"'{name}' has a class that cannot be: {error}") from error
    _require(
        name,
        "classes",
        "a list of at least two names, each once",
        named and 2 <= len(classes) == len({*classes}) <= _MOST_CLASSES,
    )
    channels = COLOURS[said["colour"]]
    values: dict[str, Any] = {"classes": tuple(classes)}
    for key in ("mean", "scale"):
        numbers = said.get(key, getattr(Description, key))
        numbers = tuple(numbers) if isinstance(numbers, list | tuple) else (numbers,)
        fitting = all(map(_is_number, numbers)) and len(numbers) in (1, channels)
        _require(
            name,
            key,
            f"a number, or {channels} for {said['colour']}",
            fitting and (key == "mean" or all(numbers)),
        )
        values[key] = tuple(map(float, numbers))
    for key in ("crop", "temperature"):
        number = said.get(key, getattr(Description, key))
        _require(name, key, "a number above 0", _is_number(number) and number > 0)
        values[key] = float(number)
    softening = said.get("softening")
    if softening is not None:
        fitting = isinstance(softening, dict) and softening.keys() == {"knee", "slope"}
        fitting = fitting and all(map(_is_number, softening.values()))
        _require(
            name, "softening", "a knee and a slope, as `affectline wrap --calibrate` writes them", fitting
        )
        values["softening"] = Softening(**{key: float(value) for key, value in softening.items()})
    return Description(size=said["size"], colour=said["colour"], answers=said["answers"], **values)


def _require(name: str, key: str, wanted: str, holds: bool) -> None:
    if not holds:
        raise UsageError(f"'{name}' has a {key} that cannot be: write {wanted}; {_MANUAL}.")


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")


def is_network(name: str) -> bool:
    """Whether a name ends like a file that can hold a model."""
    return name.endswith((ENDING, *NETWORK_ENDINGS))


def needs_description(name: str) -> bool:
    """Whether a name ends like a network's that cannot be run without a `model.toml` beside it."""
    return name.endswith(NETWORK_ENDINGS) and not name.endswith(".keras")


def endings(names: Sequence[str] = (*NETWORK_ENDINGS, ENDING)) -> str:
    """The endings of such files, to read."""
    return ", ".join(names[:-1]) + " or " + names[-1]
