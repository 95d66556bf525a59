"""FER2013's pictures in two conventions and affect7's in a third: which are learned and which held out.

No photograph is on both sides, whichever set it came from and however it was cut out there.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.training.data import (
    HELD_OUT,
    LabelledFaces,
    hard_labels,
    held_out_rows,
    read_parquet,
    soft_targets,
)
from models.training.duplicates import SIZE as COMPARED_SIZE
from models.training.duplicates import candidate_pairs, groups
from models.training.resnet48_torch import Network
from models.training.web_faces import WebFaces, read_web_faces, resized, surrounded
from schemas.emotions import EMOTIONS

HEADS: Final = ("ferplus", "fer2013", "affect7")
SMOOTHING: Final = 0.1  # part of affect7's targets that goes to all classes: web labels are often wrong
KEPT, HELD, DROPPED = 0, 1, 2  # learned; held out; neither


@dataclass(frozen=True)
class Sources:
    """All pictures, and KEPT, HELD or DROPPED for each of FER2013's Training and of affect7."""

    training: LabelledFaces
    public_test: LabelledFaces
    web: WebFaces
    training_use: np.ndarray
    web_use: np.ndarray


@dataclass(frozen=True)
class Pictures:
    """FER2013's first, then affect7's. targets: float32 [N, 7] and weights: float32 [N] for each head."""

    fer2013: np.ndarray
    web: np.ndarray
    inside: np.ndarray
    targets: list[Tensor]
    weights: list[Tensor]

    def at(self, size: int) -> tuple[Tensor, Tensor]:
        """The pictures, uint8 [N, size, size], and the outlines of affect7's."""
        pixels = np.concatenate([resized(self.fer2013, size), resized(self.web, size)])
        return torch.tensor(pixels), torch.tensor(resized(self.inside, size))


@dataclass(frozen=True)
class Exam:
    """Held-out pictures, uint8 [N, H, W]. truths: for each head that is asked the class of each picture,
    int64 [N], and where it has one, bool [N].
    """

    name: str
    pictures: np.ndarray
    truths: dict[str, tuple[np.ndarray, np.ndarray]]


def read_sources(fer2013: Path, affect7: Path, network: Network, split_path: Path) -> Sources:
    """The data sets, split; `split_path` keeps the split.

    network: the start, which helps to find pictures of one photograph.
    """
    training, public_test = read_parquet(fer2013, "Training"), read_parquet(fer2013, "PublicTest")
    web = read_web_faces(affect7)
    if not split_path.exists():
        compared = (training.images[..., 0], public_test.images[..., 0], resized(web.pixels, COMPARED_SIZE))
        pairs = candidate_pairs(np.concatenate(compared), network)
        photographs = np.split(
            groups(pairs, sum(map(len, compared))), np.cumsum([len(part) for part in compared])[:-1]
        )
        training_use, web_use, counts = split(training, web, *photographs)
        np.savez(
            split_path,
            training_use=training_use,
            web_use=web_use,
            pairs=pairs.rows,
            cosine=pairs.cosine,
            correlation=pairs.correlation,
        )
        split_path.with_suffix(".txt").write_text(
            "".join(f"{reason}: {count}\n" for reason, count in counts.items())
        )
    with np.load(split_path) as saved:
        return Sources(training, public_test, web, saved["training_use"], saved["web_use"])


def split(
    training: LabelledFaces, web: WebFaces, of_training: np.ndarray, of_test: np.ndarray, of_web: np.ndarray
) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """What each picture of Training and of affect7 is for, and how many were dropped for what reason.

    of_training, of_test, of_web: the photograph that each picture shows, int64. FER2013's tenth is the one
    that the start was not trained on; no photograph is on both sides.
    """
    held = held_out_rows(training.images, HELD_OUT)
    training_use, web_use = np.where(held, HELD, KEPT), np.full(len(of_web), KEPT)
    counts: dict[str, int] = {}

    def drop(reason: str, use: np.ndarray, rows: np.ndarray) -> None:
        counts[reason] = int((rows & (use != DROPPED)).sum())
        use[rows] = DROPPED

    drop("Training, also in PublicTest", training_use, np.isin(of_training, of_test))
    held_photographs = of_training[held & (training_use != DROPPED)]
    drop("Training, also in its tenth", training_use, np.isin(of_training, held_photographs) & ~held)
    drop("affect7, also in PublicTest", web_use, np.isin(of_web, of_test))
    drop("affect7, also in Training's tenth", web_use, np.isin(of_web, held_photographs))
    # A photograph that people labelled in two ways is learned in both, each once.
    _, firsts, photograph = np.unique(of_web, return_index=True, return_inverse=True)
    again = np.ones(len(of_web), bool)
    again[np.unique(photograph * len(EMOTIONS) + web.emotions, return_index=True)[1]] = False
    drop("affect7, there before with the same label", web_use, again)
    apart = held_out_rows(web.pixels[firsts], HELD_OUT)[photograph] & ~np.isin(of_web, of_training)
    named = np.zeros((len(firsts), len(EMOTIONS)), bool)
    named[photograph, web.emotions] = True
    drop(
        "affect7, would be held out but is labelled in two ways",
        web_use,
        apart & (named.sum(1) > 1)[photograph],
    )
    web_use[apart & (web_use == KEPT)] = HELD
    counts["affect7, also in Training, learned"] = int(
        (np.isin(of_web, of_training) & (web_use == KEPT)).sum()
    )
    return training_use, web_use, counts


def training_pictures(sources: Sources) -> Pictures:
    """What is learned, with its labels."""
    faces = sources.training.take(sources.training_use == KEPT)
    kept = sources.web_use == KEPT
    web_labels = np.eye(len(EMOTIONS), dtype=np.float32)[sources.web.emotions[kept]]
    web_labels = (1 - SMOOTHING) * web_labels + SMOOTHING / len(EMOTIONS)
    targets, weights = [], []
    for head in HEADS:
        if head == "affect7":
            labels, known = np.zeros((len(faces), len(EMOTIONS)), np.float32), np.zeros(len(faces), bool)
        else:
            labels, known = soft_targets(faces, head)
        others = web_labels if head == "affect7" else np.zeros_like(web_labels)
        targets.append(torch.tensor(np.concatenate([labels, others])))
        weight = np.concatenate([known, np.full(len(others), head == "affect7")])
        weights.append(torch.tensor(weight.astype(np.float32)))
    return Pictures(
        faces.images[..., 0], sources.web.pixels[kept], sources.web.inside[kept], targets, weights
    )


def exams(sources: Sources) -> list[Exam]:
    """What is measured while training; affect7's faces as they are and with something around them."""
    tenth, held = sources.training.take(sources.training_use == HELD), sources.web_use == HELD
    pixels, inside = sources.web.pixels[held], sources.web.inside[held]
    truths = {"affect7": (sources.web.emotions[held], np.ones(len(pixels), bool))}
    return [
        *(
            Exam(
                part,
                faces.images[..., 0],
                {head: hard_labels(faces, head) for head in ("ferplus", "fer2013")},
            )
            for part, faces in (("PublicTest", sources.public_test), ("tenth", tenth))
        ),
        Exam("tenth", pixels, truths),
        Exam("tenth, filled", filled(pixels, inside, tenth), truths),
    ]


def filled(pixels: np.ndarray, inside: np.ndarray, faces: LabelledFaces) -> np.ndarray:
    """Faces with something around them, always the same: uint8 [N, H, W]."""
    others = resized(faces.images[np.arange(len(pixels)) % len(faces), ..., 0], pixels.shape[1])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = (torch.tensor(part)[:, None].float() for part in (pixels, inside / 255, others))
        faces_within: np.ndarray = surrounded(*parts)[:, 0].round().byte().numpy()
    return faces_within
