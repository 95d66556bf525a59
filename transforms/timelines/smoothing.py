"""Less flicker: one track's probabilities over time, smoothed five ways.

Everything is in seconds and looks only at times and probabilities, so a result does not depend on
how the video was cut or how often it was sampled. A caller smooths one track at a time, and a track
lies within one shot; nothing can leak from one to another.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.classify.prior import change_prior
from schemas.errors import UsageError
from schemas.settings import WINDOWS_S

Floats = NDArray[np.float64]


class SmoothingMethod(NamedTuple):
    """One way to smooth, and the window it uses when none is asked for."""

    window_s: float
    meaning: str  # of the window, in a line


SMOOTHING_METHODS: Final = {
    "hmm": SmoothingMethod(
        WINDOWS_S["hmm"], "mean time an emotion lasts, for a hidden Markov model (forward-backward)"
    ),
    "ema": SmoothingMethod(WINDOWS_S["ema"], "time constant of an exponential average over both directions"),
    "median": SmoothingMethod(WINDOWS_S["median"], "width of the running median, centred"),
    "mode": SmoothingMethod(
        WINDOWS_S["mode"], "width of the vote over the latest predictions, the present one last"
    ),
    "none": SmoothingMethod(0.0, "not used: the probabilities stay as they are"),
}

_EVIDENCE_S: Final = 0.4  # samples closer than this mostly repeat each other and count for less
_LASTING: Final = 0.2  # how likely it is that the classifier misreads the face for as long as it looks so
_FLOOR: Final = 1e-6  # no class is ever ruled out by one sample
_US: Final = 1e-6


def smooth(
    method: str,
    time_us: NDArray[np.int64],
    probabilities: NDArray[np.float32],
    window_s: float | None = None,
    prior: Sequence[float] | None = None,
) -> NDArray[np.float32]:
    """The probabilities of one track, smoothed: float32 [n, classes], rows sum to 1.

    `time_us` int64 [n] ascending, microseconds; `probabilities` float32 [n, classes], calibrated, rows
    sum to 1; `window_s` seconds above 0, None for the method's own in SMOOTHING_METHODS; `prior` the
    shares of the classes that the probabilities assume, None for even ones. `hmm` takes every class for
    equally likely at first; the other methods keep the prior of what they are given. Raises ValueError
    for an unknown method, a window that is not positive, times that do not ascend, or shapes that do
    not fit.
    """
    if method not in SMOOTHING_METHODS:
        raise UsageError(f"'{method}' is not a way to smooth; choose one of {', '.join(SMOOTHING_METHODS)}.")
    window = SMOOTHING_METHODS[method].window_s if window_s is None else window_s
    if method != "none" and not 0 < window < np.inf:
        raise UsageError(f"The smoothing window is {window} seconds; it must be above 0.")
    if probabilities.ndim != 2 or time_us.shape != probabilities.shape[:1]:
        raise ValueError(
            f"Smoothing needs one time for each row of probabilities, not shapes {time_us.shape} "
            f"and {probabilities.shape}."
        )
    if (np.diff(time_us) < 0).any():
        raise ValueError("Samples must be in the order of their times: sort them before smoothing.")
    if method == "hmm" and prior is not None:
        # A prior may count once. Left in, it would count at every sample anew.
        probabilities = change_prior(probabilities, np.asarray(prior), np.ones(len(prior)))
    if method == "none" or len(time_us) < 2:
        return probabilities.astype(np.float32)
    smoothed = _FUNCTIONS[method](time_us, probabilities.astype(np.float64), window)
    total: Floats = smoothed.sum(axis=1, keepdims=True)
    return (smoothed / total).astype(np.float32)


def _hmm(time_us: NDArray[np.int64], probabilities: Floats, window_s: float) -> Floats:
    """Posteriors of a hidden Markov model whose state is the emotion (forward-backward).

    Between samples the state is kept with probability exp(-dt / window), else drawn anew from all
    classes alike, so after a long gap nothing is remembered. A sample's evidence is its calibrated
    posterior under that same even prior. See Rabiner, "A tutorial on hidden Markov models" (1989).

    That model takes errors to come and go by themselves. Some last as long as the look on the face, and
    no number of samples makes those less likely: for them the plain average around the sample counts.
    """
    classes = probabilities.shape[1]
    stay = np.exp(-np.diff(time_us) * _US / window_s)
    evidence = np.maximum(probabilities, _FLOOR) ** _share(time_us)[:, None]
    anew = (1.0 - stay) / classes
    forward = _filter(evidence, stay, anew)
    backward = _filter(evidence[::-1], stay[::-1], anew[::-1])[::-1]
    # Both filters saw the sample itself; its evidence may count once only.
    posterior = forward * backward / evidence
    posterior /= posterior.sum(axis=1, keepdims=True)
    average = _ema(time_us, probabilities, SMOOTHING_METHODS["ema"].window_s)
    return (1 - _LASTING) * posterior + _LASTING * average


def _filter(evidence: Floats, stay: Floats, anew: Floats) -> Floats:
    """Each state's probability given the evidence up to and including each sample, [n, classes]."""
    states = np.empty_like(evidence)
    state = evidence[0] / evidence[0].sum()
    states[0] = state
    for k in range(1, len(evidence)):
        state = (state * stay[k - 1] + anew[k - 1]) * evidence[k]
        state /= state.sum()
        states[k] = state
    return states


def _share(time_us: NDArray[np.int64]) -> Floats:
    """How much of a full opinion each sample is, [n] up to 1: ten looks at one moment are not ten."""
    gaps = np.minimum(np.diff(time_us) * _US / _EVIDENCE_S, 1.0)
    shares: Floats = 0.5 * (np.append(1.0, gaps) + np.append(gaps, 1.0))
    return shares


def _ema(time_us: NDArray[np.int64], probabilities: Floats, window_s: float) -> Floats:
    """Weights exp(-|dt| / window) on every sample of the track, before and after."""
    decay = np.exp(-np.diff(time_us) * _US / window_s)
    weighted = np.column_stack([probabilities, np.ones(len(time_us))])
    total = _leaky_sum(weighted, decay) + _leaky_sum(weighted[::-1], decay[::-1])[::-1] - weighted
    return total[:, :-1] / total[:, -1:]


def _leaky_sum(values: Floats, decay: Floats) -> Floats:
    """Running sums that decay between rows: out[k] = out[k - 1] * decay[k - 1] + values[k]."""
    sums = values.copy()
    for k in range(1, len(values)):
        sums[k] += sums[k - 1] * decay[k - 1]
    return sums


def _median(time_us: NDArray[np.int64], probabilities: Floats, window_s: float) -> Floats:
    """Each class's median within half a window to either side, scaled to sum to 1."""
    half = round(window_s / 2 / _US)
    first = np.searchsorted(time_us, time_us - half, side="left")
    last = np.searchsorted(time_us, time_us + half, side="right")
    medians = np.empty_like(probabilities)
    for width in np.unique(last - first):
        rows = np.flatnonzero(last - first == width)
        for part in np.array_split(rows, 1 + len(rows) * width // 1_000_000):
            medians[part] = np.median(probabilities[first[part, None] + np.arange(width)], axis=1)
    nowhere = medians.sum(axis=1) == 0  # no class had probability in half of the window
    medians[nowhere] = probabilities[nowhere]
    return medians


def _mode(time_us: NDArray[np.int64], probabilities: Floats, window_s: float) -> Floats:
    """Each class's share of the predictions in the window up to now; a tie goes to the more probable."""
    first = np.searchsorted(time_us, time_us - round(window_s / _US), side="right")
    last = np.arange(1, len(time_us) + 1)
    votes = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)]
    running = np.concatenate([np.zeros_like(votes[:1]), np.cumsum(votes + 1e-6 * probabilities, axis=0)])
    counts: Floats = running[last] - running[first]
    return counts


_FUNCTIONS: Final[dict[str, Callable[[NDArray[np.int64], Floats, float], Floats]]] = {
    "hmm": _hmm,
    "ema": _ema,
    "median": _median,
    "mode": _mode,
}
