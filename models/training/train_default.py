r"""How default.keras was made: one body with a head for each convention of labels.

    pip install torch h5py
    python -m models.training.train_default --fer2013 fer2013.parquet --affect7 affect7.parquet \
        --start models/weights/ferplus.keras -o DIR
    python -m models.training.answers DIR/STAGE.pt --fer2013 fer2013.parquet --affect7 affect7.parquet \
        -o DIR/answers.npz
    python -m models.training.save_weights default DIR/answers.npz -o default.keras

The start is the network of train_ferplus.py, which learned FER2013's pictures in 48x48. It goes on with
affect7's beside them, faces from the web in another convention, at first in its own size, then in 64x64. A
part of FER2013's targets is what the start says itself, so that it forgets nothing. A second stage is taught
by the first on all pictures in all conventions, labelled or not; default.keras was made without it.

DIR gets split.npz (which pictures are learned, which are held out, which are neither and why), a state for
each stage after every epoch, and log.txt with figures on held-out pictures. A cut-off run goes on where it
was, with the same result.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

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
from models.training.keras_arrays import read_keras_arrays
from models.training.train_ferplus import (
    AVERAGE,
    BATCH,
    MIXING,
    WEIGHT_DECAY,
    Network,
    augmented,
    learning_rate,
    set_keras_weights,
)
from models.training.web_faces import WebFaces, read_web_faces, resized, surrounded
from schemas.emotions import EMOTIONS

HEADS: Final = ("ferplus", "fer2013", "affect7")
START_SIZE: Final = 48  # of the pictures that the start was trained on
WEB_BATCH: Final = 80  # of each batch, from affect7; FER2013's pictures are known already
CUT: Final = 0.35  # share of FER2013's pictures that are cut along a face's outline too
SMOOTHING: Final = 0.1  # part of affect7's targets that goes to all classes: web labels are often wrong
EVALUATED: Final = 3  # epochs from one measurement to the next
KEPT, HELD, DROPPED = 0, 1, 2  # learned; held out; neither


@dataclass(frozen=True)
class Stage:
    """One training from a high learning rate to none.

    sizes: of the pictures, and for how many epochs each; an epoch goes once through affect7. dropped: share
    of the features before the heads. hidden: share of the pictures of which a rectangle is hidden. mixed:
    share of the batches in which each picture is mixed with another. teachers: the heads that are partly
    taught by what they said before the stage, `taught` beside the labels and, with a weight of
    `unlabelled`, where there is no label.
    """

    name: str
    sizes: tuple[tuple[int, int], ...]
    learning_rate: float
    dropped: float
    hidden: float
    mixed: float
    teachers: tuple[str, ...]
    taught: float
    unlabelled: float

    @property
    def epochs(self) -> int:
        """Of all sizes together."""
        return sum(epochs for _, epochs in self.sizes)

    def size(self, epoch: int) -> int:
        """Of the pictures in an epoch, counted from 0."""
        return [size for size, epochs in self.sizes for _ in range(epochs)][epoch]


THREE: Final = Stage(
    "three-heads",
    sizes=((48, 12), (64, 6)),
    learning_rate=0.03,
    dropped=0.2,
    hidden=0.4,
    mixed=0.3,
    teachers=("ferplus", "fer2013"),
    taught=0.4,
    unlabelled=0.0,
)
AGAIN: Final = Stage(
    "again",
    sizes=((64, 20),),
    learning_rate=0.015,
    dropped=0.3,
    hidden=0.5,
    mixed=0.5,
    teachers=HEADS,
    taught=0.4,
    unlabelled=0.3,
)
STAGES: Final = {stage.name: stage for stage in (THREE, AGAIN)}


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


@torch.no_grad()
def answers(network: nn.Module, pictures: Tensor) -> Iterator[list[Tensor]]:
    """The logits [N, 7] of each head, batch by batch; uint8 [N, H, W]."""
    network.eval()
    for batch in pictures.split(BATCH):
        pixels = batch[:, None].float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = network(pixels)
        yield [logits.float() for logits in outputs]


def all_answers(network: nn.Module, pictures: np.ndarray, size: int) -> np.ndarray:
    """The logits of all heads, float32 [heads, N, 7]; pictures: uint8 [N, H, W] of any size."""
    batches = [torch.stack(heads) for heads in answers(network, torch.tensor(resized(pictures, size)))]
    logits: np.ndarray = torch.cat(batches, dim=1).numpy()
    return logits


def measured(network: nn.Module, size: int, asked: list[Exam]) -> str:
    """Accuracy and balanced accuracy of each exam, in a line."""
    parts = []
    for exam in asked:
        said = all_answers(network, exam.pictures, size).argmax(axis=2)
        for head, (truth, known) in exam.truths.items():
            right, answer = truth[known], said[HEADS.index(head)][known]
            balanced = balanced_accuracy_score(right, answer)
            parts.append(f"{head} {exam.name} {np.mean(right == answer):.3f}/{balanced:.3f}")
    return "; ".join(parts)


def taught(network: Network, data: Pictures, stage: Stage, size: int) -> Pictures:
    """The data with targets that are partly what the network says of each picture and its mirror image."""
    rows = torch.zeros(len(data.targets[0]), dtype=torch.bool)
    for head in stage.teachers:
        rows |= (data.weights[HEADS.index(head)] > 0) | (stage.unlabelled > 0)
    pixels = data.at(size)[0][rows]
    said = [
        torch.cat([(a.softmax(1) + b.softmax(1)) / 2 for a, b in zip(plain, mirrored, strict=True)])
        for plain, mirrored in zip(
            zip(*answers(network, pixels), strict=True),
            zip(*answers(network, pixels.flip(2)), strict=True),
            strict=True,
        )
    ]
    targets, weights = list(data.targets), list(data.weights)
    for place in map(HEADS.index, stage.teachers):
        known = data.weights[place] > 0
        opinion = torch.zeros_like(data.targets[place])
        opinion[rows] = said[place]
        share = torch.where(known, stage.taught, 1.0)[:, None]
        targets[place] = (1 - share) * data.targets[place] + share * opinion
        weights[place] = torch.where(known, data.weights[place], stage.unlabelled)
    return replace(data, targets=targets, weights=weights)


def with_surroundings(pixels: Tensor, inside: Tensor) -> Tensor:
    """A batch, FER2013's pictures first, with something around affect7's faces and around some of FER2013's.

    pixels: [N, 1, H, W]. inside: [WEB_BATCH, 1, H, W], 1 in affect7's faces.
    """
    known = len(pixels) - len(inside)
    outlines = inside[torch.randint(len(inside), (known,))]
    outlines = torch.where((torch.rand(known) < CUT)[:, None, None, None], outlines, torch.ones(()))
    others = pixels[torch.randint(known, (len(pixels),))]
    return surrounded(pixels, torch.cat([outlines, inside]), others)


def train(
    network: Network,
    data: Pictures,
    stage: Stage,
    seed: int,
    folder: Path,
    report: Callable[[str], None],
    asked: list[Exam],
) -> Network:
    """Train the network, a state after each epoch; returns the averaged one."""
    network.drop.p = stage.dropped
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, stage.learning_rate, momentum=0.9, nesterov=True, fused=True)
    known, from_web = len(data.fer2013), len(data.web)
    steps, first, size = from_web // WEB_BATCH, 0, 0
    state_path = folder / f"{stage.name}.pt"
    if state_path.exists():
        state = torch.load(state_path)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epochs"]
    for epoch in range(first, stage.epochs):
        if size != stage.size(epoch):
            size = stage.size(epoch)
            pixels, inside = data.at(size)
        started, losses = time.monotonic(), torch.zeros(len(HEADS))
        torch.manual_seed(seed * 1000 + epoch)
        orders = torch.randperm(known), torch.randperm(from_web)
        network.train()
        for batch in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage.learning_rate, epoch * steps + batch, stage.epochs * steps)
            chosen = [
                order[torch.arange(batch * count, (batch + 1) * count) % len(order)]
                for order, count in zip(orders, (BATCH - WEB_BATCH, WEB_BATCH), strict=True)
            ]
            rows = torch.cat([chosen[0], known + chosen[1]])
            x = with_surroundings(pixels[rows, None].float(), inside[chosen[1], None].float() / 255)
            x = augmented(x, size, stage.hidden)
            share, others = 1.0, rows
            if float(torch.rand(())) < stage.mixed:
                share = float(torch.distributions.Beta(MIXING, MIXING).sample())
                shuffled = torch.randperm(len(rows))
                x, others = share * x + (1 - share) * x[shuffled], rows[shuffled]
            with torch.autocast("cpu", torch.bfloat16):
                outputs = network(x.contiguous(memory_format=torch.channels_last))
            parts = []
            for logits, targets, weights in zip(outputs, data.targets, data.weights, strict=True):
                scores = functional.log_softmax(logits.float(), 1)
                one, other = (-((targets[of] * scores).sum(1) * weights[of]).mean() for of in (rows, others))
                parts.append(share * one + (1 - share) * other)
            loss = torch.stack(parts)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            average.update_parameters(network)
            losses += loss.detach()
        state = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs": epoch + 1,
            "size": size,
        }
        torch.save(state, state_path.with_suffix(".partial"))
        os.replace(state_path.with_suffix(".partial"), state_path)
        done, seconds = f"{stage.name} {epoch + 1}/{stage.epochs}", time.monotonic() - started
        heads = ", ".join(f"{head} {loss:.4f}" for head, loss in zip(HEADS, losses / steps, strict=True))
        report(
            f"{done}: loss {heads}; {size}x{size}, {steps * BATCH / seconds:.0f} pictures/s, {seconds:.0f} s"
        )
        if (epoch + 1) % EVALUATED == 0 or epoch + 1 == stage.epochs:
            report(f"{done}: {measured(average, size, asked)}")
    trained: Network = average.module
    return trained


def trained_average(state_path: Path) -> tuple[Network, int]:
    """The averaged network of a stage as far as its state has come, and the size of its pictures."""
    state = torch.load(state_path)
    average = AveragedModel(Network(HEADS), use_buffers=True)
    average.load_state_dict(state["average"])
    return average.module.to(memory_format=torch.channels_last), state["size"]


def started(start: Path) -> Network:
    """The network with the start's body and heads; affect7's head begins as the mean of the two."""
    arrays = read_keras_arrays(start)
    for place in range(2):
        arrays[f"affect7.{place}"] = (arrays[f"ferplus.{place}"] + arrays[f"fer2013.{place}"]) / 2
    network = Network(HEADS)
    set_keras_weights(network, arrays)
    return network


_FILE = click.Path(exists=True, path_type=Path)


@click.command(help=__doc__)
@click.option("--fer2013", required=True, type=_FILE)
@click.option("--affect7", required=True, type=_FILE)
@click.option("--start", required=True, type=_FILE, help="The ferplus.keras to go on from.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option(
    "--stages", type=click.Choice(list(STAGES)), multiple=True, default=list(STAGES), show_default=True
)
@click.option("--seed", default=0, show_default=True)
def main(
    fer2013: Path,
    affect7: Path,
    start: Path,
    output: Path,
    stages: tuple[str, ...],
    seed: int,
) -> None:
    """Train and write the arrays."""
    output.mkdir(parents=True, exist_ok=True)
    torch.set_flush_denormal(True)
    network = started(start)
    sources = read_sources(fer2013, affect7, network, output / "split.npz")
    data, asked, size = training_pictures(sources), exams(sources), START_SIZE

    def report(line: str) -> None:
        with (output / "log.txt").open("a") as log:
            print(time.strftime("%H:%M:%S"), line, file=log)

    report(f"{len(data.fer2013)} pictures of FER2013, {len(data.web)} of affect7")
    report(f"start: {measured(network, size, asked)}")
    for stage in (STAGES[name] for name in stages):
        lessons = taught(network, data, stage, size)
        network = train(network, lessons, stage, seed, output, report, asked)
        size = stage.sizes[-1][0]


if __name__ == "__main__":
    main()
