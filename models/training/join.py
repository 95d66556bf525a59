"""Several heads joined into one answer by a layer fitted on pictures held out of all sets.

Each head's logits go through a small matrix of their own, and the sum is the joined head's logits: a
logistic regression on what the heads say. All of it is linear, so the joined head is one more head of the
same body, and costs no more than one. A weighted mean of the heads was measured too: 3 points worse on
affect7's faces at the same accuracy by FER+ (docs/training-the-default.md).
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

SHARES: Final = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)  # of FER+ beside affect7, of which one is chosen
EVENNESSES: Final = (0.0, 0.15, 0.3, 0.5)  # of FER+'s classes, of which one is chosen
FLOOR: Final = 0.815  # of accuracy by FER+
LOWEST: Final = 0.42  # recall that each class of affect7 should have
_FOLDS: Final = 4
_PULL: Final = 3.0  # towards the mean of the heads, in pictures
_STEPS: Final = 100


@dataclass(frozen=True)
class HeldOut:
    """What all heads say of held-out pictures. logits: float [heads, N, K]. truth: int [N]."""

    logits: np.ndarray
    truth: np.ndarray

    def take(self, rows: np.ndarray) -> "HeldOut":
        """The pictures where this mask holds."""
        return HeldOut(self.logits[:, rows], self.truth[rows])


@dataclass(frozen=True)
class Join:
    """matrices: float [heads, K, K], by which each head's logits are multiplied. bias: float [K]. prior:
    float [K], the shares of the classes that its answers hold. share: of FER+'s pictures in the fit, the
    others being affect7's. evenness: how far FER+'s classes count from as frequent as they are (0) to
    equally (1).
    """

    matrices: np.ndarray
    bias: np.ndarray
    prior: np.ndarray
    share: float
    evenness: float

    def kernel(self, kernels: np.ndarray) -> np.ndarray:
        """What is linear in the heads, joined: float [heads, N, K], such as their kernels, to [N, K]."""
        joined: np.ndarray = np.einsum("hnk,hkc->nc", kernels, self.matrices)
        return joined

    def logits(self, logits: np.ndarray) -> np.ndarray:
        """The joined logits [N, K] of the heads' [heads, N, K]; so the joined bias of their biases."""
        joined: np.ndarray = self.kernel(logits) + self.bias
        return joined


def fit_join(ferplus: HeldOut, affect7: HeldOut, share: float, evenness: float) -> Join:
    """The join that makes the truth of both sets most likely."""
    heads, _, classes = ferplus.logits.shape
    logits = np.concatenate([ferplus.logits, affect7.logits], axis=1).astype(np.float64)
    truth = np.concatenate([ferplus.truth, affect7.truth])
    frequency = np.bincount(ferplus.truth, minlength=classes) / len(ferplus.truth)
    counts = np.maximum(frequency, 1 / len(ferplus.truth))[ferplus.truth] ** -evenness
    even = np.ones(len(affect7.truth))
    weights = np.concatenate([share * counts / counts.sum(), (1 - share) * even / even.sum()])
    # The same number added to all logits of a head says nothing.
    centre = np.eye(classes) - 1 / classes
    columns = np.concatenate([*(logits @ centre), np.ones((len(truth), 1))], axis=1)
    start = np.concatenate([np.tile(np.eye(classes) / heads, (heads, 1)), np.zeros((1, classes))])
    pull = np.append(np.full(heads * classes, _PULL / len(truth)), 0.0)[:, None]
    right = np.eye(classes)[truth]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        layer = flat.reshape(start.shape)
        scores = log_softmax(columns @ layer, axis=1)
        likelihood = -float((weights[:, None] * right * scores).sum())
        gradient = columns.T @ (weights[:, None] * (np.exp(scores) - right)) + 2 * pull * (layer - start)
        return likelihood + float((pull * (layer - start) ** 2).sum()), gradient.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    layer = found.reshape(start.shape)
    return Join(
        matrices=centre @ layer[:-1].reshape(heads, classes, classes),
        bias=layer[-1],
        prior=np.bincount(truth, weights, minlength=classes),
        share=share,
        evenness=evenness,
    )


def recalls(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The share of each class that occurs that is called so."""
    return np.array([(predicted[truth == k] == k).mean() for k in np.unique(truth)])


def cross_validated(sets: tuple[HeldOut, HeldOut], share: float, evenness: float) -> tuple[np.ndarray, ...]:
    """What joins fitted on the other folds say of each picture of both sets: int [N] each."""
    folds = [np.arange(len(part.truth)) % _FOLDS for part in sets]
    said = tuple(np.zeros(len(part.truth), np.int64) for part in sets)
    for fold in range(_FOLDS):
        ferplus, affect7 = (part.take(of != fold) for part, of in zip(sets, folds, strict=True))
        join = fit_join(ferplus, affect7, share, evenness)
        for part, of, answers in zip(sets, folds, said, strict=True):
            answers[of == fold] = join.logits(part.logits[:, of == fold]).argmax(axis=1)
    return said


def merit(sets: tuple[HeldOut, HeldOut], said: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """How good answers are: first that FLOOR is kept by FER+, then FER+'s balanced accuracy and affect7's
    accuracy together, less what affect7's least recalled class lacks to LOWEST.
    """
    right = [float((answers == part.truth).mean()) for answers, part in zip(said, sets, strict=True)]
    by_ferplus, by_affect7 = (recalls(part.truth, answers) for answers, part in zip(said, sets, strict=True))
    lacking = max(0.0, LOWEST - float(by_affect7.min()))
    return min(right[0], FLOOR), float(by_ferplus.mean()) + right[1] - lacking


def choose_join(ferplus: HeldOut, affect7: HeldOut) -> Join:
    """The join whose share and evenness have the highest merit by cross-validation, fitted on all."""
    sets = ferplus, affect7
    share, evenness = max(
        itertools.product(SHARES, EVENNESSES), key=lambda way: merit(sets, cross_validated(sets, *way))
    )
    return fit_join(ferplus, affect7, share, evenness)
