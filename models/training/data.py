"""Labelled faces for training and evaluation."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.emotions import EMOTIONS, all_emotions, class_name
from schemas.errors import UsageError

WHOLE: Final = "all"  # the usage of data that is not split
_VOTES: Final = tuple(f"ferplus_{emotion}" for emotion in EMOTIONS)
_MIN_VOTES = 5  # of ten taggers, below which FER+ does not say what a face shows


@dataclass(frozen=True)
class LabelledFaces:
    """N labelled faces, in the order of the data they come from.

    images: uint8 [N, H, W, 1], grey, or [N, H, W, 3], RGB; FER2013's own are [N, 48, 48, 1].
    fer2013: int64 [N], index into `emotions` of the label that FER2013 gives, or another data set.
    votes: float32 [N, 7], FER+ votes for each of EMOTIONS; a row of zeros where no tagger saw any.
    ids: str [N], what the data set calls each picture.
    emotions: the seven, then those classes of the data set that are beside them.
    """

    images: np.ndarray
    fer2013: np.ndarray
    votes: np.ndarray
    ids: np.ndarray
    emotions: tuple[str, ...] = EMOTIONS

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> "LabelledFaces":
        """The faces at these positions, or where this mask holds."""
        return LabelledFaces(
            self.images[rows], self.fer2013[rows], self.votes[rows], self.ids[rows], self.emotions
        )

    def without(self, others: Iterable["LabelledFaces"]) -> "LabelledFaces":
        """Less the faces whose very picture is in one of the others."""
        seen = {image.tobytes() for faces in others for image in faces.images}
        return self.take(np.array([image.tobytes() not in seen for image in self.images], dtype=bool))

    @property
    def agreed(self) -> np.ndarray:
        """Where FER+ says what a face shows, by enough votes and one highest class: bool [N]."""
        top = self.votes.max(axis=1, keepdims=True)
        clear: np.ndarray = (self.votes.sum(axis=1) >= _MIN_VOTES) & ((self.votes == top).sum(axis=1) == 1)
        return clear

    @property
    def ferplus(self) -> np.ndarray:
        """int64 [N]: index into EMOTIONS of the class with the most votes; meaningful where `agreed`."""
        classes: np.ndarray = self.votes.argmax(axis=1)
        return classes


def read_parquet(
    path: Path, usage: str, size: int = 48, channels: int = 1, classes: Sequence[str] | None = EMOTIONS
) -> LabelledFaces:
    """The faces of one usage (such as Training or PublicTest) of a Parquet file, fitted by `fit_picture`.

    The file has the columns image (an encoded picture of any size) and label, or fer2013_label; perhaps
    usage, image_id, and FER+'s vote counts ferplus_CLASS for each of EMOTIONS. Without usage all of it is
    one part, "all". classes: those that labels may name beside the seven; None: any.

    Raises UsageError when the file has other columns, no such usage, or a picture or a label that cannot
    be read, naming it.
    """
    known = parquet_usages(path)
    if usage not in known:
        raise UsageError(f"'{path}' has no pictures of usage '{usage}'; it has {', '.join(known)}.")
    names = pq.read_schema(path).names
    votes = _VOTES if {*_VOTES} & {*names} else ()
    ids = ("image_id",) if "image_id" in names else ()
    rows = [("usage", "=", usage)] if "usage" in names else None
    label = _label_column(names)
    table = pq.read_table(path, columns=["image", label, *votes, *ids], filters=rows)
    called = table["image_id"].to_pylist() if ids else range(len(table))
    named = [_class_named(label, path, classes) for label in table[label].to_pylist()]
    emotions = all_emotions(sorted({*named}))
    return LabelledFaces(
        images=np.stack(
            [
                fit_picture(_decode(data, path, name), size, channels)
                for data, name in zip(table["image"].to_pylist(), called, strict=True)
            ]
        ),
        fer2013=np.array([emotions.index(name) for name in named], np.int64),
        votes=np.stack([table[name].to_numpy() for name in votes], axis=1).astype(np.float32)
        if votes
        else np.zeros((len(table), len(EMOTIONS)), np.float32),
        ids=np.array([str(name) for name in called]),
        emotions=emotions,
    )


def parquet_usages(path: Path) -> list[str]:
    """The usages in a Parquet file of labelled faces, sorted. Raises UsageError when it is none."""
    try:
        names = pq.read_schema(path).names
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"'{path}' cannot be read as Parquet; give a file of labelled faces.") from error
    votes = _VOTES if {*_VOTES} & {*names} else ()
    if missing := [name for name in ("image", _label_column(names), *votes) if name not in names]:
        raise UsageError(f"'{path}' lacks the columns {', '.join(missing)}.")
    if "usage" not in names:
        return [WHOLE]
    return sorted(set(pq.read_table(path, columns=["usage"])["usage"].to_pylist()))


def _label_column(names: Sequence[str]) -> str:
    return "fer2013_label" if "fer2013_label" in names else "label"


def known_class(name: str, classes: Sequence[str] | None) -> str:
    """The name of a class; ValueError for one that is not known.

    classes: those that are known beside the seven; None: any.
    """
    named = class_name(name)
    if classes is not None and named not in all_emotions(classes):
        raise ValueError(f"'{name}' is not one of the classes {', '.join(all_emotions(classes))}.")
    return named


def _class_named(label: str, path: Path, classes: Sequence[str] | None) -> str:
    try:
        return known_class(label, classes)
    except ValueError as error:
        raise UsageError(
            f"'{path}' has a label '{label}', which is none of {', '.join(all_emotions(classes or ()))}; "
            "rename it or leave its pictures out."
        ) from error


def _decode(data: bytes, path: Path, name: object) -> np.ndarray:
    """RGB uint8 [H, W, 3]."""
    encoded = np.frombuffer(data, np.uint8)
    image = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if encoded.size else None
    if image is None:
        raise UsageError(f"The picture {name} in '{path}' cannot be read; leave it out.")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def fit_picture(image: np.ndarray, size: int, channels: int) -> np.ndarray:
    """A face picture as `models.classifier.make_crop` would cut it out: squared, then resized.

    image: uint8 [H, W], [H, W, 1] or [H, W, 3], RGB; a shorter side is filled up by repeating its border.

    Returns uint8 [size, size, channels], grey or RGB.
    """
    if image.ndim == 3 and image.shape[2] == 3 and channels == 1:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    elif (image.ndim == 2 or image.shape[2] == 1) and channels == 3:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = cv2.copyMakeBorder(
        image, top, side - height - top, left, side - width - left, cv2.BORDER_REPLICATE
    )
    interpolation = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=interpolation).reshape(size, size, channels)


def read_training(path: Path) -> LabelledFaces:
    """The faces of usage Training, less those whose very picture is also in PublicTest.

    FER2013 repeats 269 pictures in both; a figure measured on PublicTest would flatter a model that
    learned them. Raises UsageError as `read_parquet` does.
    """
    return read_parquet(path, "Training").without([read_parquet(path, "PublicTest")])


HELD_OUT: Final = 0.1  # the part of FER2013's Training that the shipped weights were not trained on


def held_out_rows(images: np.ndarray, fraction: float) -> np.ndarray:
    """Where a picture, of uint8 [N, ...], is in the part that validation takes: bool [N]."""
    digests = (hashlib.sha256(image.tobytes()).digest() for image in images)
    # By tenths first, so that a tenth is the very one that the shipped weights were not trained on.
    places = ((digest[0] % 10 + int.from_bytes(digest[1:8]) / 2**56) / 10 for digest in digests)
    return np.array([place < fraction for place in places], dtype=bool)


def soft_targets(faces: LabelledFaces, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """What a model should answer for each face, and which faces say so.

    labels: "ferplus" (shares of the votes), "fer2013" (that label alone) or "both" (the mean of
        the two, since each corrects some of the other's noise).

    Data without any votes counts by its own labels, whatever is asked for.

    Returns float32 [N, K] rows that sum to 1, in the order of `faces.emotions`, and bool [N]: False where
    the labels asked for are missing. A face that FER+ taggers mostly put outside the seven classes counts
    as missing too.
    """
    one_hot = np.eye(len(faces.emotions), dtype=np.float32)[faces.fer2013]
    everyone = np.ones(len(faces), dtype=bool)
    if labels == "fer2013" or not faces.votes.any():
        return one_hot, everyone
    total = faces.votes.sum(axis=1, keepdims=True)
    voted = total[:, 0] >= _MIN_VOTES
    shares = np.zeros_like(one_hot)
    shares[:, : len(EMOTIONS)] = faces.votes / np.maximum(total, 1)
    if labels == "ferplus":
        return shares, voted
    if labels == "both":
        return np.where(voted[:, None], (shares + one_hot) / 2, one_hot), everyone
    raise UsageError(f"There are no labels '{labels}'; choose ferplus, fer2013 or both.")


def targets_for(
    faces: LabelledFaces, labels: str, classes: Sequence[str] = EMOTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """What a model of these classes should answer for each face, and which faces are for it.

    labels: as for `soft_targets`. classes: of the seven, or beside them.

    Returns float32 [N, len(classes)] rows that sum to 1, and bool [N]: False where the labels asked for
    are missing, or say another class than the model knows. Raises UsageError for unknown labels, and
    when no face is left.
    """
    targets, known = soft_targets(faces, labels)
    present = [place for place, name in enumerate(classes) if name in faces.emotions]
    chosen = np.zeros((len(faces), len(classes)), np.float32)
    chosen[:, present] = targets[:, [faces.emotions.index(classes[place]) for place in present]]
    known = known & (chosen.max(axis=1) == targets.max(axis=1))
    if not known.any():
        raise UsageError(
            f"The data has no picture that '{labels}' labels call {' or '.join(classes)}; "
            "choose other labels (--labels fer2013: those of the data set itself) or other data."
        )
    return chosen / np.maximum(chosen.sum(axis=1, keepdims=True), 1e-9), known


def hard_labels(
    faces: LabelledFaces, labels: str, classes: Sequence[str] = EMOTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """The one class of each face that a model is measured on, and which faces have one.

    labels: as for `soft_targets`; in "both" FER+ leads, where it says anything.

    Returns int64 [N], indexes into `classes`, and bool [N]: False where the class is not known, or none
    of `classes`.
    """
    if labels == "fer2013" or not faces.votes.any() or (labels == "both" and not faces.agreed.any()):
        emotion, known = faces.fer2013, np.ones(len(faces), dtype=bool)
    else:
        emotion, known = faces.ferplus, faces.agreed
    places = [classes.index(name) if name in classes else -1 for name in faces.emotions]
    truth = np.array(places)[emotion]
    return truth, known & (truth >= 0)
