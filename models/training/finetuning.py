"""Fine-tuning: a saved model goes on learning from a few hundred pictures of one's own."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import keras
import numpy as np
from sklearn.metrics import accuracy_score, balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold

from models.architectures.spec import Architecture, Augmentation, Phase, Recipe
from models.classify.classifier import Classifier, load_classifier, load_network
from models.classify.output import ClassProbabilities
from models.classify.spec import ModelRef, find_model
from models.training.data import LabelledFaces, hard_labels
from models.training.datasets import read_splits
from models.training.training import TrainingConfig, train_on
from schemas.errors import UsageError

# For some 300 pictures. The body only bends a little, and its normalisations stay as they are: so few
# pictures do not tell what is usual.
RECIPE: Final = Recipe(
    phases=(
        Phase("head", 15, 3e-3, "adamw", 1e-2, warmup_epochs=1, schedule="cosine", backbone="frozen"),
        Phase("all", 15, 4e-5, "adamw", 1e-2, warmup_epochs=1, schedule="cosine"),
    ),
    batch_size=32,
    augmentation=Augmentation(rotation=10, shift=0.05, zoom=0.1, flip=True, brightness=0.15, contrast=0.15),
    labels="fer2013",
    validation_fraction=0.15,
    early_stopping=5,
    label_smoothing=0.05,
)

_HELD_OUT: Final = 5  # one part of so many is held out
_FEWEST: Final = 10  # pictures of a class, so that each part has some
_DROPOUT: Final = 0.3


@dataclass(frozen=True)
class Comparison:
    """A model and the one that it started from, on the same pictures, which it was not trained on.

    part: how the pictures are called. n: how many. accuracy, balanced_accuracy: of the model, and of its
    start, whose answers count among the classes that the pictures have.
    """

    part: str
    n: int
    accuracy: float
    balanced_accuracy: float
    start_accuracy: float
    start_balanced_accuracy: float


def fine_tune(
    start: str, data: Path, out: Path, recipe: Recipe, seed: int = 0, folds: int | None = None
) -> list[Comparison]:
    """Train a saved model further under `out`, and measure it beside the one that it started from.

    A fifth of each class is held out: nothing is chosen by it. With `folds` every picture is held out once,
    each time from a model of its own, and the model that is kept learns from all of them. Identical
    pictures stay on one side. The classes are those of the data, in the order of the tables' columns.

    Writes what `train_on` writes, and comparison.json. Returns a comparison, or one a fold. Raises UsageError
    for a model that cannot be trained further, and for data with too few pictures of a class.
    """
    model = find_model(start)
    spec = model.spec
    splits = read_splits(data, spec.input_size, spec.channels, classes=None)
    faces = splits.training
    present = sorted({*faces.fer2013.tolist()})
    classes = tuple(faces.emotions[place] for place in present)
    _require_enough(faces, data)
    architecture = _going_on_from(model, classes)
    config = TrainingConfig(spec.architecture, str(data), seed, recipe, start=model.sha256)
    before = Classifier(model)

    def learn(known: LabelledFaces, test: LabelledFaces | None, folder: Path) -> Path:
        validation = splits.validation
        if validation is None:
            number = round(1 / recipe.validation_fraction)
            chosen = _folds(known, number, seed) == 0
            known, validation = known.take(~chosen), known.take(chosen)
        parts = {"training": known, "validation": validation} | ({"test": test} if test else {})
        return train_on(parts, architecture, config, folder, spec.softening)

    def compare(known: LabelledFaces, test: LabelledFaces, folder: Path, part: str) -> Comparison:
        after = load_classifier(str(learn(known, test, folder)))
        return _compare(before, after, test, part)

    if folds:
        fold = _folds(faces, folds, seed)
        done = [
            compare(
                faces.take(fold != each),
                faces.take(fold == each),
                out / f"fold-{each + 1}",
                f"fold {each + 1}",
            )
            for each in range(folds)
        ]
        learn(faces, splits.test, out)
    elif splits.test is not None:
        done = [compare(faces, splits.test, out, "held-out")]
    else:
        held_out = _folds(faces, _HELD_OUT, seed) == 0
        done = [compare(faces.take(~held_out), faces.take(held_out), out, "held-out")]
    text = json.dumps([asdict(each) for each in done], indent=2)
    (out / "comparison.json").write_text(text + "\n", encoding="utf-8")
    return done


def _require_enough(faces: LabelledFaces, data: Path) -> None:
    counts = np.bincount(faces.fer2013, minlength=len(faces.emotions))
    named = [(name, count) for name, count in zip(faces.emotions, counts.tolist(), strict=True) if count]
    few = [f"{count} of {name}" for name, count in named if count < _FEWEST]
    if few or len(named) < 2:
        raise UsageError(
            f"'{data}' has {', '.join(few) or 'pictures of one class'}; give at least {_FEWEST} pictures "
            "of each of two or more classes."
        )


def _folds(faces: LabelledFaces, number: int, seed: int) -> np.ndarray:
    """The fold of each face, int [N] from 0: classes in even parts, identical pictures together."""
    groups = [hashlib.sha256(image.tobytes()).hexdigest() for image in faces.images]
    fold = np.zeros(len(faces), int)
    divide = StratifiedGroupKFold(number, shuffle=True, random_state=seed)
    for each, (_, rows) in enumerate(divide.split(faces.images, faces.fer2013, groups)):
        fold[rows] = each
    return fold


def _going_on_from(model: ModelRef, classes: Sequence[str]) -> Architecture:
    """The network of a saved model, whose body is nested as a backbone, below a head for these classes.

    The head begins as the model's own for classes that it knows, and at nothing for others.
    """
    spec = model.spec

    def build(architecture: Architecture) -> keras.Model:
        saved = load_network(model)
        end, logits = _end_of(saved, model)
        # Normalisations keep what they learned from many more pictures.
        body = keras.Model(saved.input, logits.input, name="body")
        pixels = keras.Input(saved.input_shape[1:], name="pixels")
        features = keras.layers.Dropout(_DROPOUT)(body(pixels, training=False))
        head = keras.layers.Dense(len(architecture.classes), dtype="float32", name="logits")
        network = keras.Model(pixels, head(features), name=architecture.name)
        head.set_weights(_started_head(logits, end, architecture.classes))
        return network

    _end_of(load_network(model), model)  # refuses what cannot be, before anything is read or written
    return Architecture(
        name=spec.architecture,
        build=build,
        input_size=spec.input_size,
        channels=spec.channels,
        parameters=0,
        trainable_parameters=0,
        crop=spec.crop,
        recipe=RECIPE,
        source=model.name,
        classes=tuple(classes),
    )


def _end_of(network: keras.Model, model: ModelRef) -> tuple[ClassProbabilities, keras.layers.Dense]:
    """The last layer of a saved model, and the one that gives its logits."""
    end = network.layers[-1]
    below = end.input._keras_history.operation if isinstance(end, ClassProbabilities) else None
    if not isinstance(below, keras.layers.Dense):
        raise UsageError(
            f"The model '{model.name}' cannot be trained further, since it was made elsewhere; start from "
            "one that affectline trained."
        )
    return end, below


def _started_head(
    logits: keras.layers.Dense, end: ClassProbabilities, classes: Sequence[str]
) -> list[np.ndarray]:
    """Kernel [features, K] and bias [K] that give the saved model's logits."""
    kernel, bias = logits.get_weights()
    if kernel.shape[1] == 1:  # one logit for the second of two classes
        kernel, bias = np.pad(kernel, ((0, 0), (1, 0))), np.pad(bias, (1, 0))
    known = [end.classes.index(name) if name in end.classes else None for name in classes]
    columns = [np.zeros(len(kernel)) if at is None else kernel[:, at] for at in known]
    return [np.stack(columns, axis=1), np.array([bias.mean() if at is None else bias[at] for at in known])]


def _compare(before: Classifier, after: Classifier, faces: LabelledFaces, part: str) -> Comparison:
    classes = after.spec.classes
    truth, known_rows = hard_labels(faces, "fer2013", classes)
    faces, truth = faces.take(known_rows), truth[known_rows]
    answers = after.predict(faces.images).argmax(axis=1)
    said, known = before.predict(faces.images), before.spec.classes
    shared = np.full((len(faces), len(classes)), -1.0)
    for place, name in enumerate(classes):
        if name in known:
            shared[:, place] = said[:, known.index(name)]
    started = shared.argmax(axis=1)
    return Comparison(
        part,
        len(faces),
        float(accuracy_score(truth, answers)),
        float(balanced_accuracy_score(truth, answers)),
        float(accuracy_score(truth, started)),
        float(balanced_accuracy_score(truth, started)),
    )


def as_text(done: Sequence[Comparison], start: str) -> str:
    """What came of it: a line for each comparison, and whether the model is better than its start."""
    lines = [
        f"{each.part}: {each.accuracy:.1%} of {each.n} pictures right ({each.balanced_accuracy:.1%} "
        f"balanced); {start}: {each.start_accuracy:.1%} ({each.start_balanced_accuracy:.1%} balanced)"
        for each in done
    ]
    weights = [each.n for each in done]
    mine, its = (
        float(np.average([getattr(each, name) for each in done], weights=weights))
        for name in ("balanced_accuracy", "start_balanced_accuracy")
    )
    verdict = f"{mine:.1%} against {its:.1%}, balanced, on pictures that it did not learn from"
    if mine > its:
        return "\n".join([*lines, f"Better than {start}: {verdict}."])
    return "\n".join(
        [*lines, f"NOT better than {start}: {verdict}. Keep {start}, or give more pictures of each class."]
    )
