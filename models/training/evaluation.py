"""How right a classifier is, and how well it knows when it is not."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    cohen_kappa_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
    recall_score,
    roc_auc_score,
    top_k_accuracy_score,
)

from models.classify.classifier import Classifier
from models.classify.spec import find_model
from models.training.charts import draw_confusion, draw_reliability
from models.training.data import LabelledFaces, hard_labels
from models.training.datasets import measured_usage, read_usage
from schemas.emotions import EMOTIONS, all_emotions
from schemas.errors import UsageError

# The columns of the table that sets models side by side.
_COLUMNS: Final = (
    "n",
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "cohen_kappa",
    "top2_accuracy",
    "roc_auc",
    "log_loss",
    "ece",
)


@dataclass(frozen=True)
class Measurement:
    """A model's answers to one part of the data, against one kind of labels.

    labels: "fer2013" or "ferplus"; "own" for data that knows no FER+ votes. rows: int [N], places in
    the part. ids: str [N], what the data calls the pictures. truth: int [N], indexes into classes.
    probabilities: float [N, K]. figures: as `score` gives them.
    """

    model: str
    part: str
    labels: str
    classes: tuple[str, ...]
    rows: np.ndarray
    ids: np.ndarray
    truth: np.ndarray
    probabilities: np.ndarray
    figures: dict[str, Any]

    @property
    def title(self) -> str:
        """What was measured, in words."""
        return f"{self.model} on {self.part}, {self.labels} labels"


def evaluate(classifier: Classifier, model: str, faces: LabelledFaces, part: str) -> list[Measurement]:
    """Measure a model against the data's own labels, and against FER+'s where its taggers agreed.

    Faces of classes that the model does not know are left out. model, part: what to call them.

    Raises UsageError for faces of another size than the model's, and when none is of its classes.
    """
    kinds = {"fer2013": "fer2013", "ferplus": "ferplus"} if faces.votes.any() else {"own": "fer2013"}
    probabilities = classifier.predict(faces.images)
    measured = []
    for name, labels in kinds.items():
        truth, known = hard_labels(faces, labels, classifier.spec.classes)
        if known.any():
            figures = score(truth[known], probabilities[known], classifier.spec.classes)
            measured.append(
                Measurement(
                    model,
                    part,
                    name,
                    classifier.spec.classes,
                    np.flatnonzero(known),
                    faces.ids[known],
                    truth[known],
                    probabilities[known],
                    figures,
                )
            )
    if not measured:
        raise UsageError(
            f"'{part}' has no picture of {' or '.join(classifier.spec.classes)}; choose another part."
        )
    return measured


def evaluate_all(
    names: Sequence[str], data: Path, usage: str | None = None, votes: Path | None = None
) -> list[Measurement]:
    """Measure saved models, by name or path, on one part of a data set: each as `evaluate` does.

    usage: None for the data's test part. votes: see `models.datasets.read_usage`.

    Raises UsageError as `evaluate`, `find_model` and `read_usage` do.
    """
    models = [find_model(name) for name in names]
    part = usage or measured_usage(data)
    classes = [name for model in models for name in model.spec.classes]
    faces = {
        shape: read_usage(data, part, *shape, votes, classes)
        for shape in {(model.spec.input_size, model.spec.channels) for model in models}
    }
    measured = []
    for model in models:
        shape = model.spec.input_size, model.spec.channels
        measured += evaluate(Classifier(model), model.name, faces[shape], part)
    return measured


def score(truth: np.ndarray, probabilities: np.ndarray, classes: Sequence[str] = EMOTIONS) -> dict[str, Any]:
    """Figures of one set of answers, ready for JSON.

    truth: int [N], indexes into classes. probabilities: float [N, K].

    Returns n, accuracy, balanced_accuracy (over the classes that occur), macro_precision, macro_recall and
    macro_f1 (over all), cohen_kappa, log_loss, top2_accuracy (None for two classes), roc_auc (one against
    rest, macro; None when a class does not occur), ece, precision, recall, f1 and support (by class),
    and confusion (rows true, columns predicted, in the order of classes).
    """
    labels = list(range(len(classes)))
    predicted = probabilities.argmax(axis=1)
    # float32 rows sum to 1 only nearly, which scikit-learn remarks on.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    by_class = dict(
        zip(
            ("precision", "recall", "f1", "support"),
            precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0),
            strict=True,
        )
    )
    binary = len(classes) == 2
    # Undefined when the answers and the truth are one and the same class.
    several = len(np.union1d(truth, predicted)) > 1
    kappa = float(cohen_kappa_score(truth, predicted, labels=labels)) if several else None
    auc = None
    if len(np.unique(truth)) == len(classes):
        auc = float(
            roc_auc_score(truth, exact[:, 1] if binary else exact, multi_class="ovr", average="macro")
        )
    return {
        "n": len(truth),
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(
            recall_score(truth, predicted, labels=np.unique(truth), average="macro", zero_division=0)
        ),
        "macro_precision": float(by_class["precision"].mean()),
        "macro_recall": float(by_class["recall"].mean()),
        "macro_f1": float(by_class["f1"].mean()),
        "cohen_kappa": kappa,
        "log_loss": float(log_loss(truth, exact, labels=labels)),
        "top2_accuracy": None if binary else float(top_k_accuracy_score(truth, exact, k=2, labels=labels)),
        "roc_auc": auc,
        "ece": expected_calibration_error(truth, probabilities),
        **{name: dict(zip(classes, values.tolist(), strict=True)) for name, values in by_class.items()},
        "confusion": confusion_matrix(truth, predicted, labels=labels).tolist(),
    }


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> float:
    """The mean gap between confidence and accuracy, over equally wide bins of confidence.

    truth: int [N]. probabilities: float [N, K]. Follows Guo et al. 2017, On Calibration of Modern
    Neural Networks.
    """
    confidence = probabilities.max(axis=1)
    correct = probabilities.argmax(axis=1) == truth
    bin_of = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=correct - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(truth))


def as_json(measured: Sequence[Measurement]) -> str:
    """One JSON list, an object for each measurement: model, part, labels, classes and the figures."""
    return json.dumps(
        [
            {"model": each.model, "part": each.part, "labels": each.labels, "classes": each.classes}
            | each.figures
            for each in measured
        ],
        indent=2,
    )


def as_text(measured: Sequence[Measurement]) -> str:
    """One table with a line for each measurement, then each one's classification report and confusions."""
    table = pd.DataFrame([{name: each.figures[name] for name in _COLUMNS} for each in measured], dtype=float)
    table.insert(0, "labels", [each.labels for each in measured])
    table.insert(0, "part", [each.part for each in measured])
    table.insert(0, "model", [each.model for each in measured])
    sections = [table.astype({"n": int}).to_string(index=False, float_format="%.4f", na_rep="-")]
    for each in measured:
        labels = list(range(len(each.classes)))
        report = classification_report(
            each.truth,
            each.probabilities.argmax(axis=1),
            labels=labels,
            target_names=each.classes,
            digits=4,
            zero_division=0,
        )
        confusion = pd.DataFrame(each.figures["confusion"], index=each.classes, columns=each.classes)
        sections.append(f"{each.title}\n\n{report}\ntrue \\ predicted\n{confusion.to_string()}")
    return "\n\n\n".join(sections)


def predictions(measured: Sequence[Measurement]) -> pd.DataFrame:
    """A row for each model and picture that was measured.

    Columns: model, part, image_id, true_LABELS for each kind of labels (None where they say nothing),
    predicted, and the probability of each class that any of the models knows.
    """
    kinds = list(dict.fromkeys(f"true_{each.labels}" for each in measured))
    known = dict.fromkeys(name for each in measured for name in each.classes)
    classes = [name for name in all_emotions([*known]) if name in known]
    tables = []
    for model, of_model in groupby(measured, key=lambda each: each.model):
        table = pd.DataFrame()
        for each in of_model:
            names = np.array(each.classes)
            answers = pd.DataFrame(each.probabilities, index=each.rows, columns=names)
            answers["model"], answers["part"], answers["image_id"] = model, each.part, each.ids
            answers[f"true_{each.labels}"] = names[each.truth]
            answers["predicted"] = names[each.probabilities.argmax(axis=1)]
            table = table.combine_first(answers)
        tables.append(table)
    return pd.concat(tables).reindex(columns=["model", "part", "image_id", *kinds, "predicted", *classes])


def write_evaluation(measured: Sequence[Measurement], out: Path) -> None:
    """Write the confusion matrix and the reliability of each measurement as PNG, evaluation.txt and .json.

    Raises UsageError, writing nothing, when two measurements would have one name.
    """
    names = [
        re.sub(
            r"[^a-z0-9]+", "-", f"{each.model.removesuffix('.keras')}-{each.part}-{each.labels}".lower()
        ).strip("-")
        for each in measured
    ]
    if len(set(names)) < len(names):
        raise UsageError("Two of the models have the same name; give each model once, by different names.")
    out.mkdir(parents=True, exist_ok=True)
    for name, each in zip(names, measured, strict=True):
        confusion = np.array(each.figures["confusion"])
        draw_confusion(confusion, each.classes, each.title, out / f"{name}-confusion.png")
        draw_reliability(each.truth, each.probabilities, each.title, out / f"{name}-reliability.png")
    (out / "evaluation.txt").write_text(as_text(measured) + "\n", encoding="utf-8")
    (out / "evaluation.json").write_text(as_json(measured) + "\n", encoding="utf-8")
