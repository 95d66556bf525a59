"""Class priors: how frequent each class is taken to be, and what that does to probabilities."""

import numpy as np
from numpy.typing import NDArray


def change_prior(probabilities: np.ndarray, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """What the same evidence says where the classes are more or less frequent: p(c) new(c) / old(c), scaled.

    probabilities: float [..., K], calibrated where the classes' shares are `old`, rows sum to 1.
    old, new: float [K], shares of the classes, or any multiple of them; `old` is above 0 everywhere.

    Returns float64 [..., K], rows sum to 1. Raises ValueError for other shapes, negative or missing
    shares, and a row whose classes `new` all rules out. See Saerens et al., "Adjusting the outputs of a
    classifier to new a priori probabilities" (2002).
    """
    old, new = np.asarray(old, np.float64), np.asarray(new, np.float64)
    classes = np.shape(probabilities)[-1:]
    if old.shape != classes or new.shape != classes:
        raise ValueError(f"Give one share a class: {classes[0]} of each, not {old.shape} and {new.shape}.")
    if not (np.isfinite(old).all() and np.isfinite(new).all() and (old > 0).all() and (new >= 0).all()):
        raise ValueError("Shares of classes must be finite: the old ones above 0, the new ones not below.")
    weighted = np.asarray(probabilities, np.float64) * (new / old)
    total = weighted.sum(axis=-1, keepdims=True)
    if not (total > 0).all():
        raise ValueError("The new shares rule out every class that a row holds possible.")
    changed: NDArray[np.float64] = weighted / total
    return changed


def flattened_prior(shares: np.ndarray, tau: float) -> np.ndarray:
    """Shares between those given (tau 0) and even ones (tau 1): shares ** (1 - tau), scaled to sum to 1.

    To move probabilities there is to subtract tau * log(shares) from their logits (Menon et al.,
    "Long-tail learning via logit adjustment", 2021). shares: float [K], above 0. Returns float64 [K].
    """
    flat = np.asarray(shares, np.float64) ** (1 - tau)
    flattened: NDArray[np.float64] = flat / flat.sum()
    return flattened
