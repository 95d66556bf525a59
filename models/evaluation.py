"""How right a classifier is, and how well it knows when it is not."""

from typing import Any

import numpy as np
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    log_loss,
    recall_score,
)

from models.classifier import Classifier
from models.data import FaceSet
from schemas.emotions import EMOTIONS


def evaluate(classifier: Classifier, faces: FaceSet) -> dict[str, dict[str, Any]]:
    """Figures against FER2013's labels, and against FER+'s where its taggers agreed.

    Returns {"fer2013": figures, "ferplus": figures}, each as `score` gives them. Raises ValueError
    for a model that takes other pictures or knows other classes than the data.
    """
    if classifier.classes != EMOTIONS:
        raise ValueError(
            f"The model '{classifier.spec.name}' knows {', '.join(classifier.classes)}; "
            f"evaluating needs a model of the seven classes {', '.join(EMOTIONS)}."
        )
    probabilities = classifier.predict(faces.images)
    agreed = faces.agreed
    return {
        "fer2013": score(faces.fer2013, probabilities),
        "ferplus": score(faces.ferplus[agreed], probabilities[agreed]),
    }


def score(truth: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """Figures of one set of answers, ready for JSON.

    truth: int [N], indexes into EMOTIONS. probabilities: float [N, 7].

    Returns n, accuracy, balanced_accuracy, macro_f1, recall (by class), log_loss, ece, and confusion
    (rows true, columns predicted, in the order of EMOTIONS).
    """
    labels = list(range(len(EMOTIONS)))
    predicted = probabilities.argmax(axis=1)
    # float32 rows sum to 1 only nearly, which scikit-learn remarks on.
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    recall = recall_score(truth, predicted, labels=labels, average=None, zero_division=0)
    return {
        "n": len(truth),
        "accuracy": float(accuracy_score(truth, predicted)),
        "balanced_accuracy": float(balanced_accuracy_score(truth, predicted)),
        "macro_f1": float(f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)),
        "recall": dict(zip(EMOTIONS, map(float, recall), strict=True)),
        "log_loss": float(log_loss(truth, exact, labels=labels)),
        "ece": expected_calibration_error(truth, probabilities),
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


def as_text(figures: dict[str, dict[str, Any]]) -> str:
    """The figures of `evaluate` as a table to read."""
    lines = []
    for labels, values in figures.items():
        lines += [
            f"{labels}: {values['n']} pictures",
            f"  accuracy {values['accuracy']:.1%}, balanced {values['balanced_accuracy']:.1%}, "
            f"macro F1 {values['macro_f1']:.1%}, log loss {values['log_loss']:.3f}, ECE {values['ece']:.3f}",
            "  true \\ predicted " + "".join(f"{emotion:>9}" for emotion in EMOTIONS) + "   recall",
        ]
        for emotion, row in zip(EMOTIONS, values["confusion"], strict=True):
            counts = "".join(f"{count:>9}" for count in row)
            lines.append(f"  {emotion:<16} {counts}  {values['recall'][emotion]:>7.1%}")
        lines.append("")
    return "\n".join(lines).rstrip()
