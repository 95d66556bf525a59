"""The network of models/architectures/resnet48.py in PyTorch, and what its two trainings share.

PyTorch needs half of TensorFlow's time on a processor that computes in bfloat16. The two do not bear each
other in one process, so weights pass between them as arrays (`keras_weights`, `set_keras_weights`).
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from models.architectures.resnet48 import BLOCKS, MEAN, SCALE

BATCH: Final = 128
WARM_UP: Final = 100  # steps
WEIGHT_DECAY: Final = 5e-4
AVERAGE: Final = 0.998  # momentum of the averaged weights, which are the ones kept
MIXING: Final = 0.4  # both parameters of the beta distribution that a pair's shares are drawn from


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
    """models/architectures/resnet48.py with a head for each kind of label, at pictures of any size.

    labels: the names of the heads.
    """

    def __init__(self, labels: Sequence[str]) -> None:
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


def learning_rate(highest: float, step: int, steps: int) -> float:
    """Rises in a line for a moment, then falls in one to nothing."""
    return highest * min((step + 1) / WARM_UP, 1) * (1 - step / steps) + 1e-5


class Mixed(NamedTuple):
    """A batch in which each picture may be mixed with another (Zhang et al., "mixup", 2018)."""

    pixels: Tensor  # [N, 1, H, W]
    rows: Tensor  # int64 [N], of each picture
    others: Tensor  # int64 [N], of the one mixed in
    share: float  # of the first


def mixed(pixels: Tensor, rows: Tensor, share_mixed: float) -> Mixed:
    """The batch, mixed in a share of all calls; `rows` are the pictures' numbers."""
    if float(torch.rand(())) >= share_mixed:
        return Mixed(pixels, rows, rows, 1.0)
    share = float(torch.distributions.Beta(MIXING, MIXING).sample())
    order = torch.randperm(len(rows))
    return Mixed(share * pixels + (1 - share) * pixels[order], rows, rows[order], share)


def losses(
    logits: Sequence[Tensor], targets: Sequence[Tensor], weights: Sequence[Tensor], of: Mixed
) -> Tensor:
    """The cross entropy of each head, [heads]; targets float [all, 7] and weights [all] for each head."""
    parts = []
    for said, right, weight in zip(logits, targets, weights, strict=True):
        scores = functional.log_softmax(said.float(), 1)
        one, other = (-((right[rows] * scores).sum(1) * weight[rows]).mean() for rows in (of.rows, of.others))
        parts.append(of.share * one + (1 - of.share) * other)
    return torch.stack(parts)


class Learner:
    """A network, its optimizer and the running average of its weights, kept in a file after each epoch."""

    def __init__(self, network: Network, highest_rate: float, state_path: Path) -> None:
        self.network = network.to(memory_format=torch.channels_last)
        self.average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE), use_buffers=True)
        matrices = [p for p in network.parameters() if p.ndim > 1]
        vectors = [p for p in network.parameters() if p.ndim == 1]
        groups = [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": vectors}]
        self.optimizer = torch.optim.SGD(groups, highest_rate, momentum=0.9, nesterov=True, fused=True)
        self.highest_rate, self.state_path, self.epochs = highest_rate, state_path, 0
        if state_path.exists():
            state = torch.load(state_path)
            for name, part in self._parts().items():
                part.load_state_dict(state[name])
            self.epochs = state["epochs"]

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "optimizer": self.optimizer}

    def answers(self, pixels: Tensor) -> list[Tensor]:
        """The logits [N, 7] of each head, computed in bfloat16; pixels float [N, 1, H, W]."""
        with torch.autocast("cpu", torch.bfloat16):
            heads: list[Tensor] = self.network(pixels.contiguous(memory_format=torch.channels_last))
        return heads

    def step(self, loss: Tensor, done: int, steps: int) -> None:
        """Learn from a batch, `done` of `steps` having been learned before."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.highest_rate, done, steps)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.average.update_parameters(self.network)

    def save(self, epochs: int, size: int) -> None:
        """Keep the state after this many epochs, the last with pictures of this size."""
        state = {name: part.state_dict() for name, part in self._parts().items()}
        torch.save({**state, "epochs": epochs, "size": size}, self.state_path.with_suffix(".partial"))
        os.replace(self.state_path.with_suffix(".partial"), self.state_path)

    @property
    def averaged(self) -> Network:
        """The network with the averaged weights."""
        network: Network = self.average.module
        return network


def trained_average(state_path: Path, heads: Sequence[str]) -> tuple[Network, int]:
    """The averaged network of a training as far as its state has come, and the size of its pictures."""
    state = torch.load(state_path)
    average = AveragedModel(Network(heads), use_buffers=True)
    average.load_state_dict(state["average"])
    return average.module.to(memory_format=torch.channels_last), state["size"]


@torch.no_grad()
def answers(network: nn.Module, pictures: Tensor) -> Tensor:
    """The logits of all heads, float32 [heads, N, 7]; pictures: uint8 [N, H, W]."""
    network.eval()
    return _by_batch(lambda pixels: torch.stack(network(pixels), dim=1), pictures).transpose(0, 1)


@torch.no_grad()
def features_of(network: Network, pictures: Tensor) -> np.ndarray:
    """What the heads read of each picture, float32 [N, 256]; uint8 [N, H, W]."""
    network.eval()
    features: np.ndarray = _by_batch(network.features, pictures).numpy()
    return features


def _by_batch(compute: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """What is computed, in bfloat16, of pictures uint8 [N, H, W], float32 [N, ...]."""
    parts = []
    for batch in pictures.split(BATCH):
        pixels = batch[:, None].float().contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            parts.append(compute(pixels).float())
    return torch.cat(parts)


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
