"""Labelled faces for training and evaluation."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from schemas.emotions import EMOTIONS, canonical_emotion

_MIN_VOTES = 5  # of ten taggers, below which FER+ does not say what a face shows


@dataclass(frozen=True)
class FaceSet:
    """N labelled faces, in the order of the file they come from.

    images: uint8 [N, 48, 48, 1], grey.
    fer2013: int64 [N], index into EMOTIONS of the label that FER2013 gives.
    votes: float32 [N, 7], FER+ votes for each of EMOTIONS; a row of zeros where no tagger saw any.
    """

    images: np.ndarray
    fer2013: np.ndarray
    votes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def take(self, rows: np.ndarray) -> "FaceSet":
        """The faces at these positions, or where this mask holds."""
        return FaceSet(self.images[rows], self.fer2013[rows], self.votes[rows])

    @property
    def agreed(self) -> np.ndarray:
        """Where FER+ says what a face shows, by enough votes and one highest class: bool [N]."""
        top = self.votes.max(axis=1, keepdims=True)
        return (self.votes.sum(axis=1) >= _MIN_VOTES) & ((self.votes == top).sum(axis=1) == 1)

    @property
    def ferplus(self) -> np.ndarray:
        """int64 [N]: index into EMOTIONS of the class with the most votes; meaningful where `agreed`."""
        return self.votes.argmax(axis=1)


def read_parquet(path: Path, usage: str) -> FaceSet:
    """The faces of one usage (such as Training or PublicTest) of a FER2013 Parquet file.

    The file has the columns usage, image (an encoded 48x48 grey picture), fer2013_label, and a vote
    count ferplus_CLASS for each of the ten FER+ answers.

    Raises ValueError when the file has other columns, no such usage, or a picture of another size.
    """
    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(f"'{path}' cannot be read as Parquet; give the FER2013 Parquet file.") from error
    vote_columns = [f"ferplus_{emotion}" for emotion in EMOTIONS]
    columns = ["usage", "image", "fer2013_label", *vote_columns]
    if missing := [name for name in columns if name not in schema.names]:
        raise ValueError(f"'{path}' lacks the columns {', '.join(missing)}.")
    table = pq.read_table(path, columns=columns, filters=[("usage", "=", usage)])
    if table.num_rows == 0:
        known = sorted(set(pq.read_table(path, columns=["usage"])["usage"].to_pylist()))
        raise ValueError(f"'{path}' has no pictures of usage '{usage}'; it has {', '.join(known)}.")
    return FaceSet(
        images=np.stack([_decode(data) for data in table["image"].to_pylist()])[..., None],
        fer2013=np.array(
            [EMOTIONS.index(canonical_emotion(label)) for label in table["fer2013_label"].to_pylist()],
            dtype=np.int64,
        ),
        votes=np.stack([table[name].to_numpy() for name in vote_columns], axis=1).astype(np.float32),
    )


def read_training(path: Path) -> FaceSet:
    """The faces of usage Training, less those whose very picture is also in PublicTest.

    FER2013 repeats 269 pictures in both; a figure measured on PublicTest would flatter a model that
    learned them. Raises ValueError as `read_parquet` does.
    """
    faces, test = read_parquet(path, "Training"), read_parquet(path, "PublicTest")
    tested = {image.tobytes() for image in test.images}
    return faces.take(np.array([image.tobytes() not in tested for image in faces.images]))


def _decode(data: bytes) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    if image is None or image.shape != (48, 48):
        raise ValueError(
            "The data set holds a picture that is not 48x48 pixels; give the FER2013 Parquet file."
        )
    return image


def soft_targets(faces: FaceSet, labels: str) -> tuple[np.ndarray, np.ndarray]:
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
    raise ValueError(f"There are no labels '{labels}'; choose ferplus, fer2013 or both.")
