"""Heads joined into one answer."""

import numpy as np
import pytest

from models.training.join import FLOOR, HeldOut, Join, choose_join, cross_validated, fit_join, merit

CLASSES = 3


def held_out(knows, count=900, seed=0):
    """Two heads of which one knows a set of pictures better; every third picture is of class 0."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % CLASSES
    logits = rng.normal(size=(2, count, CLASSES)) + np.eye(CLASSES)[truth] * 0.5
    logits[knows] += np.eye(CLASSES)[truth] * 1.5
    return HeldOut(logits, truth)


def test_logits_are_joined_by_each_heads_matrix():
    logits = np.array([[[1.0, 2.0]], [[3.0, -1.0]]])
    matrices = np.array([np.eye(2), [[0, 1], [2, 0]]])
    join = Join(matrices, np.array([0.5, 0.0]), np.array([0.5, 0.5]), 0.5, 0.0)
    np.testing.assert_allclose(join.logits(logits), [[1 - 2 + 0.5, 2 + 3]])


def test_joined_kernels_and_biases_give_the_joined_logits():
    rng = np.random.default_rng(0)
    features, kernels, biases = rng.normal(size=(4, 6)), rng.normal(size=(2, 6, 3)), rng.normal(size=(2, 3))
    join = fit_join(held_out(0), held_out(1, seed=1), 0.5, 0.0)
    logits = features @ kernels + biases[:, None]
    joined = features @ join.kernel(kernels) + join.logits(biases[:, None])[0]
    np.testing.assert_allclose(joined, join.logits(logits))


def test_the_prior_is_that_of_the_pictures_as_they_count():
    ferplus = held_out(0).take(np.arange(900) % 9 < 4)  # of classes 0, 1, 2, 0
    affect7 = held_out(1)
    frequencies, even = np.array([0.5, 0.25, 0.25]), np.full(3, 1 / 3)
    for share, evenness, of_ferplus in ((0.5, 0.0, frequencies), (0.8, 1.0, even)):
        join = fit_join(ferplus, affect7, share, evenness)
        np.testing.assert_allclose(join.prior, share * of_ferplus + (1 - share) * even)


def test_each_set_is_answered_better_the_more_it_counts():
    sets = held_out(0), held_out(1, seed=1)
    right = np.array(
        [
            [(answers == part.truth).mean() for answers, part in zip(said, sets, strict=True)]
            for said in (cross_validated(sets, share, 0.0) for share in (0.05, 0.5, 0.95))
        ]
    )
    assert (np.diff(right[:, 0]) > 0).all()
    assert (np.diff(right[:, 1]) < 0).all()


def test_what_one_head_adds_to_all_its_logits_says_nothing():
    ferplus, affect7 = held_out(0), held_out(1, seed=1)
    join = fit_join(ferplus, affect7, 0.5, 0.0)
    shifted = ferplus.logits + np.array([5.0, -3.0])[:, None, None]
    np.testing.assert_allclose(join.logits(shifted), join.logits(ferplus.logits), atol=1e-9)


def test_the_floor_comes_before_all_else():
    truth = np.arange(300) % 3
    good, bad = truth.copy(), truth.copy()
    bad[:150] = (truth[:150] + 1) % 3
    sets = HeldOut(np.zeros((1, 300, 3)), truth), HeldOut(np.zeros((1, 300, 3)), truth)
    assert merit(sets, (good, bad))[0] == FLOOR
    assert merit(sets, (good, bad)) > merit(sets, (bad, good))
    assert merit(sets, (good, good)) > merit(sets, (good, bad))


def test_a_join_is_chosen_and_fitted_on_all():
    ferplus, affect7 = held_out(0), held_out(1, seed=1)
    join = choose_join(ferplus, affect7)
    again = fit_join(ferplus, affect7, join.share, join.evenness)
    np.testing.assert_array_equal(join.matrices, again.matrices)
    assert join.prior.sum() == pytest.approx(1)
