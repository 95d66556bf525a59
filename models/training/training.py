"""Training: one architecture, one data set, one folder with everything that came of it."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import keras
import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.architectures.registry import get_architecture
from models.architectures.spec import Architecture, Recipe
from models.classify.classifier import load_classifier
from models.classify.output import ClassProbabilities
from models.classify.prior import flattened_prior
from models.classify.sharpness import Softening
from models.training.augmentation import augmentation
from models.training.batches import batches
from models.training.charts import draw_counts, draw_curves, draw_grid
from models.training.data import LabelledFaces, hard_labels, held_out_rows, targets_for
from models.training.datasets import measured_usage, read_splits
from models.training.evaluation import evaluate, write_evaluation
from models.training.fitting import Examples, class_weights, fit, with_class_logits
from schemas.errors import UsageError

_GRID_COLUMNS: Final = 9
_STATE: Final = "state.npz"


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training run: the same values on the same machine give the same model.

    data, votes: paths, see `models.datasets`. backbone_weights: "imagenet", "none" or a path; None for
    the architecture's own choice. start: SHA-256 of the saved model that training goes on from; None where
    it begins anew.
    """

    model: str
    data: str
    seed: int
    recipe: Recipe
    votes: str | None = None
    backbone_weights: str | None = None
    start: str | None = None


def train(config: TrainingConfig, out: Path) -> Path:
    """Train, calibrate and measure a model under `out`; a run that was cut off goes on where it stood.

    The held-out part picks the best epoch and fits the calibration: the data's own validation part, or
    a part of the training pictures chosen by their pixels, so that copies of one stay together. The
    test part is only measured on.

    Writes config.json, class_counts.csv and .png, augmented.png, history.csv, curves.png, model.keras,
    evaluation/ (see `models.evaluation.write_evaluation`), and state.npz and best.weights.h5, which
    going on needs. Returns the path of model.keras. Raises UsageError for an unknown model, unusable
    data or settings, or a folder that holds a run with other settings.
    """
    architecture, recipe = get_architecture(config.model), config.recipe
    if config.backbone_weights is not None:
        if architecture.backbone_weights is None:
            raise UsageError(f"The model '{config.model}' has no backbone; leave the backbone's weights out.")
        architecture = replace(architecture, backbone_weights=config.backbone_weights)
    data, votes = Path(config.data), Path(config.votes) if config.votes else None
    splits = read_splits(data, architecture.input_size, architecture.channels, votes)
    faces, held_out = splits.training, splits.validation
    if held_out is None:
        chosen = held_out_rows(faces.images, recipe.validation_fraction)
        faces, held_out = faces.take(~chosen), faces.take(chosen)
    parts = {"training": faces, "validation": held_out}
    if splits.test is not None:
        parts["test"] = splits.test
    return train_on(parts, architecture, config, out)


def train_on(
    parts: Mapping[str, LabelledFaces],
    architecture: Architecture,
    config: TrainingConfig,
    out: Path,
    softening: Softening | None = None,
) -> Path:
    """As `train`, on faces that were read and divided before.

    parts: "training", "validation", and perhaps "test". softening: what the saved model's confidence loses
    where a face is not sharp.
    """
    recipe, data = config.recipe, Path(config.data)
    check_recipe(recipe)
    faces, held_out, test = parts["training"], parts["validation"], parts.get("test")
    fitted = _examples(faces, recipe, architecture)
    checked = _examples(held_out, recipe, architecture)
    _claim_folder(out, config)
    model_path = out / "model.keras"
    if (out / "evaluation" / "evaluation.json").exists():
        return model_path

    _write_counts(parts, recipe, architecture, out)
    _write_grid(fitted, config, architecture, out)
    network = fit(architecture, recipe, fitted, checked, config.seed, out)
    _draw_history(out)
    truth, known = hard_labels(held_out, recipe.labels, architecture.classes)
    logits = with_class_logits(network).predict(batches(recipe.batch_size, held_out.images[known]), verbose=0)
    temperature = fit_temperature(logits, truth[known])
    prior = training_prior(fitted.targets, recipe, architecture)
    calibrated(network, architecture, temperature, prior, softening=softening).save(model_path)

    classifier = load_classifier(str(model_path))
    measured = evaluate(classifier, config.model, held_out, "validation")
    if test is not None:
        measured += evaluate(
            classifier, config.model, test, "held-out" if config.start else measured_usage(data)
        )
    write_evaluation(measured, out / "evaluation")
    return model_path


def check_recipe(recipe: Recipe) -> None:
    """Raises UsageError for a recipe that cannot be followed, whatever the model."""
    names = [phase.name for phase in recipe.phases]
    if len(set(names)) < len(names):
        raise UsageError(f"The phases {', '.join(names)} need names of their own.")
    if not any(phase.epochs for phase in recipe.phases):
        raise UsageError("There is no epoch to train; give some phase epochs.")
    for phase in recipe.phases:
        if phase.schedule == "cosine" and phase.epochs and phase.warmup_epochs >= phase.epochs:
            raise UsageError(
                f"Phase '{phase.name}' warms up for {phase.warmup_epochs:g} of its {phase.epochs} epochs; "
                "give it more epochs or a shorter warm-up."
            )


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The T that makes softmax(logits / T) most likely (Guo et al. 2017).

    logits: float [N, K]; truth: int [N], the class of each.
    """
    wide = logits.astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        scores = log_softmax(wide / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))


def training_prior(targets: np.ndarray, recipe: Recipe, architecture: Architecture) -> np.ndarray:
    """How much of the training each class was, float64 [K], by its pictures and their weights.

    targets: float [N, K]. A class without pictures counts as one: nothing may be ruled out.
    """
    shares = targets.sum(axis=0) * class_weights(targets, recipe, architecture.classes) + 1
    return flattened_prior(shares, 0)


def calibrated(
    network: keras.Model,
    architecture: Architecture,
    temperature: float,
    prior: np.ndarray | None = None,
    joined: Mapping[str, float] | None = None,
    softening: Softening | None = None,
) -> keras.Model:
    """The model to save: raw pixels [N, H, W, C], 0 to 255, to probabilities [N, K]. Shares the weights.

    prior: float [K], the shares of the classes in its training, which the probabilities then assume.
    joined: how heads were joined into this one, for the file to tell. softening: what confidence loses
    where a face is not sharp.
    """
    shares = None if prior is None else {"training": prior.tolist(), "assumed": prior.tolist()}
    head = ClassProbabilities(
        temperature=temperature,
        architecture=architecture.name,
        classes=list(architecture.classes),
        crop=asdict(architecture.crop),
        prior=shares,
        softening=asdict(softening) if softening else None,
        joined=dict(joined) if joined else None,
        name="probabilities",
    )
    return keras.Model(network.input, head(network.output), name=architecture.name)


def with_heads(models: Mapping[str, keras.Model]) -> keras.Model:
    """One model to save of several with one body, each as `calibrated` gives it, by the name of its head."""
    ends = {name: model.layers[-1] for name, model in models.items()}
    heads = [
        ClassProbabilities.from_config(end.get_config() | {"name": name})(end.input)
        for name, end in ends.items()
    ]
    first = next(iter(models.values()))
    return keras.Model(first.input, heads, name=first.name)


def _examples(faces: LabelledFaces, recipe: Recipe, architecture: Architecture) -> Examples:
    targets, known = targets_for(faces, recipe.labels, architecture.classes)
    return Examples(faces.images[known], targets[known])


def _claim_folder(out: Path, config: TrainingConfig) -> None:
    text = json.dumps(asdict(config), indent=2) + "\n"
    path = out / "config.json"
    if out.exists() and not out.is_dir():
        raise UsageError(f"'{out}' is a file; give a folder for the training run.")
    # Without a finished epoch there is nothing that other settings could spoil.
    if (out / _STATE).exists() and path.exists() and path.read_text() != text:
        raise UsageError(
            f"'{out}' holds a run with other settings; give another folder or the same settings."
        )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _write_counts(
    parts: Mapping[str, LabelledFaces], recipe: Recipe, architecture: Architecture, out: Path
) -> None:
    counts = {}
    for part, faces in parts.items():
        truth, known = hard_labels(faces, recipe.labels, architecture.classes)
        of_class = np.bincount(truth[known], minlength=len(architecture.classes)).tolist()
        counts[part] = dict(zip(architecture.classes, of_class, strict=True))
    with (out / "class_counts.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", *counts])
        writer.writerows([name, *(counts[part][name] for part in counts)] for name in architecture.classes)
    draw_counts(counts, out / "class_counts.png")


def _write_grid(fitted: Examples, config: TrainingConfig, architecture: Architecture, out: Path) -> None:
    change = augmentation(config.recipe.augmentation, config.seed)
    rows = {}
    of_class = fitted.targets.argmax(axis=1)
    for index, name in enumerate(architecture.classes):
        if len(places := np.flatnonzero(of_class == index)):
            original = fitted.images[places[:1]].astype(np.float32)
            changed = change(np.repeat(original, _GRID_COLUMNS - 1, axis=0), training=True)
            rows[name] = np.concatenate([original, changed])
    draw_grid(rows, out / "augmented.png")


def _draw_history(out: Path) -> None:
    with (out / "history.csv").open(newline="") as file:
        rows = [
            {name: value if name == "phase" else float(value) for name, value in row.items()}
            for row in csv.DictReader(file)
        ]
    draw_curves(rows, out / "curves.png")
