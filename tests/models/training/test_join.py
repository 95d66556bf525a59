"""Heads joined into one answer."""

import numpy as np
import pytest

from models.training.join import FLOOR, HeldOut, Join, all_joins, answers, choose_join, joined, joined_prior

EVEN = np.full(3, 1 / 3)


def test_logits_are_weighed_by_shares():
    logits = {"a": np.array([[1.0, 2, 3]]), "b": np.array([[0.0, 4, -1]]), "c": np.array([[9.0, 9, 9]])}
    np.testing.assert_allclose(joined(logits, {"a": 0.25, "b": 0.75}), [[0.25, 3.5, 0.0]])


def test_the_joined_prior_is_the_geometric_mean():
    priors = {"a": np.array([0.8, 0.1, 0.1]), "b": EVEN}
    root = np.sqrt(priors["a"])
    np.testing.assert_allclose(joined_prior(priors, {"a": 0.5, "b": 0.5}), root / root.sum())
    np.testing.assert_allclose(joined_prior(priors, {"a": 1.0}), priors["a"])


def test_joined_logits_are_the_product_of_what_heads_say():
    rng = np.random.default_rng(0)
    logits = {"a": rng.normal(size=(5, 3)), "b": rng.normal(size=(5, 3))}

    def probabilities(scores):
        return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)

    product = probabilities(logits["a"]) ** 0.3 * probabilities(logits["b"]) ** 0.7
    together = probabilities(joined(logits, {"a": 0.3, "b": 0.7}))
    np.testing.assert_allclose(product / product.sum(axis=1, keepdims=True), together)


def test_tau_takes_the_prior_out():
    priors, logits = {"a": np.array([0.8, 0.1, 0.1])}, {"a": np.log([[0.6, 0.3, 0.1]])}
    said = [int(answers(logits, priors, Join({"a": 1.0}, tau))[0]) for tau in (0, 1)]
    assert said == [0, 1]  # 0.6 is the most; 0.3 / 0.1 is more than 0.6 / 0.8
    assert answers(logits, priors, Join({"a": 1.0}, 0.0)).dtype == np.int64


def test_every_join_sums_to_one():
    joins = list(all_joins(("a", "b", "c")))
    assert len(joins) == 66 * 11
    assert all(sum(join.shares.values()) == pytest.approx(1) for join in joins)


def test_the_chosen_join_is_best_where_it_keeps_the_floor():
    """One head knows FER+'s pictures, the other affect7's; the third knows nothing."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 600)
    priors = {"ferplus": np.array([0.5, 0.3, 0.2]), "affect7": EVEN, "none": EVEN}

    def said(knows):
        right = np.eye(3)[truth] * 2
        return {
            head: rng.normal(size=(len(truth), 3)) + (right if head == knows else 0)
            for head in ("ferplus", "affect7", "none")
        }

    ferplus, affect7 = HeldOut(said("ferplus"), truth), HeldOut(said("affect7"), truth)
    join = choose_join(ferplus, affect7, priors)
    assert join.shares["none"] <= 0.1
    assert 0 < join.shares["affect7"] < 1
    reached = (answers(ferplus.logits, priors, join) == truth).mean()
    best = max((answers(ferplus.logits, priors, other) == truth).mean() for other in all_joins(tuple(priors)))
    assert reached >= min(FLOOR, best)
