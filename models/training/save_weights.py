"""Trained networks as Keras files, calibrated: what follows train_ferplus.py and train_default.py.

    python -m models.training.save_weights ferplus DIR/network.npz --data fer2013.parquet -o ferplus.keras
    python -m models.training.save_weights default DIR/answers.npz -o default.keras

A program of its own because PyTorch and TensorFlow do not bear each other in one process. Each file holds one
body and two heads: `ferplus` and `fer2013`; or `default`, which joins what the three heads of that body say,
and `affect7`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import keras
import numpy as np

from models.architectures.registry import get_architecture
from models.architectures.spec import Architecture
from models.classify.litert import add_litert
from models.training.calibration import recalibrate, recalibrate_held_out
from models.training.data import LabelledFaces, fit_picture, hard_labels, read_training
from models.training.join import HeldOut, choose_join, joined, joined_prior
from models.training.training import calibrated, with_heads

# How far the probabilities of a head with a convention of its own go from the prior in training to an
# even one. How often affect7 has a class says nothing of how often people look so.
TAUS: Final = {"ferplus": 0.4, "fer2013": 0.0, "affect7": 1.0}

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUTPUT = click.Path(dir_okay=False, path_type=Path)


def resnet48_at(size: int) -> Architecture:
    """The architecture for pictures of that size: its weights are the same for all."""
    return replace(get_architecture("resnet48"), input_size=size)


def to_keras(
    arrays: Mapping[str, np.ndarray], heads: Mapping[str, Mapping[str, float]], size: int
) -> dict[str, keras.Model]:
    """A network to calibrated probabilities for each head, all with one body; temperatures are 1.

    arrays: of a body and of a head for each convention, as `models.training.train_ferplus.keras_weights`
    gives them. heads: by name, the conventions whose heads are joined, and their shares.

    Kernels are rounded to half precision: the file is then half as large when compressed.
    """
    architecture = resnet48_at(size)
    network = architecture.build(architecture)
    for layer in network.layers[:-1]:
        values = [arrays[f"{layer.name}.{place}"] for place in range(len(layer.weights))]
        if isinstance(layer, keras.layers.Conv2D):
            values = [kernel.astype(np.float16).astype(np.float32) for kernel in values]
        layer.set_weights(values)
    models = {}
    for name, shares in heads.items():
        last = keras.layers.Dense(len(architecture.classes), dtype="float32", name=f"{name}_logits")
        logits = last(network.layers[-1].input)
        last.set_weights(
            [joined({head: arrays[f"{head}.{place}"] for head in shares}, shares) for place in (0, 1)]
        )
        head = keras.Model(network.input, logits)
        models[name] = calibrated(head, architecture, 1.0, joined=shares if len(shares) > 1 else None)
    return models


def save(heads: Mapping[str, keras.Model], path: Path) -> None:
    """Write one file of all heads, with its LiteRT form."""
    with_heads(heads).save(path)
    add_litert(path)
    click.echo(path)


@click.group(help=__doc__)
def main() -> None:
    """Calibrate and save."""


@main.command("ferplus")
@click.argument("network", type=_FILE)
@click.option("--data", required=True, type=_FILE)
@click.option("-o", "--output", required=True, type=_OUTPUT)
def save_ferplus(network: Path, data: Path, output: Path) -> None:
    """The heads of FER2013's pictures."""
    faces = read_training(data)
    with np.load(network) as arrays:
        heads = to_keras(dict(arrays), {"ferplus": {"ferplus": 1.0}, "fer2013": {"fer2013": 1.0}}, 48)
    save(
        {name: recalibrate_held_out(model, faces, name, TAUS[name]) for name, model in heads.items()}, output
    )


@main.command("default")
@click.argument("answers", type=_FILE)
@click.option("-o", "--output", required=True, type=_OUTPUT)
def save_default(answers: Path, output: Path) -> None:
    """The joined head and affect7's."""
    with np.load(answers) as file:
        read: dict[str, Any] = dict(file)
    names, size = [str(name) for name in read["heads"]], int(read["size"])
    priors = {name: read[f"training_{name}_prior"] for name in names}
    ferplus, ferplus_pictures = _held_out(read, "fer2013_tenth", size)
    affect7, affect7_pictures = _held_out(read, "affect7_tenth", size)
    join = choose_join(ferplus, affect7, priors)
    shares = {head: share for head, share in join.shares.items() if share}
    click.echo(f"joined: {shares}, tau {join.tau}")
    arrays = {name.removeprefix("network_"): array for name, array in read.items() if "network_" in name}
    heads = to_keras(arrays, {"default": shares, "affect7": {"affect7": 1.0}}, size)
    own = [priors[name] for name, part in (("ferplus", ferplus), ("affect7", affect7)) for _ in part.truth]
    heads["default"] = recalibrate(
        heads["default"],
        np.concatenate([ferplus_pictures, affect7_pictures]),
        np.concatenate([ferplus.truth, affect7.truth]),
        joined_prior(priors, shares),
        join.tau,
        np.stack(own),
    )
    heads["affect7"] = recalibrate(
        heads["affect7"], affect7_pictures, affect7.truth, priors["affect7"], TAUS["affect7"]
    )
    save(heads, output)


def _held_out(read: Mapping[str, Any], part: str, size: int) -> tuple[HeldOut, np.ndarray]:
    """The answers to a part's pictures whose class is known, and the pictures, uint8 [N, size, size, 1]."""
    faces = LabelledFaces(
        np.stack([fit_picture(picture, size, 1) for picture in read[f"{part}_pictures"]]),
        read[f"{part}_labels"],
        read[f"{part}_votes"],
        np.arange(len(read[f"{part}_labels"])).astype(str),
    )
    truth, known = hard_labels(faces, "ferplus" if faces.votes.any() else "fer2013")
    logits = {str(head): of[known] for head, of in zip(read["heads"], read[f"{part}_logits"], strict=True)}
    return HeldOut(logits, truth[known]), faces.images[known]


if __name__ == "__main__":
    main()
