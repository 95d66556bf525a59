r"""A trained network, and what it sees in all held-out pictures: what choosing the join of its heads needs.

    python -m models.training.answers DIR/STAGE.pt -o FILE.npz \
        --fer2013 fer2013.parquet --affect7 affect7.parquet

DIR holds the split.npz of `python -m models.training.train_default`. FILE.npz gets, for each PART of
public_test, fer2013_tenth, affect7_tenth and affect7_filled (the same faces with something around them):

    PART_pictures        uint8 [N, H, W], grey, as in their data set
    PART_features        float32 [N, 256], what the heads read
    PART_mirrored        the same of the mirror images
    PART_votes           float32 [N, 7], FER+ votes (zeros in affect7's parts)
    PART_labels          int64 [N], indexes into `emotions`: the label that the data set gives itself
    training_affect7_prior  float64 [7], shares of the classes in what affect7's head learned

and the averaged network: network_ARRAY as `models.training.resnet48_torch.keras_weights` gives them, and
size, that of the pictures.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from models.training.data import read_parquet
from models.training.resnet48_torch import features_of, keras_weights, trained_average
from models.training.three_sets import HEADS, HELD, KEPT, filled
from models.training.web_faces import read_web_faces, resized
from schemas.emotions import EMOTIONS

_FILE = click.Path(exists=True, path_type=Path)


@click.command(help=__doc__)
@click.argument("state", type=_FILE)
@click.option("--fer2013", required=True, type=_FILE)
@click.option("--affect7", required=True, type=_FILE)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path))
def main(state: Path, fer2013: Path, affect7: Path, output: Path) -> None:
    """Write the features."""
    network, size = trained_average(state, HEADS)
    with np.load(state.with_name("split.npz")) as uses:
        training_use, web_use = uses["training_use"], uses["web_use"]
    training, web = read_parquet(fer2013, "Training"), read_web_faces(affect7)
    tenth = training.take(training_use == HELD)
    held = web_use == HELD
    faces = {"public_test": read_parquet(fer2013, "PublicTest"), "fer2013_tenth": tenth}
    parts = {name: (part.images[..., 0], part.votes, part.fer2013) for name, part in faces.items()}
    labels = web.emotions[held]
    none = np.zeros((len(labels), len(EMOTIONS)), np.float32)
    faces_alone = web.pixels[held]
    parts["affect7_tenth"] = faces_alone, none, labels
    parts["affect7_filled"] = filled(faces_alone, web.inside[held], tenth), none, labels
    arrays: dict[str, Any] = {"heads": np.array(HEADS), "emotions": np.array(EMOTIONS)}
    arrays["size"] = np.array(size)
    arrays |= {f"network_{name}": values for name, values in keras_weights(network).items()}
    for name, (pictures, votes, own) in parts.items():
        arrays[f"{name}_pictures"] = pictures
        pixels = torch.tensor(resized(pictures, size))
        arrays[f"{name}_features"] = features_of(network, pixels)
        arrays[f"{name}_mirrored"] = features_of(network, pixels.flip(2))
        arrays[f"{name}_votes"], arrays[f"{name}_labels"] = votes, own
    shares = np.bincount(web.emotions[web_use == KEPT], minlength=len(EMOTIONS))
    arrays["training_affect7_prior"] = shares / shares.sum()
    np.savez(output, **arrays)


if __name__ == "__main__":
    main()
