"""Trained networks as Keras files, calibrated: what follows train_ferplus.py and train_default.py.

    python -m models.training.save_weights ferplus DIR/network.npz --data fer2013.parquet -o ferplus.keras
    python -m models.training.save_weights default DIR/answers.npz -o default.keras

A program of its own because PyTorch and TensorFlow do not bear each other in one process. Each file holds one
body and two heads: `ferplus` and `fer2013`; or `default`, which joins the three heads of that body, and
`affect7`.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import click
import keras
import numpy as np

from models.architectures.registry import get_architecture
from models.architectures.spec import Architecture
from models.classify.litert import add_litert
from models.crop_spec import CropSpec
from models.training.calibration import recalibrate, recalibrate_held_out
from models.training.data import LabelledFaces, fit_picture, hard_labels, read_training
from models.training.join import Heads, HeldOut, choose_join
from models.training.training import calibrated, with_heads

# How far the probabilities of a head with a convention of its own go from the prior in training to an
# even one. How often affect7 has a class says nothing of how often people look so.
TAUS: Final = {"ferplus": 0.4, "fer2013": 0.0, "affect7": 1.0}
# One confidence cannot be right by both conventions: of affect7's held-out pictures every fourth counts in
# the joined head's, beside all of FER2013's, whose labels ten people gave.
AFFECT7_PART: Final = 4

# How default.keras wants faces cut out: affect7's pictures are 1.04 frames wide (median), FER2013's 1.
CROP: Final = CropSpec(1.05)

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_OUTPUT = click.Path(dir_okay=False, path_type=Path)


def resnet48_at(size: int) -> Architecture:
    """The architecture for pictures of that size: its weights are the same for all."""
    return replace(get_architecture("resnet48"), input_size=size)


def to_keras(
    arrays: Mapping[str, np.ndarray],
    heads: Mapping[str, tuple[np.ndarray, np.ndarray]],
    size: int,
) -> dict[str, keras.Model]:
    """A network to logits for each head, all with one body.

    arrays: of the body, as `models.training.resnet48_torch.keras_weights` gives them. heads: kernel and bias
    by name.

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
    for name, weights in heads.items():
        last = keras.layers.Dense(len(architecture.classes), dtype="float32", name=f"{name}_logits")
        models[name] = keras.Model(network.input, last(network.layers[-1].input))
        last.set_weights(weights)
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
    faces, architecture = read_training(data), resnet48_at(48)
    with np.load(network) as file:
        arrays: dict[str, np.ndarray] = dict(file)
    own = {name: (arrays[f"{name}.0"], arrays[f"{name}.1"]) for name in ("ferplus", "fer2013")}
    models = to_keras(arrays, own, architecture.input_size)
    heads = {name: calibrated(model, architecture, temperature=1.0) for name, model in models.items()}
    save(
        {name: recalibrate_held_out(model, faces, name, TAUS[name]) for name, model in heads.items()}, output
    )


@main.command("default")
@click.argument("answers", type=_FILE)
@click.option("-o", "--output", required=True, type=_OUTPUT)
def save_default(answers: Path, output: Path) -> None:
    """The joined head and affect7's."""
    with np.load(answers) as file:
        read: dict[str, np.ndarray] = dict(file)
    arrays = {
        name.removeprefix("network_"): array for name, array in read.items() if name.startswith("network_")
    }
    architecture = replace(resnet48_at(int(read["size"])), crop=CROP)
    ferplus, ferplus_pictures = _held_out(read, "fer2013_tenth", architecture.input_size)
    affect7, affect7_pictures = _held_out(read, "affect7_tenth", architecture.input_size)
    surrounded, _ = _held_out(read, "affect7_filled", architecture.input_size)
    kernels, biases = (np.stack([arrays[f"{head}.{place}"] for head in read["heads"]]) for place in (0, 1))
    join = choose_join(Heads(kernels, biases), ferplus, affect7.joined(surrounded))
    told = {"ferplus": join.share, "affect7": round(1 - join.share, 2), "evenness": join.evenness}
    click.echo(f"joined: {told}")
    own = {
        "default": (join.kernel, join.bias),
        "affect7": (arrays["affect7.0"], arrays["affect7.1"]),
    }
    models = to_keras(arrays, own, architecture.input_size)
    part = slice(None, None, AFFECT7_PART)
    default = recalibrate(
        calibrated(models["default"], architecture, temperature=1.0, joined=told),
        np.concatenate([ferplus_pictures, affect7_pictures[part]]),
        np.concatenate([ferplus.truth, affect7.truth[part]]),
        join.prior,
    )
    web = calibrated(models["affect7"], architecture, temperature=1.0)
    prior = read["training_affect7_prior"]
    web = recalibrate(web, affect7_pictures, affect7.truth, prior, TAUS["affect7"])
    save({"default": default, "affect7": web}, output)


def _held_out(read: Mapping[str, np.ndarray], part: str, size: int) -> tuple[HeldOut, np.ndarray]:
    """A part's pictures whose class is known: features, and pixels, uint8 [N, size, size, 1]."""
    faces = LabelledFaces(
        np.stack([fit_picture(picture, size, 1) for picture in read[f"{part}_pictures"]]),
        read[f"{part}_labels"],
        read[f"{part}_votes"],
        np.arange(len(read[f"{part}_labels"])).astype(str),
    )
    truth, known = hard_labels(faces, "ferplus" if faces.votes.any() else "fer2013")
    features = read[f"{part}_features"][known]
    return HeldOut(features, truth[known], np.flatnonzero(known)), faces.images[known]


if __name__ == "__main__":
    main()
