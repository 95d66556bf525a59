"""The second half of models/training/train_weights.py: the trained network as Keras files, calibrated.

    python -m models.training.save_weights --data fer2013.parquet DIR

reads DIR/network.npz and writes DIR/default.keras and DIR/fer2013.keras.
"""

from pathlib import Path
from typing import Final

import click
import keras
import numpy as np

from models.architectures.registry import get_architecture
from models.classify.litert import add_litert
from models.training.calibration import recalibrate_held_out
from models.training.data import read_training
from models.training.training import calibrated

# Name of the file, labels its head answers for, and tau: how far its probabilities go from the
# training prior to an even one.
FILES: Final = (("default", "ferplus", 0.4), ("fer2013", "fer2013", 0.0))


def to_keras(arrays: dict[str, np.ndarray], labels: str) -> keras.Model:
    """The network to logits, with the head for these labels.

    Kernels are rounded to half precision: the file is then half as large when compressed.
    """
    architecture = get_architecture("resnet48")
    model = architecture.build(architecture)
    for layer in model.layers:
        name = labels if layer.name == "logits" else layer.name
        values = [arrays[f"{name}.{place}"] for place in range(len(layer.weights))]
        if isinstance(layer, keras.layers.Conv2D):
            values = [kernel.astype(np.float16).astype(np.float32) for kernel in values]
        layer.set_weights(values)
    return model


@click.command(help=__doc__)
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, path_type=Path))
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path))
def main(folder: Path, data: Path) -> None:
    """Calibrate and save."""
    faces = read_training(data)
    with np.load(folder / "network.npz") as arrays:
        network = dict(arrays)
    for name, labels, tau in FILES:
        model = calibrated(to_keras(network, labels), get_architecture("resnet48"), temperature=1.0)
        path = folder / f"{name}.keras"
        recalibrate_held_out(model, faces, labels, tau).save(path)
        add_litert(path)
        click.echo(path)


if __name__ == "__main__":
    main()
