"""Priors, confidence of unsharp faces, and calibration anew."""

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import data

from models.classify.classifier import load_classifier
from models.classify.output import ClassProbabilities
from models.classify.prior import change_prior, flattened_prior
from models.classify.sharpness import Softening, sharpness, soften
from models.classify.spec import find_model
from models.training.calibration import blurred, fit_softening, recalibrate, shrunk
from tests.helpers.tiny_model import save_untrained_model

SHARES = arrays(np.float64, 4, elements=st.floats(0.01, 1))
ROWS = arrays(np.float64, (3, 4), elements=st.floats(0.001, 1)).map(
    lambda rows: rows / rows.sum(1, keepdims=True)
)

# Priors


@given(ROWS, SHARES, SHARES)
def test_a_change_of_prior_keeps_the_evidence(rows, old, new):
    changed = change_prior(rows, old, new)
    np.testing.assert_allclose(changed.sum(axis=1), 1)
    # How far each class stands above its share, relative to the others, stays.
    before, after = rows / old, changed / new
    np.testing.assert_allclose(after / after[:, :1], before / before[:, :1], rtol=1e-9)


@given(ROWS, SHARES, SHARES, SHARES)
def test_priors_change_step_by_step_and_back(rows, first, second, third):
    there = change_prior(change_prior(rows, first, second), second, third)
    np.testing.assert_allclose(there, change_prior(rows, first, third), atol=1e-9)
    np.testing.assert_allclose(change_prior(there, third, first), rows, atol=1e-9)
    np.testing.assert_allclose(change_prior(rows, first, 7 * first), rows, atol=1e-9)


def test_a_known_change_of_prior():
    # One sick in 100 and a test that is right in 9 of 10 cases: Bayes' rule by hand.
    even = np.array([0.9, 0.1])
    sick = 0.9 * 0.01 / (0.9 * 0.01 + 0.1 * 0.99)
    np.testing.assert_allclose(change_prior(even, np.array([1, 1]), np.array([0.01, 0.99])), [sick, 1 - sick])
    assert change_prior(even, np.array([1, 1]), np.array([0, 1])).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ([0.5, 0], [0.5, 0.5], "the old ones above 0"),
        ([0.5, 0.5], [0.5, -1], "the new ones not below"),
        ([0.5, 0.5], [0.5, float("nan")], "finite"),
        ([0.5, 0.5], [1, 1, 1], "one share a class"),
        ([0.5, 0.5], [0, 0], "rule out every class"),
    ],
)
def test_impossible_priors_are_refused(old, new, message):
    with pytest.raises(ValueError, match=message):
        change_prior(np.array([[0.3, 0.7]]), np.array(old), np.array(new))


def test_tau_goes_from_the_prior_to_an_even_one():
    shares = np.array([8, 1, 1])
    np.testing.assert_allclose(flattened_prior(shares, 0), [0.8, 0.1, 0.1])
    np.testing.assert_allclose(flattened_prior(shares, 1), [1 / 3] * 3)
    assert 1 / 3 < flattened_prior(shares, 0.5)[0] < 0.8


def test_the_head_moves_to_the_assumed_prior():
    logits = np.random.default_rng(0).normal(0, 3, (5, 3)).astype(np.float32)
    settings = {"temperature": 2.0, "architecture": "a", "classes": ["a", "b", "c"], "crop": {"scale": 1.0}}
    prior = {"training": [0.6, 0.3, 0.1], "assumed": [0.2, 0.3, 0.5]}
    plain = ClassProbabilities(**settings)(logits).numpy()
    moved = ClassProbabilities(**settings, prior=prior)(logits).numpy()
    wanted = change_prior(plain, np.array(prior["training"]), np.array(prior["assumed"]))
    np.testing.assert_allclose(moved, wanted, atol=1e-6)
    # A head saved before priors were kept has no such setting.
    old = ClassProbabilities(**settings).get_config()
    del old["prior"], old["softening"]
    np.testing.assert_array_equal(ClassProbabilities.from_config(old)(logits).numpy(), plain)


# Sharpness


@pytest.fixture(scope="module")
def portraits():
    """Crops of the camera man and the astronaut at many places, uint8 [N, 48, 48, 1]."""
    grey = [data.camera(), data.astronaut()[..., 1]]
    pieces = [
        picture[y : y + 96 : 2, x : x + 96 : 2]
        for picture in grey
        for y in range(20, 400, 70)
        for x in (60, 180)
    ]
    return np.stack(pieces)[..., None]


def test_sharpness_falls_with_size_and_with_blur(portraits):
    by_size = [np.median(sharpness(shrunk(portraits, size))) for size in (48, 24, 16, 12, 8)]
    by_blur = [np.median(sharpness(blurred(portraits, sigma))) for sigma in (0.3, 1, 2, 4)]
    assert by_size == sorted(by_size, reverse=True)
    assert by_blur == sorted(by_blur, reverse=True)
    assert min(by_size[0] - by_size[-1], by_blur[0] - by_blur[-1]) > 0.5


def test_sharpness_does_not_depend_on_light_or_neighbours(portraits):
    sharp = sharpness(portraits)
    assert sharp.dtype == np.float32
    dimmed = np.round(portraits * 0.6 + 60).astype(np.uint8)
    np.testing.assert_allclose(sharpness(dimmed), sharp, atol=0.1)
    np.testing.assert_array_equal(sharpness(portraits[3:5]), sharp[3:5])
    in_colour = np.repeat(portraits, 3, axis=3)
    np.testing.assert_allclose(sharpness(in_colour), sharp, atol=1e-5)
    assert np.isfinite(sharpness(np.zeros((1, 48, 48, 1), np.uint8))).all()
    assert sharpness(portraits[:0]).shape == (0,)


def test_a_large_crop_is_as_sharp_as_the_same_one_small(portraits):
    large = np.stack([np.kron(crop[..., 0], np.ones((2, 2), np.uint8)) for crop in portraits])[..., None]
    np.testing.assert_allclose(sharpness(large), sharpness(portraits), atol=1e-5)


def test_softening_is_a_temperature_below_the_knee():
    probabilities = np.array([[0.7, 0.2, 0.1]] * 3, np.float32)
    soft = soften(probabilities, np.array([-1.0, -2.0, -3.0]), Softening(knee=-2.0, slope=np.log(2)))
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft[:2], probabilities[:2], rtol=1e-6)
    root = np.sqrt(probabilities[2])
    np.testing.assert_allclose(soft[2], root / root.sum(), rtol=1e-6)


def test_softening_is_found_again():
    rng = np.random.default_rng(0)
    true = Softening(knee=-1.5, slope=1.2)
    scores = rng.normal(0, 2, (20_000, 3))
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    sharp = rng.uniform(-3, -1, len(scores))
    honest = soften(probabilities, sharp, true).astype(np.float64)
    truth = (rng.random((len(scores), 1)) > honest.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    found = fit_softening(probabilities, sharp, truth)
    assert found.knee == pytest.approx(true.knee, abs=0.15)
    assert found.slope == pytest.approx(true.slope, abs=0.15)


# Calibration anew


@pytest.fixture(scope="module")
def overconfident(tmp_path_factory):
    return save_untrained_model(tmp_path_factory.mktemp("model") / "tiny.keras")


def test_a_model_is_calibrated_anew(overconfident, portraits, tmp_path):
    model = keras.models.load_model(overconfident)
    truth = np.arange(len(portraits)) % 7
    prior = np.array([2, 1, 1, 6, 3, 2, 5])
    recalibrate(model, portraits, truth, prior, tau=0.5).save(tmp_path / "new.keras")
    spec = find_model(str(tmp_path / "new.keras")).spec
    np.testing.assert_allclose(spec.prior, flattened_prior(prior, 0.5))
    assert (spec.architecture, spec.classes) == ("cnn48", load_classifier(str(overconfident)).spec.classes)
    assert spec.softening.slope >= 0
    answers = load_classifier(str(tmp_path / "new.keras")).predict(portraits)
    old = model.predict(portraits, verbose=0)
    # Labels at random: the likeliest answer is nearly the prior, where the old one was sure of itself.
    assert old.max(axis=1).mean() > 0.5
    assert answers.max(axis=1).mean() < 0.35


def test_softening_acts_on_unsharp_crops_alone(overconfident, portraits, tmp_path):
    model = keras.models.load_model(overconfident)
    head = model.layers[-1]
    settings = head.get_config() | {"softening": {"knee": -2.0, "slope": 1.0}}
    keras.Model(model.input, ClassProbabilities.from_config(settings)(head.input)).save(
        tmp_path / "soft.keras"
    )
    crops = np.concatenate([portraits, shrunk(portraits, 8)])
    soft, hard = (
        load_classifier(str(path)).predict(crops) for path in (tmp_path / "soft.keras", overconfident)
    )
    sharp = sharpness(crops) >= -2
    assert 0 < sharp.sum() < len(crops)
    np.testing.assert_allclose(soft[sharp], hard[sharp], atol=1e-6)
    assert (soft[~sharp].max(axis=1) < hard[~sharp].max(axis=1)).all()
    np.testing.assert_array_equal(soft.argmax(axis=1), hard.argmax(axis=1))


def test_foreign_models_and_empty_classes_are_refused(overconfident, portraits):
    model = keras.models.load_model(overconfident)
    truth = np.zeros(len(portraits), int)
    with pytest.raises(ValueError, match="Every class needs a share above 0"):
        recalibrate(model, portraits, truth, np.array([1, 1, 1, 1, 1, 1, 0]))
    with pytest.raises(ValueError, match="saved by affectline train"):
        recalibrate(keras.Model(model.input, model.layers[-1].input), portraits, truth, np.ones(7))
