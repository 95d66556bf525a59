"""Data sets in the three forms that emotion data comes in, read as a model wants its pictures.

A Parquet file, FER2013's or another with columns for label and image; a folder of pictures, one folder a
class, perhaps below train/, validation/ and test/; or FER2013's own fer2013.csv, with
FER+'s fer2013new.csv beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pandas as pd

from models.training.data import (
    WHOLE,
    LabelledFaces,
    fit_picture,
    known_class,
    parquet_usages,
    read_parquet,
)
from schemas.emotions import EMOTIONS, all_emotions, canonical_emotion
from schemas.errors import UsageError

# What the parts of a data set are called, in the order in which they are looked for.
_TRAINING: Final = ("Training", "train", "training")
_VALIDATION: Final = ("validation", "val", "valid")
_TEST: Final = ("PublicTest", "test", "testing", "PrivateTest")

_PICTURES: Final = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
_FERPLUS_FILE: Final = "fer2013new.csv"


@dataclass(frozen=True)
class Splits:
    """A data set's own division; None where it has no such part."""

    training: LabelledFaces
    validation: LabelledFaces | None
    test: LabelledFaces | None


def list_usages(path: Path) -> list[str]:
    """The parts that a data set has, by name, sorted. Raises UsageError for anything but a data set."""
    if path.is_dir():
        folders = _folders(path)
        parts = {*_TRAINING, *_VALIDATION, *_TEST} & {folder.name for folder in folders}
        return sorted(parts) or [WHOLE]
    if path.suffix.lower() == ".csv":
        return sorted(set(_read_csv(path, ["Usage"])["Usage"]))
    return parquet_usages(path)


def measured_usage(path: Path) -> str:
    """The part that models are measured on: the test part, else the validation part, else all."""
    usages = list_usages(path)
    return _first((*_TEST, *_VALIDATION), usages) or usages[0]


def read_usage(
    path: Path,
    usage: str,
    size: int,
    channels: int,
    votes: Path | None = None,
    classes: Sequence[str] | None = EMOTIONS,
) -> LabelledFaces:
    """One part of a data set, with pictures of size x size and 1 (grey) or 3 (RGB) channels.

    votes: FER+'s file for a fer2013.csv; fer2013new.csv beside it when None, no votes without any.
    classes: those that the data may have beside the seven; None: any.

    Raises UsageError when there is no such part, or a file, a class or a picture in it that cannot be
    read, naming it.
    """
    known = list_usages(path)
    if usage not in known:
        raise UsageError(f"'{path}' has no pictures of usage '{usage}'; it has {', '.join(known)}.")
    if votes is not None and path.suffix.lower() != ".csv":
        raise UsageError(f"FER+ votes from '{votes}' belong to a fer2013.csv, not to '{path}'.")
    if path.is_dir():
        return _read_folder(path if usage == WHOLE else path / usage, size, channels, classes)
    if path.suffix.lower() == ".csv":
        faces = _read_fer2013_csv(path, usage, votes)
        pictures = np.stack([fit_picture(image, size, channels) for image in faces.images])
        return replace(faces, images=pictures)
    return read_parquet(path, usage, size, channels, classes)


def read_splits(
    path: Path,
    size: int,
    channels: int,
    votes: Path | None = None,
    classes: Sequence[str] | None = EMOTIONS,
) -> Splits:
    """A data set as training uses it; pictures that are also in another part are not trained on.

    FER2013 repeats 269 training pictures in PublicTest; a figure measured there would flatter a model
    that learned them. Raises UsageError as `read_usage` does, and when there is nothing to train on.
    """
    usages = list_usages(path)
    training = _first((*_TRAINING, WHOLE), usages)
    if training is None:
        raise UsageError(f"'{path}' has no part to train on; it has {', '.join(usages)}.")

    def read(usage: str | None) -> LabelledFaces | None:
        return None if usage is None else read_usage(path, usage, size, channels, votes, classes)

    validation, test = read(_first(_VALIDATION, usages)), read(_first(_TEST, usages))
    faces = read_usage(path, training, size, channels, votes, classes)
    return Splits(faces.without([part for part in (validation, test) if part]), validation, test)


def _first(names: tuple[str, ...], present: list[str]) -> str | None:
    return next((name for name in names if name in present), None)


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _read_folder(path: Path, size: int, channels: int, classes: Sequence[str] | None) -> LabelledFaces:
    """Pictures by class; two spellings of one class may stand side by side."""
    pictures, labels, names = [], [], []
    for folder in _folders(path):
        try:
            label = known_class(folder.name, classes)
        except ValueError as error:
            raise UsageError(
                f"The folder '{folder}' is named after none of the classes "
                f"{', '.join(all_emotions(classes or ()))}; "
                "rename it or move it away."
            ) from error
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() in _PICTURES:
                pictures.append(fit_picture(_read_picture(file), size, channels))
                labels.append(label)
                names.append(f"{folder.name}/{file.name}")
    if not pictures:
        raise UsageError(f"'{path}' holds no pictures in folders named after classes, such as happy/1.png.")
    votes = np.zeros((len(labels), len(EMOTIONS)), np.float32)
    emotions = all_emotions(sorted({*labels}))
    truth = np.array([emotions.index(label) for label in labels], np.int64)
    return LabelledFaces(np.stack(pictures), truth, votes, np.array(names), emotions)


def _read_picture(file: Path) -> np.ndarray:
    # OpenCV's own reader cannot open every path on every system; its decoder turns pictures upright.
    encoded = np.frombuffer(file.read_bytes(), np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise UsageError(f"The picture '{file}' cannot be read; repair it or move it away.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def _read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a fer2013.csv, each row as text or number."""
    table = _open_csv(path, "FER2013's fer2013.csv")
    if missing := [name for name in columns if name not in table.columns]:
        raise UsageError(f"'{path}' lacks the columns {', '.join(missing)}.")
    return table[list(columns)]


def _open_csv(path: Path, wanted: str) -> pd.DataFrame:
    try:
        return pd.read_csv(path, skipinitialspace=True)
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UsageError(f"'{path}' cannot be read as CSV; give {wanted}.") from error


def _read_fer2013_csv(path: Path, usage: str, votes: Path | None) -> LabelledFaces:
    table = _read_csv(path, ["emotion", "pixels", "Usage"])
    beside = path.with_name(_FERPLUS_FILE)
    if votes is None and beside.is_file():
        votes = beside
    counts = np.zeros((len(table), len(EMOTIONS)), np.float32)
    if votes is not None:
        counts = _read_ferplus_csv(votes, len(table))
    rows = np.flatnonzero(table["Usage"] == usage)
    chosen = table.iloc[rows]
    # FER2013 numbers the classes in the order of EMOTIONS.
    labels = chosen["emotion"].to_numpy(np.int64)
    wrong = f"'{path}' holds a row that is not 48x48 pixels of a class from 0 to 6."
    if not {*labels} <= {*range(len(EMOTIONS))}:
        raise UsageError(wrong)
    try:
        pictures = np.array([_parse_pixels(text) for text in chosen["pixels"]])
    except (ValueError, OverflowError) as error:
        raise UsageError(wrong) from error
    return LabelledFaces(pictures, labels, counts[rows], np.array([f"row {row}" for row in rows]))


def _parse_pixels(text: str) -> np.ndarray:
    # From a list of int and not of str: NumPy then refuses what does not fit instead of wrapping it.
    return np.array([int(value) for value in text.split()], np.uint8).reshape(48, 48, 1)


def _read_ferplus_csv(path: Path, rows: int) -> np.ndarray:
    """Votes for each of EMOTIONS: float32 [rows, 7]."""
    table = _open_csv(path, "FER+'s fer2013new.csv")
    spelled = {}
    for column in table.columns:
        try:
            spelled[canonical_emotion(column)] = column
        except ValueError:
            continue  # contempt, unknown, NF, and what is no class
    if set(spelled) != set(EMOTIONS):
        raise UsageError(f"'{path}' lacks votes for the seven classes; give FER+'s fer2013new.csv.")
    if len(table) != rows:
        raise UsageError(
            f"'{path}' has {len(table)} rows for {rows} pictures; give the file that belongs to them."
        )
    return table[[spelled[emotion] for emotion in EMOTIONS]].to_numpy(np.float32)
