"""Whether the disagreement of two heads tells a wrong answer: what it would do to `confidence`.

    python -m benchmarks.disagreement --data fer2013.parquet --affect7 affect7.parquet --split split.npz
        [--model default] [--other affect7]

Disagreement is the total variation between the two heads' probabilities, each moved to an even prior. For the
answers to PublicTest (FER+ labels) and to the faces of affect7 that training held out, confidence is taken as
it is and lowered to p ** (1 + weight * disagreement), scaled; the table has the log loss, the calibration
error, and how well confidence tells right answers from wrong ones (area under the ROC curve).
"""

from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from sklearn.metrics import log_loss, roc_auc_score

from benchmarks.detection import table
from models.classify.classifier import load_classifier
from models.classify.prior import change_prior
from models.classify.spec import find_model
from models.training.data import LabelledFaces, hard_labels, read_parquet
from models.training.evaluation import expected_calibration_error
from schemas.emotions import EMOTIONS

WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0)
EVEN: Final = np.ones(len(EMOTIONS))


def lowered(probabilities: np.ndarray, disagreement: np.ndarray, weight: float) -> np.ndarray:
    """Probabilities [N, K], flatter by a temperature of 1 + weight * disagreement; disagreement: [N]."""
    flat: np.ndarray = probabilities ** (1 / (1 + weight * disagreement[:, None]))
    flat /= flat.sum(axis=1, keepdims=True)
    return flat


def rows(name: str, faces: LabelledFaces, labels: str, model: str, other: str) -> list[dict[str, Any]]:
    """Figures of one set of faces, by weight."""
    truth, known = hard_labels(faces, labels)
    faces, truth = faces.take(known), truth[known]
    answers, even = {}, {}
    for head in (model, other):
        answers[head] = load_classifier(head).predict(faces.images).astype(np.float64)
        prior = find_model(head).spec.prior
        even[head] = change_prior(answers[head], EVEN if prior is None else np.array(prior), EVEN)
    disagreement = np.abs(even[model] - even[other]).sum(axis=1) / 2
    right = answers[model].argmax(axis=1) == truth
    found = []
    for weight in WEIGHTS:
        said = lowered(answers[model], disagreement, weight)
        found.append(
            {
                "faces": name,
                "weight": weight,
                "log loss": float(log_loss(truth, said, labels=range(len(EMOTIONS)))),
                "ece": expected_calibration_error(truth, said),
                "auc": float(roc_auc_score(right, said.max(axis=1))),
                "auc of agreement": float(roc_auc_score(right, -disagreement)),
            }
        )
    return found


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--affect7", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--split", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default="default", show_default=True)
@click.option("--other", default="affect7", show_default=True, help="The head that may disagree.")
def main(data: Path, affect7: Path, split: Path, model: str, other: str) -> None:
    """Print the table."""
    size = find_model(model).spec.input_size
    web = read_parquet(affect7, "all", size)
    with np.load(split) as uses:
        web = web.take(uses["web_use"] == 1)
    found = rows("PublicTest", read_parquet(data, "PublicTest", size), "ferplus", model, other)
    found += rows("affect7, held out", web, "fer2013", model, other)
    click.echo(table(tuple(found[0]), [list(row.values()) for row in found]))


if __name__ == "__main__":
    main()
