"""Heads joined into one answer."""

import numpy as np
import pytest

from models.training.join import FLOOR, Heads, HeldOut, choose_join, cross_validated, fit_join, merit

CLASSES = 3
# Two heads that read three features each, and three features that neither reads.
KERNELS = np.stack([np.eye(9, CLASSES, -CLASSES * head) for head in range(2)])
HEADS = Heads(KERNELS, np.zeros((2, CLASSES)))


def held_out(knows, count=900, seed=0):
    """One head knows a set of pictures better; every third picture is of class 0. `knows` may be 2: what
    neither reads tells most.
    """
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % CLASSES
    features = rng.normal(size=(count, 9))
    for head in range(2):
        features[:, CLASSES * head : CLASSES * (head + 1)] += np.eye(CLASSES)[truth] * 0.5
    features[:, CLASSES * knows : CLASSES * (knows + 1)] += np.eye(CLASSES)[truth] * 1.5
    return HeldOut(features, truth, np.arange(count))


def right(sets, share, heads=HEADS):
    said = cross_validated(heads, sets, share, 0.0)
    return [(answers == part.truth).mean() for answers, part in zip(said, sets, strict=True)]


def test_the_prior_is_that_of_the_pictures_as_they_count():
    ferplus = held_out(0).take(np.arange(900) % 9 < 4)  # of classes 0, 1, 2, 0
    affect7 = held_out(1)
    frequencies, even = np.array([0.5, 0.25, 0.25]), np.full(3, 1 / 3)
    for share, evenness, of_ferplus in ((0.5, 0.0, frequencies), (0.8, 1.0, even)):
        join = fit_join(HEADS, ferplus, affect7, share, evenness)
        np.testing.assert_allclose(join.prior, share * of_ferplus + (1 - share) * even)


def test_each_set_is_answered_better_the_more_it_counts():
    sets = held_out(0), held_out(1, seed=1)
    by_share = np.array([right(sets, share) for share in (0.05, 0.5, 0.95)])
    assert (np.diff(by_share[:, 0]) > 0).all()
    assert (np.diff(by_share[:, 1]) < 0).all()


def test_what_no_head_tells_is_learned_too():
    sets = held_out(2), held_out(2, seed=1)
    deaf = HeldOut(sets[0].features * (np.arange(9) < 6), sets[0].truth, sets[0].picture)
    assert right(sets, 0.5)[0] > right((deaf, sets[1]), 0.5)[0] + 0.1


def test_what_one_head_adds_to_all_its_logits_says_nothing():
    ferplus, affect7 = held_out(0), held_out(1, seed=1)
    shifted = Heads(KERNELS, HEADS.biases + np.array([5.0, -3.0])[:, None])
    one, other = (fit_join(heads, ferplus, affect7, 0.5, 0.0) for heads in (HEADS, shifted))
    np.testing.assert_allclose(one.logits(ferplus.features), other.logits(ferplus.features), atol=1e-9)


def test_rows_of_one_picture_are_on_one_side():
    """Else a picture would be answered by a join that learned it in other surroundings."""
    ferplus, noise = held_out(0), np.random.default_rng(5)
    truth = noise.integers(CLASSES, size=300)
    alone = HeldOut(noise.normal(size=(300, 9)) * 5, truth, np.arange(300))
    twice = alone.joined(alone)
    said = cross_validated(HEADS, (ferplus, twice), 0.02, 0.0)[1]
    np.testing.assert_array_equal(said[:300], said[300:])
    assert (said == twice.truth).mean() < 0.5


def test_the_floor_comes_before_all_else():
    truth = np.arange(300) % 3
    good, bad = truth.copy(), truth.copy()
    bad[:150] = (truth[:150] + 1) % 3
    sets = (HeldOut(np.zeros((300, 1)), truth, np.arange(300)),) * 2
    assert merit(sets, (good, bad))[0] == FLOOR
    assert merit(sets, (good, bad)) > merit(sets, (bad, good))
    assert merit(sets, (good, good)) > merit(sets, (good, bad))


def test_a_join_is_chosen_and_fitted_on_all():
    ferplus, affect7 = held_out(0), held_out(1, seed=1)
    join = choose_join(HEADS, ferplus, affect7)
    again = fit_join(HEADS, ferplus, affect7, join.share, join.evenness)
    np.testing.assert_array_equal(join.kernel, again.kernel)
    assert join.prior.sum() == pytest.approx(1)
