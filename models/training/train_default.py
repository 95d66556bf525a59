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
by the first on all pictures in all conventions, labelled or not.

DIR gets split.npz (which pictures are learned, which are held out, which are neither and why), a state for
each stage after every epoch, and log.txt with figures on held-out pictures. A cut-off run goes on where it
was, with the same result.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from sklearn.metrics import balanced_accuracy_score
from torch import Tensor, nn

from models.training.keras_arrays import read_keras_arrays
from models.training.resnet48_torch import (
    BATCH,
    Learner,
    Network,
    answers,
    augmented,
    losses,
    mixed,
    set_keras_weights,
)
from models.training.three_sets import HEADS, Exam, Pictures, exams, read_sources, training_pictures
from models.training.web_faces import resized, surrounded

START_SIZE: Final = 48  # of the pictures that the start was trained on
WEB_BATCH: Final = 80  # of each batch, from affect7; FER2013's pictures are known already
CUT: Final = 0.35  # share of FER2013's pictures that are cut along a face's outline too
EVALUATED: Final = 3  # epochs from one measurement to the next


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
    sizes=((64, 18),),
    learning_rate=0.02,
    dropped=0.25,
    hidden=0.4,
    mixed=0.3,
    teachers=HEADS,
    taught=0.4,
    unlabelled=0.3,
)
STAGES: Final = {stage.name: stage for stage in (THREE, AGAIN)}


def measured(network: nn.Module, size: int, asked: list[Exam]) -> str:
    """Accuracy and balanced accuracy of each exam, in a line."""
    parts = []
    for exam in asked:
        said = answers(network, torch.tensor(resized(exam.pictures, size))).argmax(dim=2).numpy()
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
    plain, mirrored = (answers(network, seen).softmax(2) for seen in (pixels, pixels.flip(2)))
    said = (plain + mirrored) / 2
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
    learner = Learner(network, stage.learning_rate, folder / f"{stage.name}.pt")
    known, from_web = len(data.fer2013), len(data.web)
    steps, size = from_web // WEB_BATCH, 0
    for epoch in range(learner.epochs, stage.epochs):
        if size != stage.size(epoch):
            size = stage.size(epoch)
            pixels, inside = data.at(size)
        started, total = time.monotonic(), torch.zeros(len(HEADS))
        torch.manual_seed(seed * 1000 + epoch)
        orders = torch.randperm(known), torch.randperm(from_web)
        network.train()
        for batch in range(steps):
            chosen = [
                order[torch.arange(batch * count, (batch + 1) * count) % len(order)]
                for order, count in zip(orders, (BATCH - WEB_BATCH, WEB_BATCH), strict=True)
            ]
            rows = torch.cat([chosen[0], known + chosen[1]])
            x = with_surroundings(pixels[rows, None].float(), inside[chosen[1], None].float() / 255)
            of = mixed(augmented(x, size, stage.hidden), rows, stage.mixed)
            loss = losses(learner.answers(of.pixels), data.targets, data.weights, of)
            learner.step(loss.sum(), epoch * steps + batch, stage.epochs * steps)
            total += loss.detach()
        learner.save(epoch + 1, size)
        done, seconds = f"{stage.name} {epoch + 1}/{stage.epochs}", time.monotonic() - started
        heads = ", ".join(f"{head} {loss:.4f}" for head, loss in zip(HEADS, total / steps, strict=True))
        report(
            f"{done}: loss {heads}; {size}x{size}, {steps * BATCH / seconds:.0f} pictures/s, {seconds:.0f} s"
        )
        if (epoch + 1) % EVALUATED == 0 or epoch + 1 == stage.epochs:
            report(f"{done}: {measured(learner.average, size, asked)}")
    return learner.averaged


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
