"""The figures of the model card: every shipped head on every held-out set, in Markdown.

    python -m benchmarks.model_card --fer2013 fer2013.parquet --affect7 affect7.parquet --split split.npz

The sets are FER2013's PublicTest, by FER+'s and by FER2013's labels, and the faces of affect7 that training
held out (`split.npz` of `models.training.train_default`).
"""

from pathlib import Path

import click
import numpy as np

from benchmarks.detection import table
from models.classify.classifier import Classifier
from models.classify.spec import find_model, shipped_weights
from models.training.data import read_parquet
from models.training.evaluation import Measurement, evaluate
from schemas.emotions import EMOTIONS

COLUMNS = {
    "accuracy": "accuracy",
    "balanced": "balanced_accuracy",
    "macro F1": "macro_f1",
    "top 2": "top2_accuracy",
    "ROC AUC": "roc_auc",
    "log loss": "log_loss",
    "ECE": "ece",
}


def measure(name: str, fer2013: Path, affect7: Path, split: Path) -> list[Measurement]:
    """One head's answers to all sets."""
    model = find_model(name)
    classifier, shape = Classifier(model), (model.spec.input_size, model.spec.channels)
    with np.load(split) as uses:
        web = read_parquet(affect7, "all", *shape).take(uses["web_use"] == 1)
    public_test = read_parquet(fer2013, "PublicTest", *shape)
    return evaluate(classifier, name, public_test, "PublicTest") + evaluate(
        classifier, name, web, "affect7, held out"
    )


@click.command(help=__doc__)
@click.option("--fer2013", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--affect7", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--split", type=click.Path(exists=True, path_type=Path), required=True)
def main(fer2013: Path, affect7: Path, split: Path) -> None:
    """Print the tables."""
    measured = [each for name in shipped_weights() for each in measure(name, fer2013, affect7, split)]
    titles = [[each.model, f"{each.part}, {each.labels}", each.figures["n"]] for each in measured]
    figures = [[each.figures[key] for key in COLUMNS.values()] for each in measured]
    rows = [title + line for title, line in zip(titles, figures, strict=True)]
    click.echo(table(("model", "set, labels", "pictures", *COLUMNS), rows))
    recalls = [
        [*title[:2], *(each.figures["recall"][emotion] for emotion in EMOTIONS)]
        for title, each in zip(titles, measured, strict=True)
    ]
    click.echo("\n" + table(("recall", "set, labels", *EMOTIONS), recalls))


if __name__ == "__main__":
    main()
