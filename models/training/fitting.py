"""Fitting a network by a recipe, phase by phase, so that a run that was cut off goes on exactly.

What an epoch does follows from the seed, its number, the history so far, and the variables that state.npz
keeps; nothing else is remembered between epochs.
"""

import csv
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from models.architectures.backbones import backbone_layers
from models.architectures.spec import Architecture, Phase, Recipe
from models.classify.output import class_logits
from models.training.augmentation import augmentation
from models.training.batches import batches
from schemas.errors import UsageError

# What one epoch leaves behind: the columns of history.csv.
_HISTORY: Final = (
    "phase",
    "epoch",
    "learning_rate",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "seconds",
)
_STATE: Final = "state.npz"
_BEST: Final = "best.weights.h5"

_OPTIMIZERS: Final = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "sgd": partial(keras.optimizers.SGD, momentum=0.9, nesterov=True),
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Examples:
    """Pictures, uint8 [N, H, W, C], and what a model should answer, float32 [N, K], rows summing to 1."""

    images: np.ndarray
    targets: np.ndarray


def fit(
    architecture: Architecture, recipe: Recipe, fitted: Examples, checked: Examples, seed: int, out: Path
) -> keras.Model:
    """Train a new network on `fitted`, and return it with the weights of the epoch best on `checked`.

    In the folder `out`, which exists, history.csv grows by a row an epoch, and state.npz and
    best.weights.h5 hold what going on needs: called again after a cut, it returns the network that an
    undisturbed call returns, bit for bit on one CPU.

    Raises UsageError for a phase that does not suit the network.
    """
    keras.utils.set_random_seed(seed)
    saved = _read_state(out / _STATE)
    history: list[Row] = json.loads(str(saved["history"])) if saved else []
    at_random = replace(architecture, backbone_weights=architecture.backbone_weights and "none")

    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    start = at_random if saved else architecture
    network = start.build(start)
    keras.config.set_dtype_policy("float32")
    for phase in recipe.phases:
        set_trainable(network, phase)  # refuses what cannot be, before hours have passed
    trainer = keras.Sequential(
        [
            keras.Input(network.input_shape[1:]),
            augmentation(recipe.augmentation, seed),
            with_class_logits(network),
        ]
    )
    average = (
        _Average(network, at_random.build(at_random), recipe.ema_momentum) if recipe.ema_momentum else None
    )
    kept = average.averaged if average else network
    checker = with_class_logits(kept)
    weights = class_weights(fitted.targets, recipe, architecture.classes)
    # Layers hold the state of their random generators too, so that a resumed run draws the same.
    variables = [v for layer in trainer.layers for v in layer.variables]
    variables += [*average.averaged.weights, average.steps] if average else []
    _restore(variables, saved, "variable")

    for phase in recipe.phases:
        rows = [row for row in history if row["phase"] == phase.name]
        if phase_is_over(phase, recipe, rows):
            continue
        if history and not rows:
            for model in {network, kept}:
                model.load_weights(out / _BEST)
        set_trainable(network, phase)
        optimizer = make_optimizer(phase)
        # XLA is slower than oneDNN for convolutions on a CPU.
        trainer.compile(optimizer, make_loss(recipe), metrics=["accuracy"], jit_compile=False)
        checker.compile(loss=make_loss(recipe), metrics=["accuracy"], jit_compile=False)
        optimizer.build(trainer.trainable_variables)
        if rows:
            _restore(optimizer.variables, saved, "optimizer")
        while not phase_is_over(phase, recipe, rows):
            started = time.monotonic()
            order = np.random.default_rng((seed, len(history))).permutation(len(fitted.images))
            rate = _Rate(phase, len(rows), plateau_scale(_figures(rows, recipe), recipe))
            targets = fitted.targets[order]
            fit = trainer.fit(
                batches(recipe.batch_size, fitted.images[order], targets, targets @ weights),
                shuffle=False,
                callbacks=[rate, *([average] if average else [])],
                verbose=0,
            ).history
            check = checker.evaluate(
                batches(recipe.batch_size, checked.images, checked.targets), return_dict=True, verbose=0
            )
            row = {
                "phase": phase.name,
                "epoch": len(history) + 1,
                "learning_rate": float(optimizer.learning_rate),
                "loss": fit["loss"][0],
                "accuracy": fit["accuracy"][0],
                "val_loss": check["loss"],
                "val_accuracy": check["accuracy"],
                "seconds": round(time.monotonic() - started, 1),
            }
            history.append(row)
            rows.append(row)
            if epochs_without_gain(_figures(history, recipe)) == 0:
                kept.save_weights(out / _BEST)
            _save_state(out / _STATE, variables, optimizer.variables, history)
            _write_history(out / "history.csv", history)
            _report(recipe, rows)

    best = at_random.build(at_random)
    best.load_weights(out / _BEST)
    return best


def with_class_logits(network: keras.Model) -> keras.Model:
    """The network with a logit for each class, [N, K], also where it gives one logit for two classes."""
    return keras.Model(network.input, class_logits(network.output))


def set_trainable(network: keras.Model, phase: Phase) -> None:
    """Let those layers of the backbone learn that the phase names, and all others of the network.

    Raises UsageError when there is no backbone, or no such layer in it.
    """
    layers = backbone_layers(network)
    if phase.backbone != "trained" and not layers:
        raise UsageError(
            f"The model '{network.name}' has no backbone; phase '{phase.name}' can only train all of it."
        )
    if isinstance(phase.backbone, tuple):
        first, last = phase.backbone
    else:
        first, last = 0, len(layers) if phase.backbone == "trained" else 0
    if not 0 <= first <= last <= len(layers):
        raise UsageError(
            f"The backbone of '{network.name}' has {len(layers)} layers; "
            f"phase '{phase.name}' cannot train those from {first} to {last}."
        )
    for index, layer in enumerate(layers):
        layer.trainable = first <= index < last


def make_optimizer(phase: Phase) -> keras.optimizers.Optimizer:
    """The phase's optimizer; its learning rate is set step by step."""
    return _OPTIMIZERS[phase.optimizer](phase.learning_rate, weight_decay=phase.weight_decay)


def make_loss(recipe: Recipe) -> keras.losses.Loss:
    """The recipe's loss, of logits [N, K] against targets [N, K]."""
    if recipe.loss == "focal":
        # alpha is for the balance of classes, which class weights take care of.
        return keras.losses.CategoricalFocalCrossentropy(
            alpha=1.0, gamma=recipe.focal_gamma, from_logits=True, label_smoothing=recipe.label_smoothing
        )
    return keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)


def class_weights(targets: np.ndarray, recipe: Recipe, classes: Sequence[str]) -> np.ndarray:
    """How much each class counts: float64 [K].

    targets: float [N, K]; a soft target counts as that share of a picture. A picture weighs the mean of
    its target's classes. Raises UsageError for a boosted class that the model does not know.
    """
    weights = np.ones(len(classes))
    if recipe.class_weights == "balanced":
        present = np.flatnonzero(targets.sum(axis=0))
        weights[present] = compute_class_weight(
            "balanced",
            classes=present,
            y=np.tile(present, len(targets)),
            sample_weight=targets[:, present].astype(np.float64).ravel(),
        )
    for name, boost in recipe.class_boosts.items():
        if name not in classes:
            raise UsageError(
                f"The model does not know the class '{name}'; boost one of {', '.join(classes)}."
            )
        weights[list(classes).index(name)] *= boost
    return weights


def learning_rate_at(phase: Phase, epochs: float) -> float:
    """The learning rate after so many epochs of a phase, whole or not."""
    if epochs < phase.warmup_epochs:
        return phase.learning_rate * (0.1 + 0.9 * epochs / phase.warmup_epochs)
    if phase.schedule == "constant":
        return phase.learning_rate
    done = (epochs - phase.warmup_epochs) / (phase.epochs - phase.warmup_epochs)
    return phase.learning_rate * (1 + math.cos(math.pi * done)) / 2


def plateau_scale(figures: Sequence[float], recipe: Recipe) -> float:
    """What the learning rate is multiplied by after epochs with these figures (lower is better)."""
    scale, best, waited = 1.0, math.inf, 0
    for figure in figures:
        waited = 0 if figure < best else waited + 1
        best = min(best, figure)
        if waited == recipe.plateau:
            scale, waited = scale * recipe.plateau_factor, 0
    return scale


def phase_is_over(phase: Phase, recipe: Recipe, rows: Sequence[Row]) -> bool:
    """Whether a phase with this history has had all its epochs, or as many in vain as it has patience."""
    patience = math.inf if recipe.early_stopping is None else recipe.early_stopping
    return len(rows) >= phase.epochs or (
        bool(rows) and epochs_without_gain(_figures(rows, recipe)) >= patience
    )


def epochs_without_gain(figures: Sequence[float]) -> int:
    """How many figures (lower is better) follow the first that is the best."""
    return len(figures) - 1 - int(np.argmin(figures))


def _figures(rows: Sequence[Row], recipe: Recipe) -> list[float]:
    """What the recipe watches, lower being better."""
    sign = -1 if recipe.monitor == "accuracy" else 1
    return [sign * row[f"val_{recipe.monitor}"] for row in rows]


class _Rate(keras.callbacks.Callback):
    """Sets the learning rate before each step of one epoch."""

    def __init__(self, phase: Phase, epochs_done: int, scale: float) -> None:
        super().__init__()
        self.phase, self.epochs_done, self.scale = phase, epochs_done, scale

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Set the rate of this step."""
        epochs = self.epochs_done + batch / self.params["steps"]
        self.model.optimizer.learning_rate = learning_rate_at(self.phase, epochs) * self.scale


class _Average(keras.callbacks.Callback):
    """Keeps in a second network the moving average of a network's weights, its statistics included."""

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


def _read_state(path: Path) -> dict[str, np.ndarray]:
    """What `_save_state` saved; empty without a saved state."""
    if not path.exists():
        return {}
    with np.load(path) as saved:
        return dict(saved)


def _restore(variables: Sequence[keras.Variable], saved: dict[str, np.ndarray], name: str) -> None:
    for i, variable in enumerate(variables if saved else ()):
        variable.assign(saved[f"{name}_{i}"])


def _save_state(
    path: Path,
    variables: Sequence[keras.Variable],
    optimizer: Sequence[keras.Variable],
    history: Sequence[Row],
) -> None:
    values = {f"variable_{i}": variable.numpy() for i, variable in enumerate(variables)}
    values |= {f"optimizer_{i}": variable.numpy() for i, variable in enumerate(optimizer)}
    partial_path = path.with_name("partial-" + path.name)
    np.savez(partial_path, history=json.dumps(history), **values)
    os.replace(partial_path, path)


def _write_history(path: Path, history: Sequence[Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, _HISTORY)
        writer.writeheader()
        writer.writerows(history)


def _report(recipe: Recipe, rows: Sequence[Row]) -> None:
    """One line on stderr: this epoch's figures, and how long all epochs still to come would take."""
    row, names = rows[-1], [phase.name for phase in recipe.phases]
    place = names.index(row["phase"])
    ahead = (
        recipe.phases[place].epochs - len(rows) + sum(phase.epochs for phase in recipe.phases[place + 1 :])
    )
    left = timedelta(seconds=round(ahead * sum(each["seconds"] for each in rows) / len(rows)))
    print(
        f"{row['phase']} {len(rows)}/{recipe.phases[place].epochs}: loss {row['loss']:.4f}, "
        f"validation loss {row['val_loss']:.4f}, validation accuracy {row['val_accuracy']:.1%}, "
        f"{row['seconds']:.0f} s, at most {left} left",
        file=sys.stderr,
        flush=True,
    )
