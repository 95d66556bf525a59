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

from schemas.emotions import EMOTIONS, canonical_emotion, emotion_columns
from schemas.errors import UsageError

_MIN_VOTES = 5  # of ten taggers, below which FER+ does not say what a face shows


@dataclass(frozen=True)
class LabelledFaces:
    """N labelled faces, in the order of the data they come from.

    images: uint8 [N, H, W, 1], grey, or [N, H, W, 3], RGB; FER2013's own are [N, 48, 48, 1].
    fer2013: int64 [N], index into EMOTIONS of the label that FER2013 gives, or another data set.
    votes: float32 [N, 7], FER+ votes for each of EMOTIONS; a row of zeros where no tagger saw any.
    """

    images: np.ndarray
    fer2013: np.ndarray
    votes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> "LabelledFaces":
        """The faces at these positions, or where this mask holds."""
        return LabelledFaces(self.images[rows], self.fer2013[rows], self.votes[rows])

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


def read_parquet(path: Path, usage: str) -> LabelledFaces:
    """The faces of one usage (such as Training or PublicTest) of a FER2013 Parquet file.

    The file has the columns usage, image (an encoded 48x48 grey picture), fer2013_label, and a vote
    count ferplus_CLASS for each of the ten FER+ answers.

    Raises UsageError when the file has other columns, no such usage, or a picture of another size.
    """
    known = parquet_usages(path)
    if usage not in known:
        raise UsageError(f"'{path}' has no pictures of usage '{usage}'; it has {', '.join(known)}.")
    vote_columns = [f"ferplus_{emotion}" for emotion in EMOTIONS]
    columns = ["image", "fer2013_label", *vote_columns]
    table = pq.read_table(path, columns=columns, filters=[("usage", "=", usage)])
    return LabelledFaces(
        images=np.stack([_decode(data) for data in table["image"].to_pylist()])[..., None],
        fer2013=np.array(
            [EMOTIONS.index(canonical_emotion(label)) for label in table["fer2013_label"].to_pylist()],
            dtype=np.int64,
        ),
        votes=np.stack([table[name].to_numpy() for name in vote_columns], axis=1).astype(np.float32),
    )


def parquet_usages(path: Path) -> list[str]:
    """The usages in a FER2013 Parquet file, sorted. Raises UsageError when it is none."""
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise UsageError(f"'{path}' cannot be read as Parquet; give the FER2013 Parquet file.") from error
    columns = ["usage", "image", "fer2013_label", *(f"ferplus_{emotion}" for emotion in EMOTIONS)]
    if missing := [name for name in columns if name not in schema.names]:
        raise UsageError(f"'{path}' lacks the columns {', '.join(missing)}.")
    return sorted(set(pq.read_table(path, columns=["usage"])["usage"].to_pylist()))


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


def _decode(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or image.shape != (48, 48):
        raise UsageError(
            "The data set holds a picture that is not 48x48 pixels; give the FER2013 Parquet file."
        )
    return image


def soft_targets(faces: LabelledFaces, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """What a model should answer for each face, and which faces say so.

    labels: "ferplus" (shares of the votes), "fer2013" (that label alone) or "both" (the mean of
        the two, since each corrects some of the other's noise).

    Returns float32 [N, 7] rows that sum to 1, and bool [N]: False where the labels asked for are
    missing. A face that FER+ taggers mostly put outside the seven classes counts as missing too.
    """
    one_hot = np.eye(len(EMOTIONS), dtype=np.float32)[faces.fer2013]
    everyone = np.ones(len(faces), dtype=bool)
    if labels == "fer2013":
        return one_hot, everyone
    total = faces.votes.sum(axis=1, keepdims=True)
    voted = total[:, 0] >= _MIN_VOTES
    shares = faces.votes / np.maximum(total, 1)
    if labels == "ferplus":
        return shares, voted
    if labels == "both":
        return np.where(voted[:, None], (shares + one_hot) / 2, one_hot), everyone
    raise UsageError(f"There are no labels '{labels}'; choose ferplus, fer2013 or both.")


def targets_for(
    faces: LabelledFaces, labels: str, classes: Sequence[str] = EMOTIONS
) -> tuple[np.ndarray, np.ndarray]:
    """What a model of these classes should answer for each face, and which faces are for it.

    labels: as for `soft_targets`. classes: some or all of EMOTIONS.

    Returns float32 [N, len(classes)] rows that sum to 1, and bool [N]: False where the labels asked for
    are missing, or say another class than the model knows. Raises UsageError for unknown labels, and
    when no face is left.
    """
    targets, known = soft_targets(faces, labels)
    chosen = targets[:, emotion_columns(classes)]
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
    if labels == "fer2013" or (labels == "both" and not faces.agreed.any()):
        emotion, known = faces.fer2013, np.ones(len(faces), dtype=bool)
    else:
        emotion, known = faces.ferplus, faces.agreed
    place = np.full(len(EMOTIONS), -1)
    place[emotion_columns(classes)] = range(len(classes))
    truth = place[emotion]
    return truth, known & (truth >= 0)
