"""Several heads' logits joined into one answer, chosen on pictures held out of all sets.

The join is a weighted mean of logits, each head's for the same classes, and so a head like any other: its
weights are the mean of theirs, its training prior is the geometric mean of theirs. Sums of probabilities
instead of logits were measured too: no better (docs/training-the-default.md).
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.classify.prior import flattened_prior

FLOOR: Final = 0.82  # of accuracy on FER+'s tenth
LOWEST: Final = 0.42  # recall that each class of affect7 should have
_STEPS: Final = 10  # shares and tau are tried in tenths


@dataclass(frozen=True)
class Join:
    """shares: of each head's logits, by head, summing to 1. tau: how far the answers go from the prior of the
    joined logits (0) to an even one (1).
    """

    shares: dict[str, float]
    tau: float


@dataclass(frozen=True)
class HeldOut:
    """What all heads say of held-out pictures. logits: float [N, K] by head. truth: int [N]."""

    logits: Mapping[str, np.ndarray]
    truth: np.ndarray


def joined(values: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> np.ndarray:
    """The weighted mean of what each head has: logits, kernels or biases, all of one shape."""
    return np.sum([share * values[head] for head, share in shares.items()], axis=0)


def joined_prior(priors: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> np.ndarray:
    """The prior that joined logits hold: float64 [K], summing to 1."""
    return flattened_prior(np.exp(joined({head: np.log(prior) for head, prior in priors.items()}, shares)), 0)


def answers(logits: Mapping[str, np.ndarray], priors: Mapping[str, np.ndarray], join: Join) -> np.ndarray:
    """The most probable class of each picture, int [N]. priors: float [K] by head, in training."""
    shift = join.tau * np.log(joined_prior(priors, join.shares))
    return (joined(logits, join.shares) - shift).argmax(axis=1)


def recalls(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The share of each class that occurs that is called so."""
    return np.array([(predicted[truth == k] == k).mean() for k in np.unique(truth)])


def all_joins(heads: tuple[str, ...]) -> Iterator[Join]:
    """Every join in steps of a tenth."""
    for parts in itertools.product(range(_STEPS + 1), repeat=len(heads)):
        if sum(parts) == _STEPS:
            shares = {head: part / _STEPS for head, part in zip(heads, parts, strict=True)}
            yield from (Join(shares, tau / _STEPS) for tau in range(_STEPS + 1))


def choose_join(ferplus: HeldOut, affect7: HeldOut, priors: Mapping[str, np.ndarray]) -> Join:
    """The join with the highest balanced accuracy by FER+ and accuracy by affect7 together.

    Of those that keep FLOOR by FER+, where any does; what affect7's least recalled class lacks to LOWEST
    counts against a join. priors: float [K] by head, in training.
    """

    def merit(join: Join) -> tuple[float, float]:
        said = [answers(part.logits, priors, join) for part in (ferplus, affect7)]
        right = [float((a == part.truth).mean()) for a, part in zip(said, (ferplus, affect7), strict=True)]
        balanced = float(recalls(ferplus.truth, said[0]).mean())
        lacking = max(0.0, LOWEST - float(recalls(affect7.truth, said[1]).min()))
        return min(right[0], FLOOR), balanced + right[1] - lacking

    return max(all_joins(tuple(priors)), key=merit)
