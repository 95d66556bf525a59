"""Several heads joined into one answer by a layer fitted on pictures held out of all sets.

The layer reads what the heads read. It starts from the mean of the heads, each of which it may bend by a
small matrix of its own, and may add what no head tells, the more cautiously: a logistic regression with two
pulls. All of it is linear, so the joined head is one more head of the same body, and costs no more than one.
Measured beside it (docs/training-the-default.md): the matrices alone, and weighted means of the heads.
"""

import itertools
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

SHARES: Final = (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7)  # of FER+ beside affect7, of which one is chosen
EVENNESSES: Final = (0.0, 0.15, 0.3, 0.5)  # of FER+'s classes, of which one is chosen
FLOOR: Final = 0.815  # of accuracy by FER+
LOWEST: Final = 0.42  # recall that each class of affect7 should have
_FOLDS: Final = 4
_PULL: Final = 3.0  # of the matrices towards the mean of the heads, in pictures
_FEATURE_PULL: Final = 50.0  # of what no head tells towards nothing, per standard deviation of a feature
_STEPS: Final = 200


@dataclass(frozen=True)
class Heads:
    """What the heads do with the features. kernels: float [heads, F, K]. biases: float [heads, K]."""

    kernels: np.ndarray
    biases: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[heads, N, K] of features [N, F]."""
        said: np.ndarray = features @ self.kernels + self.biases[:, None]
        return said


@dataclass(frozen=True)
class HeldOut:
    """Held-out pictures. features: float [N, F]. truth: int [N]. picture: int [N]; rows of one picture with
    other surroundings have the same number.
    """

    features: np.ndarray
    truth: np.ndarray
    picture: np.ndarray

    def take(self, rows: np.ndarray) -> "HeldOut":
        """The pictures where this mask holds."""
        return HeldOut(self.features[rows], self.truth[rows], self.picture[rows])

    def joined(self, other: "HeldOut") -> "HeldOut":
        """With the rows of another."""
        return HeldOut(
            *(np.concatenate([getattr(part, name) for part in (self, other)]) for name in vars(self))
        )


@dataclass(frozen=True)
class Join:
    """A head. kernel: float [F, K]. bias: float [K]. prior: float [K], the shares of the classes that its
    answers hold. share: of FER+'s pictures in the fit, the others being affect7's. evenness: how far FER+'s
    classes count from as frequent as they are (0) to equally (1).
    """

    kernel: np.ndarray
    bias: np.ndarray
    prior: np.ndarray
    share: float
    evenness: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[N, K] of features [N, F]."""
        said: np.ndarray = features @ self.kernel + self.bias
        return said


def fit_join(heads: Heads, ferplus: HeldOut, affect7: HeldOut, share: float, evenness: float) -> Join:
    """The join that makes the truth of both sets most likely, as far as the pulls let it."""
    count, width, classes = heads.kernels.shape
    features = np.concatenate([ferplus.features, affect7.features]).astype(np.float64)
    truth = np.concatenate([ferplus.truth, affect7.truth])
    frequency = np.bincount(ferplus.truth, minlength=classes) / len(ferplus.truth)
    counts = np.maximum(frequency, 1 / len(ferplus.truth))[ferplus.truth] ** -evenness
    even = np.ones(len(affect7.truth))
    weights = np.concatenate([share * counts / counts.sum(), (1 - share) * even / even.sum()])
    # The same number added to all logits of a head says nothing.
    centre = np.eye(classes) - 1 / classes
    centred = Heads(heads.kernels @ centre, heads.biases @ centre)
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-6
    columns = np.concatenate(
        [*centred.logits(features), (features - mean) / deviation, np.ones((len(truth), 1))], axis=1
    )
    start = np.concatenate([np.tile(np.eye(classes) / count, (count, 1)), np.zeros((width + 1, classes))])
    pulls = np.repeat([_PULL, _FEATURE_PULL, 0.0], [count * classes, width, 1])[:, None] / len(truth)
    right = np.eye(classes)[truth]

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        layer = flat.reshape(start.shape)
        scores = log_softmax(columns @ layer, axis=1)
        likelihood = -float((weights[:, None] * right * scores).sum())
        gradient = columns.T @ (weights[:, None] * (np.exp(scores) - right)) + 2 * pulls * (layer - start)
        return likelihood + float((pulls * (layer - start) ** 2).sum()), gradient.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS}).x
    layer = found.reshape(start.shape)
    matrices = layer[: count * classes].reshape(count, classes, classes)
    own = layer[count * classes : -1] / deviation[:, None]
    return Join(
        kernel=np.einsum("hfk,hkc->fc", centred.kernels, matrices) + own,
        bias=np.einsum("hk,hkc->c", centred.biases, matrices) + layer[-1] - mean @ own,
        prior=np.bincount(truth, weights, minlength=classes),
        share=share,
        evenness=evenness,
    )


def recalls(truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The share of each class that occurs that is called so."""
    return np.array([(predicted[truth == k] == k).mean() for k in np.unique(truth)])


def cross_validated(
    heads: Heads, sets: tuple[HeldOut, HeldOut], share: float, evenness: float
) -> tuple[np.ndarray, ...]:
    """What joins fitted on the other folds say of each picture of both sets: int [N] each."""
    folds = [part.picture % _FOLDS for part in sets]
    said = tuple(np.zeros(len(part.truth), np.int64) for part in sets)
    for fold in range(_FOLDS):
        ferplus, affect7 = (part.take(of != fold) for part, of in zip(sets, folds, strict=True))
        join = fit_join(heads, ferplus, affect7, share, evenness)
        for part, of, answers in zip(sets, folds, said, strict=True):
            answers[of == fold] = join.logits(part.features[of == fold]).argmax(axis=1)
    return said


def merit(sets: tuple[HeldOut, HeldOut], said: tuple[np.ndarray, ...]) -> tuple[float, float]:
    """How good answers are: first that FLOOR is kept by FER+, then FER+'s balanced accuracy and affect7's
    accuracy together, less what affect7's least recalled class lacks to LOWEST.
    """
    right = [float((answers == part.truth).mean()) for answers, part in zip(said, sets, strict=True)]
    by_ferplus, by_affect7 = (recalls(part.truth, answers) for answers, part in zip(said, sets, strict=True))
    lacking = max(0.0, LOWEST - float(by_affect7.min()))
    return min(right[0], FLOOR), float(by_ferplus.mean()) + right[1] - lacking


def choose_join(heads: Heads, ferplus: HeldOut, affect7: HeldOut) -> Join:
    """The join whose share and evenness have the highest merit by cross-validation, fitted on all."""
    sets = ferplus, affect7
    share, evenness = max(
        itertools.product(SHARES, EVENNESSES),
        key=lambda way: merit(sets, cross_validated(heads, sets, *way)),
    )
    return fit_join(heads, ferplus, affect7, share, evenness)
