"""What fine-tuning gains from few pictures: draws some of each class, learns from them, measures on others.

    python -m benchmarks.fine_tuning --data affect7.parquet --start ferplus -o DIR

Prints what `affectline train --from` says, then both models on pictures that neither learned from.
"""

from pathlib import Path
from typing import Final

import click
import numpy as np
import pyarrow.parquet as pq

from models.training.evaluation import as_text as evaluation_text
from models.training.evaluation import evaluate_all
from models.training.finetuning import RECIPE, as_text, fine_tune

_ASKED: Final = 100  # of each class, beside those that are learned from
_SEED: Final = 7


def draw(data: Path, learned: int, out: Path) -> tuple[Path, Path]:
    """Two folders of pictures, one folder a class: those to learn from, and those to be measured on.

    data: a Parquet file with the columns label and image (encoded).
    """
    table = pq.read_table(data, columns=["image", "label"])
    labels = np.array(table["label"].to_pylist())
    rng = np.random.default_rng(_SEED)
    folders = out / "learned", out / "asked"
    for name in sorted(set(labels)):
        rows = rng.permutation(np.flatnonzero(labels == name))[: learned + _ASKED]
        for number, row in enumerate(rows.tolist()):
            folder = folders[number >= learned] / str(name)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.jpg").write_bytes(table["image"][row].as_py())
    return folders


@click.command()
@click.option("--data", required=True, type=click.Path(exists=True, path_type=Path), help="Labelled faces.")
@click.option("--start", default="default", show_default=True, help="Model to go on from.")
@click.option("--learned", default=40, show_default=True, help="Pictures of each class to learn from.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="New folder.")
def main(data: Path, start: str, learned: int, output: Path) -> None:
    """Measure fine-tuning."""
    known, asked = draw(data, learned, output)
    model = output / "model"
    click.echo(as_text(fine_tune(start, known, model, RECIPE), start))
    click.echo(evaluation_text(evaluate_all([start, str(model / "model.keras")], asked)))


if __name__ == "__main__":
    main()
