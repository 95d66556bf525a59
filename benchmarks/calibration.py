"""What calibration does: priors from the training data's to an even one, and confidence of unsharp faces.

    python -m benchmarks.calibration --data fer2013.parquet [--model NAME] [--labels ferplus] [--json]
    python -m benchmarks.calibration --data fer2013.parquet --tau 0.5 --save FILE.keras

The model's head is fitted anew on the tenth of usage Training that training holds out, and judged on
PublicTest. `--save` writes the model with the head of that tau, and with its LiteRT form.

`ece` is measured where classes are as frequent as in PublicTest; `ece_even` weighs the pictures so that
all classes are equally frequent, which is what the probabilities of tau 1 assume.
"""

import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from benchmarks.detection import table
from models.classify.classifier import Classifier, load_network
from models.classify.litert import add_litert
from models.classify.prior import change_prior
from models.classify.sharpness import sharpness
from models.classify.spec import ModelRef, find_model
from models.training.calibration import blurred, recalibrate_held_out, shrunk
from models.training.data import LabelledFaces, hard_labels, read_parquet, read_training
from schemas.emotions import EMOTIONS

TAUS: Final = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BINS: Final = 15


def calibration_error(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> float:
    """Expected calibration error over equally wide bins, pictures counting by their weights."""
    confidence = probabilities.max(axis=1)
    gap = weights * ((probabilities.argmax(axis=1) == truth) - confidence)
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return float(np.abs(np.bincount(bins, gap, BINS)).sum() / weights.sum())


def figures(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Accuracy, mean recall of the classes, calibration error as it is and with even classes."""
    right = probabilities.argmax(axis=1) == truth
    counts = np.bincount(truth, minlength=probabilities.shape[1])
    return {
        "accuracy": float(right.mean()),
        "balanced": float(np.mean([right[truth == k].mean() for k in np.flatnonzero(counts)])),
        "ece": calibration_error(truth, probabilities, np.ones(len(truth))),
        "ece_even": calibration_error(truth, probabilities, 1 / counts[truth]),
    }


def by_prior(sharp_answers: np.ndarray, prior: np.ndarray, test: LabelledFaces) -> list[dict[str, Any]]:
    """One row for each tau and kind of label. sharp_answers: under the training prior, not softened."""
    rows = []
    for tau in TAUS:
        answers = change_prior(sharp_answers, prior, prior ** (1 - tau))
        for labels in ("ferplus", "fer2013"):
            truth, known = hard_labels(test, labels)
            rows.append({"tau": tau, "labels": labels, **figures(truth[known], answers[known])})
    return rows


def hardened(model: ModelRef) -> ModelRef:
    """The model without its softening of unsharp faces."""
    return replace(model, spec=replace(model.spec, softening=None))


def by_sharpness(model: ModelRef, test: LabelledFaces) -> list[dict[str, Any]]:
    """One row for each size and blur: FER+ accuracy, and confidence without and with softening."""
    classifiers = {"before": Classifier(hardened(model)), "after": Classifier(model)}
    versions = {"as it is": test.images}
    versions |= {f"{size} pixels": shrunk(test.images, size) for size in (40, 32, 24, 20, 16, 12, 8)}
    versions |= {f"blur {sigma:g}": blurred(test.images, sigma) for sigma in (0.5, 1, 1.5, 2, 3, 4)}
    truth, known = hard_labels(test, "ferplus")
    rows = []
    for name, pictures in versions.items():
        row: dict[str, Any] = {"version": name, "sharpness": float(np.median(sharpness(pictures)))}
        for kind, classifier in classifiers.items():
            answers = classifier.predict(pictures[known])
            found = figures(truth[known], answers)
            row["accuracy"] = found["accuracy"]  # of both: softening changes no label
            row[f"confidence_{kind}"] = float(answers.max(axis=1).mean())
            row[f"ece_{kind}"] = found["ece"]
        rows.append(row)
    return rows


@click.command(help=__doc__)
@click.option("--data", type=click.Path(exists=True, path_type=Path), required=True)
@click.option("--model", default="ferplus", show_default=True, help="One that learned one kind of labels.")
@click.option("--labels", default="ferplus", show_default=True, help="What the model was trained on.")
@click.option("--tau", default=0.0, show_default=True, help="From the training prior (0) to an even one (1).")
@click.option("--save", type=click.Path(path_type=Path), help="Write the calibrated model there.")
@click.option("--json", "as_json", is_flag=True)
def main(data: Path, model: str, labels: str, tau: float, save: Path | None, as_json: bool) -> None:
    """Calibrate, print the tables, and save."""
    found = find_model(model)
    faces = read_training(data)
    test = read_parquet(data, "PublicTest", found.spec.input_size, found.spec.channels)
    network = load_network(found)

    def write(path: Path, tau: float) -> ModelRef:
        recalibrate_held_out(network, faces, labels, tau).save(path)
        add_litert(path)
        return find_model(str(path))

    with tempfile.TemporaryDirectory() as folder:
        calibrated = write(Path(folder) / "calibrated.keras", 0.0)
        prior = np.array(calibrated.spec.prior)  # of the training data, as tau is 0
        under_prior = Classifier(hardened(calibrated)).predict(test.images)
        results = {
            "by prior": by_prior(under_prior, prior, test),
            "by sharpness": by_sharpness(calibrated, test),
        }
    if save:
        write(save, tau)
    assert calibrated.spec.softening is not None  # recalibrate fitted it
    if as_json:
        fitted = {"prior": prior.tolist(), "softening": asdict(calibrated.spec.softening)}
        click.echo(json.dumps(fitted | results, indent=1))
        return
    click.echo("prior " + ", ".join(f"{e} {s:.3f}" for e, s in zip(EMOTIONS, prior, strict=True)))
    click.echo(f"softening {calibrated.spec.softening}")
    for title, rows in results.items():
        click.echo(f"\n{title}\n")
        click.echo(table(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
