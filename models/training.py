"""Training: one architecture, one data set, one folder with everything that came of it."""

import csv
import hashlib
import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from models.augmentation import augmentation
from models.data import FaceSet, read_training, soft_targets
from models.output import ClassProbabilities
from models.registry import get_architecture
from models.spec import Architecture, Recipe

_PREDICT_BATCH = 256  # pictures a step in validation

# What one epoch leaves behind, in the order of history.csv.
_HISTORY = ("epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds")


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training run: the same values on the same machine give the same model.

    data: path of the Parquet file. labels: "ferplus", "fer2013" or "both" (see `soft_targets`).
    """

    model: str
    data: str
    labels: str
    seed: int
    recipe: Recipe


def train(config: TrainingConfig, out: Path) -> Path:
    """Train and calibrate a model under `out`; a run that was cut off goes on where it stood.

    A tenth of the usage Training, chosen by the pixels so that copies of one picture stay together, is
    held out: it picks the best epoch and fits the calibration. No other usage is read. Weights are
    averaged over time (EMA); validation and the kept epoch use the averages.

    Writes config.json, history.csv, curves.png, model.keras, and state.npz and best.weights.h5, which
    resuming needs. Returns the path of model.keras. Raises ValueError for an unknown model or labels,
    unusable data, or a folder that holds a run with other settings.
    """
    architecture = replace(get_architecture(config.model), recipe=config.recipe)
    faces = read_training(Path(config.data))
    targets, labelled = soft_targets(faces, config.labels)
    _claim_folder(out, config)
    model_path = out / "model.keras"
    if model_path.exists():
        return model_path

    held_out = held_out_rows(faces.images)
    fitted, checked = labelled & ~held_out, labelled & held_out
    keras.utils.set_random_seed(config.seed)
    _fit(
        architecture,
        (faces.images[fitted], targets[fitted]),
        (faces.images[checked], targets[checked]),
        config.seed,
        out,
    )
    network = architecture.build(architecture)
    network.load_weights(out / "best.weights.h5")
    truth, known = hard_labels(faces.take(held_out), config.labels)
    logits = network.predict(faces.images[held_out][known], batch_size=_PREDICT_BATCH, verbose=0)
    _draw_curves(out)
    calibrated(network, architecture, fit_temperature(logits, truth[known])).save(model_path)
    return model_path


def held_out_rows(images: np.ndarray) -> np.ndarray:
    """Where a picture, of uint8 [N, ...], is in the tenth that validation takes: bool [N]."""
    return np.array([hashlib.sha256(image.tobytes()).digest()[0] % 10 == 0 for image in images])


def hard_labels(faces: FaceSet, labels: str) -> tuple[np.ndarray, np.ndarray]:
    """The class of each face, int64 [N], and where it is known, bool [N]; FER+ leads in "both"."""
    if labels == "fer2013":
        return faces.fer2013, np.ones(len(faces), dtype=bool)
    return faces.ferplus, faces.agreed


def fit_temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """The T that makes softmax(logits / T) most likely (Guo et al. 2017).

    logits: float [N, K]; truth: int [N], the class of each.
    """
    wide = logits.astype(np.float64)

    def log_loss(log_temperature: float) -> float:
        scores = log_softmax(wide / np.exp(log_temperature), axis=1)
        return float(-scores[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(log_loss, bounds=(-3, 3), method="bounded").x))


def calibrated(network: keras.Model, architecture: Architecture, temperature: float) -> keras.Model:
    """The model to save: raw pixels [N, H, W, C], 0 to 255, to probabilities [N, K]. Shares the weights."""
    head = ClassProbabilities(
        temperature=temperature,
        architecture=architecture.name,
        classes=list(architecture.classes),
        crop=asdict(architecture.crop),
        name="probabilities",
    )
    return keras.Model(network.input, head(network.output), name=architecture.name)


def _claim_folder(out: Path, config: TrainingConfig) -> None:
    text = json.dumps(asdict(config), indent=2) + "\n"
    path = out / "config.json"
    if out.exists() and not out.is_dir():
        raise ValueError(f"'{out}' is a file; give a folder for the training run.")
    if path.exists() and path.read_text() != text:
        raise ValueError(
            f"'{out}' holds a run with other settings; give another folder or the same settings."
        )
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _fit(
    architecture: Architecture,
    fitted: tuple[np.ndarray, np.ndarray],
    checked: tuple[np.ndarray, np.ndarray],
    seed: int,
    out: Path,
) -> None:
    """Train a new network, writing the averaged weights of the best epoch to best.weights.h5."""
    recipe = architecture.recipe
    images, targets = fitted
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    network = architecture.build(architecture)
    keras.config.set_dtype_policy("float32")
    trainer = keras.Sequential(
        [keras.Input(network.input_shape[1:]), augmentation(architecture, seed), network]
    )
    average = _Average(network, architecture.build(architecture), recipe.ema_momentum)
    steps = -(-len(images) // recipe.batch_size)
    warmup = recipe.warmup_epochs * steps
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=recipe.learning_rate / 10,
            warmup_target=recipe.learning_rate,
            warmup_steps=warmup,
            decay_steps=max(recipe.epochs * steps - warmup, 1),
        )
    )
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    # XLA is slower than oneDNN for convolutions on a CPU.
    trainer.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    average.averaged.compile(loss=loss, metrics=["accuracy"], jit_compile=False)
    optimizer.build(trainer.trainable_variables)

    # Layers hold the state of their random generators too, so that a resumed run draws the same.
    variables = [v for layer in trainer.layers for v in layer.variables] + optimizer.variables
    variables += [*average.averaged.weights, average.steps]
    history = _load_state(out / "state.npz", variables)
    for epoch in range(len(history), recipe.epochs):
        started = time.monotonic()
        order = np.random.default_rng((seed, epoch)).permutation(len(images))
        fit = trainer.fit(
            images[order],
            targets[order],
            batch_size=recipe.batch_size,
            shuffle=False,
            callbacks=[average],
            verbose=0,
        ).history
        check = average.averaged.evaluate(*checked, batch_size=_PREDICT_BATCH, return_dict=True, verbose=0)
        if check["loss"] < min((row["val_loss"] for row in history), default=np.inf):
            average.averaged.save_weights(out / "best.weights.h5")
        history.append(
            {
                "epoch": epoch + 1,
                "learning_rate": float(optimizer.learning_rate),
                "loss": fit["loss"][0],
                "accuracy": fit["accuracy"][0],
                "val_loss": check["loss"],
                "val_accuracy": check["accuracy"],
                "seconds": round(time.monotonic() - started, 1),
            }
        )
        _save_state(out / "state.npz", variables, history)
        _write_history(out / "history.csv", history)
        _report(history[-1], recipe.epochs)


class _Average(keras.callbacks.Callback):
    """Keeps a second network whose weights are the first one's, averaged over time (EMA).

    The optimizer's own EMA leaves out the moving statistics of batch normalisation, without which the
    averages do not fit the statistics; and `fit` puts it in place of the weights whenever it returns.
    """

    def __init__(self, network: keras.Model, averaged: keras.Model, momentum: float) -> None:
        super().__init__()
        self.averaged = averaged
        self.steps = keras.Variable(0.0, trainable=False)
        pairs = list(zip(averaged.weights, network.weights, strict=True))

        @tf.function
        def follow() -> None:
            # Early averages forget faster, so that they are not held back by the random start.
            kept = tf.minimum(momentum, (1 + self.steps.value) / (10 + self.steps.value))
            for average, weight in pairs:
                average.assign(average.value * kept + weight.value * (1 - kept))
            self.steps.assign_add(1.0)

        self._follow = follow

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Move the averages one step."""
        self._follow()


def _load_state(path: Path, variables: list[keras.Variable]) -> list[dict[str, float]]:
    """Put the saved values into the variables; the history that led there, empty without a saved state."""
    if not path.exists():
        return []
    with np.load(path) as saved:
        for i, variable in enumerate(variables):
            variable.assign(saved[f"variable_{i}"])
        return json.loads(str(saved["history"]))


def _save_state(path: Path, variables: list[keras.Variable], history: list[dict[str, float]]) -> None:
    values = {f"variable_{i}": variable.numpy() for i, variable in enumerate(variables)}
    partial = path.with_name("partial-" + path.name)
    np.savez(partial, history=json.dumps(history), **values)
    os.replace(partial, path)


def _write_history(path: Path, history: list[dict[str, float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _HISTORY)
        writer.writeheader()
        writer.writerows(history)


def _draw_curves(out: Path) -> None:
    with (out / "history.csv").open(newline="") as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        epochs = [row["epoch"] for row in history]
        axes.plot(epochs, [row[name] for row in history], label="training, augmented")
        axes.plot(epochs, [row["val_" + name] for row in history], label="validation, averaged weights")
        axes.set(title=name, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(out / "curves.png", dpi=120)


def _report(row: dict[str, float], epochs: int) -> None:
    print(
        f"epoch {row['epoch']}/{epochs}: loss {row['loss']:.4f}, validation loss {row['val_loss']:.4f}, "
        f"validation accuracy {row['val_accuracy']:.1%}, {row['seconds']:.0f} s",
        file=sys.stderr,
        flush=True,
    )
