"""`affectline predict`: faces and emotions in pictures, told as rows or drawn."""

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pipeline.draw.overlay import draw_analyzed
from schemas.emotions import all_emotions
from schemas.errors import UnreadablePictureError, UsageError
from schemas.tables import POSE
from transforms.faces.analyzer import AnalyzedFace, Analyzer, find_faces
from transforms.faces.pictures import list_pictures, read_picture

_JPEG_QUALITY = 92  # of 100
_NAME = 24  # columns for a picture's name
_HEAD = 4  # letters of a class above its column


@dataclass(frozen=True)
class Prediction:
    """What was found in one picture, surest face first."""

    picture: str  # its path
    width: int | None  # upright pixels; None when it cannot be read
    height: int | None
    faces: Sequence[AnalyzedFace]
    error: str | None = None  # one sentence when it cannot be read


@dataclass(frozen=True)
class Task:
    """One picture to look at."""

    picture: str  # path
    annotated: Path | None  # the copy to write


def plan_tasks(inputs: Sequence[str], annotate: str | None) -> list[Task]:
    """Every picture that the inputs name, with where its annotated copy goes.

    One picture by name goes to the file `annotate`; several, or a folder's, go below the folder
    `annotate` under their own names. Raises UsageError before anything is written: nothing to read, two
    copies of one name, or a copy that would replace a picture.
    """
    pictures = list_pictures(inputs)
    if annotate is None:
        return [Task(path, None) for path, _ in pictures]
    target = Path(annotate)
    single = len(inputs) == 1 and not os.path.isdir(inputs[0]) and not target.is_dir()
    if not single and target.is_file():
        raise UsageError(f"{annotate} is a file; give a folder for the copies of several pictures.")
    tasks = [Task(path, target if single else target / _drawable(name)) for path, name in pictures]
    if single and target.suffix.lower() not in _writable():
        raise UsageError(f"{annotate} does not end like a picture's name; try {target.stem}.png.")
    taken: dict[Path, str] = {}
    sources = {os.path.realpath(task.picture) for task in tasks}
    for task in tasks:
        copy = task.annotated
        assert copy is not None
        if copy in taken:
            raise UsageError(f"{taken[copy]} and {task.picture} would both be drawn to {copy}.")
        if os.path.realpath(copy) in sources:
            raise UsageError(f"{copy} is one of the pictures itself; give another name.")
        taken[copy] = task.picture
    return tasks


def _writable() -> set[str]:
    """Endings of the formats that Pillow writes."""
    return {end for end, name in Image.registered_extensions().items() if name in Image.SAVE}


def _drawable(name: str) -> str:
    """The name of a copy: the picture's own, unless its format can only be read."""
    return name if Path(name).suffix.lower() in _writable() else name + ".png"


def load_analyzer(crop: bool, *, model: str, mesh: bool = False, **detector: Any) -> Analyzer:
    """As `Analyzer.load`; with `crop`, pictures are faces from edge to edge and no detector is loaded."""
    if crop:
        return Analyzer.load_for_crops(model, mesh)
    return Analyzer.load(model, mesh=mesh, **detector)


def predict(tasks: Sequence[Task], analyzer: Analyzer) -> Iterator[Prediction]:
    """Look at each picture.

    A picture that cannot be read is told with its error, and the others go on. Raises UsageError when an
    annotated copy cannot be written.
    """
    for task in tasks:
        try:
            image = read_picture(task.picture)
        except UnreadablePictureError as error:
            yield Prediction(task.picture, None, None, [], str(error))
            continue
        faces = find_faces(image, analyzer)
        height, width = image.shape[:2]
        if task.annotated:
            draw_analyzed(image, faces)
            write_picture(image, task.annotated)
        yield Prediction(task.picture, width, height, faces)


def write_picture(image: np.ndarray, path: Path) -> None:
    """Write uint8 RGB [H, W, 3], whole or not at all; UsageError when it cannot be."""
    temporary = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(temporary, quality=_JPEG_QUALITY)  # other formats do without
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        with suppress(OSError):
            temporary.unlink()
        raise UsageError(f"{path} cannot be written ({error}); give another name.") from error


def as_json_line(prediction: Prediction) -> str:
    """One JSON object on one line; docs/predict.md describes it."""
    told: dict[str, Any] = {
        "picture": prediction.picture,
        "width": prediction.width,
        "height": prediction.height,
        "error": prediction.error,
        "faces": [face.as_json() for face in prediction.faces],
    }
    return json.dumps(told)


def csv_head(classes: Sequence[str]) -> list[str]:
    """The columns of `--csv` for a model of these classes."""
    place = ["x", "y", "w", "h", "score", *POSE, "sharpness", "face_px"]
    return [
        "picture",
        "width",
        "height",
        "face",
        *place,
        "emotion",
        "confidence",
        *all_emotions(classes),
        "error",
    ]


def as_csv_rows(prediction: Prediction) -> Iterator[dict[str, Any]]:
    """A row a face; one without a face where none was found, or where the picture cannot be read."""
    picture = {"picture": prediction.picture, "width": prediction.width, "height": prediction.height}
    if not prediction.faces:
        yield picture | {"error": prediction.error}
    for number, face in enumerate(prediction.faces, 1):
        told = face.as_json()
        told.pop("mesh", None)  # no number
        yield picture | {"face": number} | told.pop("probabilities") | told


@dataclass(frozen=True)
class PictureTable:
    """A table to read, a line a face, within 100 columns for seven classes.

    name_width: characters of the longest path; longer ones than fit lose their beginning. classes: what the
    model knows, a column each. boxes: whether there are places to tell.
    """

    name_width: int
    classes: Sequence[str]
    boxes: bool

    def head(self) -> str:
        """The line above the others."""
        place = f"{'face':>5}{'x':>5}{'y':>5}{'w':>5}{'h':>5}{'score':>6}" if self.boxes else ""
        names = "".join(f"{name[:_HEAD]:>{_HEAD + 1}}" for name in self._columns())
        return f"{self._name('picture')}{place}  {'emotion':<8}{names}"

    def rows(self, prediction: Prediction) -> Iterator[str]:
        """A picture's lines: none when it cannot be read, one that says so where there is no face."""
        name = self._name(prediction.picture)
        if prediction.error:
            return
        if not prediction.faces:
            yield f"{name}  no face found"
        for number, face in enumerate(prediction.faces, 1):
            place = "".join(f"{value:>5.0f}" for value in face.box[:4]) + f"{face.box.score:>6.2f}"
            told = "".join(f"{face.probabilities[at]:>{_HEAD + 1}.0%}" for at in self._columns().values())
            yield f"{name}{f'{number:>5}{place}' if self.boxes else ''}  {face.emotion:<8}{told}"

    def _name(self, path: str) -> str:
        width = min(self.name_width, _NAME)
        return f"{path:<{width}}" if len(path) <= width else f"…{path[len(path) - width + 1 :]}"

    def _columns(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(all_emotions(self.classes)) if name in self.classes}
