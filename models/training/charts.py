"""Pictures of training and evaluation, as PNG files."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from sklearn.calibration import calibration_curve
from sklearn.metrics import ConfusionMatrixDisplay

from schemas.emotions import colors_of

_DPI: Final = 120
_BINS: Final = 15


def draw_curves(history: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Loss, accuracy and learning rate over all epochs; a line and a name where a phase begins.

    history: rows as of history.csv, numbers as numbers.
    """
    figure = Figure(figsize=(15, 4), layout="constrained")
    epochs = [row["epoch"] for row in history]
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, name in ((loss, "loss"), (accuracy, "accuracy")):
        axes.plot(epochs, [row[name] for row in history], ".-", label="training, augmented")
        axes.plot(epochs, [row["val_" + name] for row in history], ".-", label="validation")
        axes.legend()
    rate.plot(epochs, [row["learning_rate"] for row in history], ".-", color="black")
    rate.set_yscale("log")
    for axes, name in ((loss, "loss"), (accuracy, "accuracy"), (rate, "learning rate")):
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        _mark_phases(axes, history)
    figure.savefig(path, dpi=_DPI)


def _mark_phases(axes: Axes, history: Sequence[Mapping[str, Any]]) -> None:
    starts = [(name, next(rows)["epoch"]) for name, rows in groupby(history, key=lambda row: row["phase"])]
    for name, epoch in starts if len(starts) > 1 else ():
        axes.axvline(epoch - 0.5, color="grey", linestyle=":")
        axes.annotate(
            name,
            (epoch - 0.4, 0.02),
            xycoords=("data", "axes fraction"),
            rotation=90,
            fontsize=7,
            color="grey",
        )


def draw_counts(counts: Mapping[str, Mapping[str, int]], path: Path) -> None:
    """Pictures of each class in each part of the data. counts: by part, then by class."""
    figure = Figure(figsize=(4 * len(counts), 3.5), layout="constrained")
    for axes, (part, by_class) in zip(
        figure.subplots(1, len(counts), squeeze=False)[0], counts.items(), strict=True
    ):
        colors = colors_of([*by_class])
        bars = axes.bar(list(by_class), list(by_class.values()), color=[colors[name] for name in by_class])
        axes.bar_label(bars, fontsize=8)
        axes.set(title=f"{part}: {sum(by_class.values())} pictures", ylabel="pictures")
        axes.tick_params(axis="x", rotation=45)
    figure.savefig(path, dpi=_DPI)


def draw_grid(rows: Mapping[str, np.ndarray], path: Path) -> None:
    """Rows of pictures, the first of each beside what augmentation makes of it.

    rows: by class, float or uint8 [n, H, W, C], 0 to 255, the same n for all.
    """
    n, height, _, channels = next(iter(rows.values())).shape
    sheet = np.concatenate([np.concatenate(list(pictures), axis=1) for pictures in rows.values()])
    shown = np.clip(sheet, 0, 255).astype(np.uint8)
    figure = Figure(figsize=(n, len(rows) + 0.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shown if channels == 3 else shown[..., 0], cmap="gray", vmin=0, vmax=255)
    axes.set_yticks([(i + 0.5) * height for i in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.set_title("first column: as read; the others: as trained on", fontsize=9)
    figure.savefig(path, dpi=_DPI)


def draw_confusion(confusion: np.ndarray, classes: Sequence[str], title: str, path: Path) -> None:
    """Shares of each true class, with the counts. confusion: int [K, K], rows true, columns predicted."""
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    display = ConfusionMatrixDisplay(shares, display_labels=classes)
    display.plot(ax=axes, cmap="Blues", im_kw={"vmin": 0, "vmax": 1}, xticks_rotation=45, values_format=".2f")
    for text, count in zip(display.text_.ravel(), confusion.ravel(), strict=True):
        text.set_text(f"{text.get_text()}\n({count})")
        text.set_fontsize(7)
    axes.set_title(title, fontsize=10)
    figure.savefig(path, dpi=_DPI)


def draw_reliability(truth: np.ndarray, probabilities: np.ndarray, title: str, path: Path) -> None:
    """How often the model is right, against how sure it was; and how often it was how sure.

    truth: int [N]. probabilities: float [N, K].
    """
    confidence = probabilities.max(axis=1).clip(0, 1)
    correct = probabilities.argmax(axis=1) == truth
    right, sure = calibration_curve(correct, confidence, n_bins=_BINS, pos_label=True)
    figure = Figure(figsize=(5, 6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], ":", color="grey", label="calibrated")
    above.plot(sure, right, "o-", label="model")
    above.set(ylabel="share that is right", xlim=(0, 1), ylim=(0, 1))
    above.set_title(title, fontsize=10)
    above.legend()
    below.hist(confidence, bins=_BINS, range=(0, 1), color="grey")
    below.set(xlabel="confidence of the answer", ylabel="pictures")
    figure.savefig(path, dpi=_DPI)
