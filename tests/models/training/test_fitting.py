"""Phases, losses, class weights, patience, and runs that are cut off."""

import csv
import os
from dataclasses import replace

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.architectures.backbones import backbone_layers
from models.architectures.spec import Augmentation, Phase, Recipe
from models.training import fitting
from models.training.batches import batches
from models.training.fitting import (
    Examples,
    class_weights,
    fit,
    learning_rate_at,
    make_loss,
    make_optimizer,
    phase_is_over,
    plateau_scale,
    set_trainable,
    with_class_logits,
)
from tests.helpers.tiny_networks import SIZE, TINY, TWO

# The phases of resnet50-hybrid in small: frozen with warm-up and cosine, unfrozen from the end, frozen.
RECIPE = Recipe(
    phases=(
        Phase("head", 2, 1e-2, "adamw", 1e-3, 1, "cosine", "frozen"),
        Phase("from layer 4", 2, 5e-3, "sgd", backbone=(4, 6)),
        Phase("head again", 1, 1e-7, backbone="frozen"),
    ),
    batch_size=16,
    augmentation=Augmentation(rotation=10, shift=0.1, flip=True, brightness=0.2),
    monitor="accuracy",
    early_stopping=2,
    plateau=1,
    class_weights="balanced",
    class_boosts={"disgust": 3.0},
    ema_momentum=0.9,
)


def examples(count, seed, classes=7, channels=3):
    """Pictures whose brightness follows their class, and soft targets."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    noise = rng.integers(0, 40, (count, SIZE, SIZE, channels))
    targets = 0.9 * np.eye(classes, dtype=np.float32)[labels] + np.float32(0.1 / classes)
    return Examples((labels[:, None, None, None] * 30 + noise).astype(np.uint8), targets)


def weights_by_layer(network):
    nested = {layer.name: layer for layer in backbone_layers(network)}
    named = {name: nested[name] for name in ("first", "norm", "second")} | {"head": network.get_layer("head")}
    return {name: [weight.numpy() for weight in layer.weights] for name, layer in named.items()}


def changed(before, after):
    return {
        name
        for name in before
        if any((old != new).any() for old, new in zip(before[name], after[name], strict=True))
    }


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    return fit(TINY, RECIPE, examples(64, 0), examples(32, 1), 7, out), out


def history(out):
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_batches_are_the_rows_in_order():
    given = np.arange(10, dtype=np.uint8).reshape(5, 2), np.arange(5.0)
    in_batches = [(rows.numpy().tolist(), numbers.numpy().tolist()) for rows, numbers in batches(2, *given)]
    assert in_batches == [([[0, 1], [2, 3]], [0, 1]), ([[4, 5], [6, 7]], [2, 3]), ([[8, 9]], [4])]
    assert batches(2, *given).options().autotune.enabled is False


@pytest.mark.parametrize(
    ("backbone", "learning"),
    [("frozen", []), ((4, 6), [4, 5]), ((1, 3), [1, 2]), ("trained", [0, 1, 2, 3, 4, 5])],
)
def test_a_phase_names_the_layers_that_learn(backbone, learning):
    network = TINY.build(TINY)
    for before in ("frozen", "trained"):  # whatever was before
        set_trainable(network, Phase("x", 1, 1e-3, backbone=before))
        set_trainable(network, Phase("x", 1, 1e-3, backbone=backbone))
        assert [i for i, layer in enumerate(backbone_layers(network)) if layer.trainable] == learning
        assert network.get_layer("head").trainable


def test_a_phase_changes_the_layers_it_names_and_no_other(tmp_path):
    networks = []

    def build(architecture):
        networks.append(TINY.build(architecture))
        return networks[-1]

    architecture = replace(TINY, build=build)
    recipe = replace(RECIPE, phases=(Phase("only", 1, 1e-2, backbone=(4, 6)),), ema_momentum=0.0)
    fit(architecture, recipe, examples(16, 0), examples(16, 1), 0, tmp_path)
    keras.utils.set_random_seed(0)
    assert changed(weights_by_layer(TINY.build(TINY)), weights_by_layer(networks[0])) == {"second", "head"}


def test_a_phase_that_does_not_suit_the_network_is_refused():
    network = TINY.build(TINY)
    with pytest.raises(ValueError, match="has 6 layers; phase 'x' cannot train those from 4 to 7"):
        set_trainable(network, Phase("x", 1, 1e-3, backbone=(4, 7)))
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)], name="plain")
    set_trainable(plain, Phase("x", 1, 1e-3))
    with pytest.raises(ValueError, match="'plain' has no backbone"):
        set_trainable(plain, Phase("x", 1, 1e-3, backbone="frozen"))


def test_all_phases_follow_each_other(finished):
    _, out = finished
    rows = history(out)
    assert list(dict.fromkeys(row["phase"] for row in rows)) == [phase.name for phase in RECIPE.phases]
    assert [int(row["epoch"]) for row in rows] == list(range(1, len(rows) + 1))


def test_the_kept_weights_are_those_of_the_best_epoch(finished):
    network, out = finished
    checked = examples(32, 1)
    answers = network.predict(checked.images, verbose=0).argmax(axis=1)
    right = (answers == checked.targets.argmax(axis=1)).mean()
    assert right == pytest.approx(max(float(row["val_accuracy"]) for row in history(out)))


class PowerCutError(Exception):
    """Ends a run, as a power cut would."""


def test_a_cut_run_gives_the_weights_of_an_uncut_one(finished, tmp_path, monkeypatch):
    saves = []

    def save_with_cuts(partial, path):
        saves.append(path)
        if len(saves) == 2:  # in the middle of saving the second epoch
            raise PowerCutError
        os.rename(partial, path)
        if len(saves) in (3, 4):  # between two phases, then inside of one
            raise PowerCutError

    monkeypatch.setattr(fitting.os, "replace", save_with_cuts)
    for _ in range(3):
        with pytest.raises(PowerCutError):
            fit(TINY, RECIPE, examples(64, 0), examples(32, 1), 7, tmp_path)
    resumed = fit(TINY, RECIPE, examples(64, 0), examples(32, 1), 7, tmp_path)
    straight, out = finished
    assert len(saves) == 6
    for expected, weight in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, expected)
    without_time = [[{**row, "seconds": 0} for row in history(folder)] for folder in (out, tmp_path)]
    assert without_time[0] == without_time[1]


def test_another_seed_gives_another_run(finished, tmp_path):
    recipe = replace(RECIPE, phases=RECIPE.phases[:1])
    fit(TINY, recipe, examples(64, 0), examples(32, 1), 8, tmp_path)
    assert history(tmp_path)[0]["loss"] != history(finished[1])[0]["loss"]


def test_progress_is_a_line_an_epoch_with_the_time_left(capsys):
    rows = [
        {"phase": "head", "loss": 2.0, "val_loss": 1.5, "val_accuracy": 0.25, "seconds": seconds}
        for seconds in (10.0, 20.0)
    ]
    fitting._report(RECIPE, rows)  # 2 + 1 epochs of 15 s are still to come
    assert capsys.readouterr().err == (
        "head 2/2: loss 2.0000, validation loss 1.5000, validation accuracy 25.0%, 20 s, "
        "at most 0:00:45 left\n"
    )


def test_warm_up_then_cosine():
    phase = Phase("x", epochs=30, learning_rate=1e-3, warmup_epochs=2, schedule="cosine")
    assert learning_rate_at(phase, 0) == pytest.approx(1e-4)
    assert learning_rate_at(phase, 1) == pytest.approx(5.5e-4)
    assert learning_rate_at(phase, 2) == pytest.approx(1e-3)
    assert learning_rate_at(phase, 16) == pytest.approx(5e-4)
    assert learning_rate_at(phase, 30) == pytest.approx(0, abs=1e-12)
    assert learning_rate_at(replace(phase, schedule="constant"), 16) == 1e-3


def test_the_learning_rate_is_set_at_every_step(tmp_path, monkeypatch):
    rates = []
    original = fitting._Rate.on_train_batch_begin

    def recording(self, batch, logs=None):
        original(self, batch, logs)
        rates.append(float(self.model.optimizer.learning_rate))

    monkeypatch.setattr(fitting._Rate, "on_train_batch_begin", recording)
    phase = Phase("x", epochs=2, learning_rate=1e-3, warmup_epochs=1, schedule="cosine")
    fit(TINY, replace(RECIPE, phases=(phase,), plateau=None), examples(64, 0), examples(16, 1), 0, tmp_path)
    expected = [learning_rate_at(phase, step / 4) for step in range(8)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6)


figures = st.lists(st.integers(0, 5).map(float), min_size=1, max_size=30)


def rows_of(values):
    return [{"val_loss": value, "val_accuracy": -value} for value in values]


def by_keras(callback, values):
    """The learning rate after, and whether the callback stopped at, each epoch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(1.0))
    callback.set_model(model)
    callback.on_train_begin()
    seen = []
    for epoch, value in enumerate(values):
        model.stop_training = False
        callback.on_epoch_end(epoch, {"val_loss": value})
        seen.append((float(model.optimizer.learning_rate), model.stop_training))
    return seen


@settings(max_examples=40, deadline=None)
@given(values=figures, patience=st.integers(1, 4))
def test_the_plateau_is_that_of_keras(values, patience):
    recipe = replace(RECIPE, plateau=patience, plateau_factor=0.5)
    callback = keras.callbacks.ReduceLROnPlateau(patience=patience, factor=0.5, min_delta=0)
    rates = [rate for rate, _ in by_keras(callback, values)]
    assert [plateau_scale(values[: n + 1], recipe) for n in range(len(values))] == rates


@settings(max_examples=40, deadline=None)
@given(values=figures, patience=st.integers(1, 4), monitor=st.sampled_from(["loss", "accuracy"]))
def test_early_stopping_is_that_of_keras(values, patience, monitor):
    recipe = replace(RECIPE, early_stopping=patience, monitor=monitor)
    phase = Phase("x", epochs=100, learning_rate=1.0)
    stops = [stop for _, stop in by_keras(keras.callbacks.EarlyStopping(patience=patience), values)]
    ours = [phase_is_over(phase, recipe, rows_of(values[: n + 1])) for n in range(len(values))]
    first = stops.index(True) + 1 if True in stops else len(stops)
    assert ours[:first] == stops[:first]


def test_without_patience_a_phase_has_all_its_epochs():
    recipe = replace(RECIPE, early_stopping=None, plateau=None)
    rows = rows_of([0.0] * 9)
    assert not phase_is_over(Phase("x", 10, 1.0), recipe, rows)
    assert phase_is_over(Phase("x", 9, 1.0), recipe, rows)
    assert phase_is_over(Phase("x", 0, 1.0), recipe, [])
    assert plateau_scale([0.0] * 9, recipe) == 1


def test_patience_begins_anew_with_each_phase(tmp_path):
    # Nothing is learned at this rate, so that every phase ends after its first epoch and two in vain.
    phases = tuple(Phase(name, 9, 1e-12, backbone="frozen") for name in "ab")
    recipe = replace(RECIPE, phases=phases, ema_momentum=0.0)
    fit(TINY, recipe, examples(32, 0), examples(16, 1), 0, tmp_path)
    assert [row["phase"] for row in history(tmp_path)] == ["a", "a", "a", "b", "b", "b"]


def test_optimizers_are_those_named():
    kinds = [make_optimizer(Phase("x", 1, 0.5, name, 0.25)) for name in ("adam", "adamw", "sgd")]
    assert [type(kind).__name__ for kind in kinds] == ["Adam", "AdamW", "SGD"]
    assert {(float(kind.learning_rate), kind.weight_decay) for kind in kinds} == {(0.5, 0.25)}


LOGITS = np.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]], np.float32)
TARGETS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], np.float32)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def test_losses_by_hand():
    truth = (log_softmax(LOGITS) * TARGETS).sum(axis=1)
    assert float(make_loss(RECIPE)(TARGETS, LOGITS)) == pytest.approx(-truth.mean(), rel=1e-5)
    focal = make_loss(replace(RECIPE, loss="focal", focal_gamma=2.0))
    assert float(focal(TARGETS, LOGITS)) == pytest.approx(
        -((1 - np.exp(truth)) ** 2 * truth).mean(), rel=1e-5
    )
    smooth = make_loss(replace(RECIPE, label_smoothing=0.3))
    smoothed = (log_softmax(LOGITS) * (0.7 * TARGETS + 0.1)).sum(axis=1)
    assert float(smooth(TARGETS, LOGITS)) == pytest.approx(-smoothed.mean(), rel=1e-5)


def test_balanced_weights_make_all_classes_count_alike():
    names = ("angry", "disgust", "fear")
    hard = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 1, 1]]  # nobody is afraid
    recipe = replace(RECIPE, class_boosts={})
    np.testing.assert_allclose(class_weights(hard, recipe, names), [6 / 2 / 4, 6 / 2 / 2, 1])
    soft = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0]], np.float32)
    np.testing.assert_allclose(class_weights(soft, recipe, names), [2 / 3, 2 / 3 / 0.75, 2 / 3 / 0.25])
    boosted = class_weights(soft, RECIPE, names)
    np.testing.assert_allclose(boosted, [2 / 3, 3 * 2 / 3 / 0.75, 2 / 3 / 0.25])
    plain = replace(RECIPE, class_weights="none")
    np.testing.assert_array_equal(class_weights(soft, plain, names), [1, 3, 1])
    with pytest.raises(ValueError, match="does not know the class 'disgust'; boost one of happy, sad"):
        class_weights(soft[:, :2], RECIPE, ("happy", "sad"))


def test_one_logit_stands_for_two_classes():
    network = TWO.build(TWO)
    pictures = examples(5, 0, classes=2, channels=1).images
    [z] = network.predict(pictures, verbose=0).T
    both = with_class_logits(network).predict(pictures, verbose=0)
    np.testing.assert_allclose(both, np.stack([np.zeros(5), z], axis=1))


def test_averages_follow_the_weights():
    network, averaged = TINY.build(TINY), TINY.build(TINY)
    average = fitting._Average(network, averaged, momentum=0.5)
    before, now = averaged.get_weights()[0], network.get_weights()[0]
    average.on_train_batch_end(0)
    np.testing.assert_allclose(averaged.get_weights()[0], 0.1 * before + 0.9 * now, rtol=1e-5)
