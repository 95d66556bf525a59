"""What each way to smooth does to timelines whose emotions are known.

    python benchmarks/smoothing.py --data FER2013.parquet [--model default] [--rates 2 5 10] [--sweep]
        [--affect7 affect7.parquet --split split.npz] [--neutral 0.7]

Builds tracks of labelled pictures: emotions that last a second to several (log-normal, median 2.5 s),
each shown by random pictures of that emotion, a new one every 0.4 s on average. Samples are missed
(8 %, and now and then for a second), shaken (±20 % of a step) and wrong (5 % outliers: a picture of any
emotion). `--evenness` says whether emotions are as frequent as among the pictures (0), equally frequent (1)
or between (shares ** (1 - evenness)); `--neutral` what part of them is neutral, the others sharing the rest
as before. Prints for every method: accuracy per sample, macro recall, F1 of
segments that overlap the true ones by 10, 25 and 50 % (one to one, as in Lea et al. 2017), flips per minute
(the truth's beside it), how long after a true change the new emotion is first shown, the share of true
segments never shown, the log loss and the calibration error of `confidence`, as the Markdown table that
stands in docs/tracking.md.

The pictures are those of a FER2013 file with FER+ votes, of its `PublicTest` part. Their probabilities are
the named model's, or the .keras file's; without one they are simulated from each picture's votes, so that
about three in four are right, and calibrated by one temperature. "Prior left in" is what `hmm` would do if
it took the model's probabilities as they are; "prior learnt" weighs the smoothed probabilities by shares of
the classes that EM finds in the track, pulled firmly to even ones. `--affect7` takes instead the faces from
the web that training held out (the split.npz of `models.training.train_default`), as affect7 labels them.
`--sweep` tries many windows, and
`--held-out` takes the tenth of the `Training` part that training holds out: windows are chosen on that.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.calibration import calibration_error
from models.classify.classifier import load_classifier
from models.classify.prior import change_prior
from models.classify.spec import find_model
from models.training.data import HELD_OUT, held_out_rows, read_parquet, read_training
from schemas.emotions import EMOTIONS
from transforms.timelines.smoothing import SMOOTHING_METHODS, smooth

Floats = NDArray[np.float64]

MEDIAN_S, SPREAD = 2.5, 0.6  # of how long an emotion lasts, log-normal
MISSED, GAP_EVERY_S, GAP_S = 0.08, 20.0, 1.0
OUTLIERS, SHAKE = 0.05, 0.2
PULL: Final = 20  # even looks that a prior learnt from a track starts with
EM_STEPS: Final = 20
OVERLAPS: Final = (0.10, 0.25, 0.50)
SWEEP: Final = {
    "hmm": (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0),
    "ema": (0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
    "median": (0.4, 0.8, 1.0, 1.2, 1.6, 2.0, 2.4, 3.0),
    "mode": (0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0),
    "none": (0.0,),
}


@dataclass
class Pool:
    """Pictures to show: the label of each, and what the classifier says, rows sum to 1."""

    labels: NDArray[np.int64]
    probabilities: Floats
    prior: tuple[float, ...] | None  # that the probabilities assume


@dataclass
class Track:
    """One face over time; `truth` is an index into EMOTIONS."""

    time_us: NDArray[np.int64]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]


def load_pool(path: Path, model: str | None, held_out: bool, rng: np.random.Generator) -> Pool:
    """The pictures with a clear majority among the seven emotions: of PublicTest, or those held out."""
    faces = read_training(path) if held_out else read_parquet(path, "PublicTest")
    if held_out:
        faces = faces.take(held_out_rows(faces.images, HELD_OUT))
    faces = faces.take(faces.agreed & (faces.votes.max(axis=1) > 5))
    labels = faces.ferplus
    if model is None:
        return Pool(labels, _simulated(faces.votes.astype(np.float64), labels, rng), None)
    return Pool(labels, _predicted(faces.images, model), find_model(model).spec.prior)


def load_web_pool(path: Path, split: Path, model: str) -> Pool:
    """The faces of affect7 that training held out."""
    spec = find_model(model).spec
    faces = read_parquet(path, "all", spec.input_size, spec.channels)
    with np.load(split) as uses:
        faces = faces.take(uses["web_use"] == 1)
    return Pool(faces.fer2013, load_classifier(model).predict(faces.images).astype(np.float64), spec.prior)


def _simulated(counts: Floats, labels: NDArray[np.int64], rng: np.random.Generator) -> Floats:
    """A classifier that mostly sees what the taggers saw."""
    logits = np.log(counts / counts.sum(axis=1, keepdims=True) + 0.05)
    logits += rng.normal(0, 1.25, logits.shape)

    def at(temperature: float) -> Floats:
        powers = np.exp(logits / temperature)
        softer: Floats = powers / powers.sum(axis=1, keepdims=True)
        return softer

    def loss(temperature: float) -> float:
        return -float(np.log(at(temperature)[np.arange(len(labels)), labels]).mean())

    return at(minimize_scalar(loss, bounds=(0.1, 10.0), method="bounded").x)


def _predicted(images: NDArray[np.uint8], model: str) -> Floats:
    """What the model says of grey pictures [n, 48, 48, 1]."""
    classifier = load_classifier(model)
    if classifier.spec.classes != EMOTIONS:
        raise ValueError(f"Model '{model}' does not know the seven emotions: choose one that does.")
    size = classifier.spec.input_size
    crops = np.stack([cv2.resize(image, (size, size)) for image in images])
    return classifier.predict(np.repeat(crops[..., None], classifier.spec.channels, axis=-1)).astype(
        np.float64
    )


def make_track(
    pool: Pool, seconds: float, rate: float, hold_s: float, share: Floats, rng: np.random.Generator
) -> Track:
    """One face for `seconds`, sampled `rate` times a second, every picture held for `hold_s` on average.

    `share`: float [7], how frequent each emotion is, the same twice running left out.
    """
    by_label = [np.flatnonzero(pool.labels == label) for label in range(len(EMOTIONS))]
    time = (np.arange(int(seconds * rate)) + rng.uniform(-SHAKE, SHAKE, int(seconds * rate))) / rate
    seen = rng.random(len(time)) >= MISSED
    for gap in np.arange(rng.uniform(0, GAP_EVERY_S), seconds, GAP_EVERY_S):
        seen &= (time < gap) | (time > gap + GAP_S)
    time = np.sort(time[seen] - time.min())

    starts, emotions = [0.0], [int(rng.choice(len(EMOTIONS), p=share))]
    while starts[-1] < seconds:
        starts.append(starts[-1] + float(np.clip(rng.lognormal(np.log(MEDIAN_S), SPREAD), 0.6, 15.0)))
        others = share * (np.arange(len(EMOTIONS)) != emotions[-1])
        emotions.append(int(rng.choice(len(EMOTIONS), p=others / others.sum())))
    truth = np.array(emotions)[np.searchsorted(starts, time, side="right") - 1]

    pictures = np.empty(len(time), np.int64)
    for k, label in enumerate(truth):
        changed = k == 0 or truth[k - 1] != label
        if changed or rng.random() > np.exp(-(time[k] - time[k - 1]) / max(hold_s, 1e-9)):
            shown = rng.choice(by_label[label])
        pictures[k] = shown
    wrong = rng.random(len(time)) < OUTLIERS
    pictures[wrong] = rng.integers(0, len(pool.labels), wrong.sum())
    return Track(np.rint(time * 1e6).astype(np.int64), truth, pool.probabilities[pictures].astype(np.float32))


def _segments(labels: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(label, first, last + 1) of each run."""
    cuts = np.concatenate([[0], np.flatnonzero(np.diff(labels)) + 1, [len(labels)]])
    return [(int(labels[a]), int(a), int(b)) for a, b in pairwise(cuts)]


def _matches(truth: list[tuple[int, int, int]], shown: list[tuple[int, int, int]], overlap: float) -> int:
    """How many shown segments claim a true one of their label, each true one once."""
    taken: set[int] = set()
    first = 0
    for label, a, b in shown:
        while first < len(truth) and truth[first][2] <= a:
            first += 1
        best, best_iou = -1, 0.0
        for i in range(first, len(truth)):
            other, c, d = truth[i]
            if c >= b:
                break
            iou = (min(b, d) - max(a, c)) / (max(b, d) - min(a, c))
            if other == label and iou > best_iou:
                best, best_iou = i, iou
        if best >= 0 and best_iou >= overlap and best not in taken:
            taken.add(best)
    return len(taken)


def shares(pool: Pool, evenness: float, neutral: float | None) -> Floats:
    """How frequent each emotion is in the tracks; see the top of this file."""
    counts = np.bincount(pool.labels, minlength=len(EMOTIONS))
    share: Floats = counts.astype(np.float64) ** (1.0 - evenness)
    if neutral is not None:
        at = EMOTIONS.index("neutral")
        share[at] = 0
        share *= (1 - neutral) / share.sum()
        share[at] = neutral
    share /= share.sum()
    return share


def learnt_prior(smoothed: Floats, seconds: float) -> Floats:
    """The classes' shares in a track by EM, [7]: of looks that last MEDIAN_S, and of PULL more, even ones."""
    looks = max(seconds / MEDIAN_S, 1.0)
    even = np.full(smoothed.shape[1], 1 / smoothed.shape[1])
    found = even
    for _ in range(EM_STEPS):
        counted = change_prior(smoothed, even, found).mean(axis=0)
        found = (looks * counted + PULL * even) / (looks + PULL)
    return found


HEADER: Final = """
| rate | method | accuracy | macro recall | F1@10 | F1@25 | F1@50 | flips/min (true) | delay | never shown | log loss | ECE |
|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def evaluate(
    tracks: list[Track], method: str, window_s: float, prior: Sequence[float] | None, learnt: bool = False
) -> str:
    """The cells of one row of the table, from the accuracy on; `learnt`: weigh by `learnt_prior`."""
    hits: list[NDArray[np.bool_]] = []
    truths: list[NDArray[np.int64]] = []
    shown_as: list[NDArray[np.float32]] = []
    tp = np.zeros(len(OVERLAPS))
    n_true = n_shown = flips = changes = never = 0
    minutes = loss = 0.0
    delays: list[float] = []
    for track in tracks:
        smoothed = smooth(method, track.time_us, track.probabilities, window_s or None, prior)
        if learnt:
            seconds = (track.time_us[-1] - track.time_us[0]) / 1e6
            even = np.ones(len(EMOTIONS))
            found = learnt_prior(smoothed.astype(np.float64), seconds)
            smoothed = change_prior(smoothed, even, found).astype(np.float32)
        shown = smoothed.argmax(axis=1)
        hits.append(shown == track.truth)
        truths.append(track.truth)
        shown_as.append(smoothed)
        chosen = smoothed[np.arange(len(shown)), track.truth]
        loss -= float(np.log(np.maximum(chosen, 1e-6)).sum())
        true_segments, shown_segments = _segments(track.truth), _segments(shown)
        tp += [_matches(true_segments, shown_segments, overlap) for overlap in OVERLAPS]
        n_true += len(true_segments)
        n_shown += len(shown_segments)
        flips += len(shown_segments) - 1
        changes += len(true_segments) - 1
        minutes += (track.time_us[-1] - track.time_us[0]) / 60e6
        for label, a, b in true_segments[1:]:
            at = np.flatnonzero(shown[a:b] == label)
            if len(at):
                delays.append((track.time_us[a + at[0]] - track.time_us[a]) / 1e6)
            else:
                never += 1
    hit, truth = np.concatenate(hits), np.concatenate(truths)
    recall = np.mean([hit[truth == label].mean() for label in np.unique(truth)])
    f1 = 2 * tp / (n_true + n_shown)
    cells = [f"{value:.3f}" for value in (hit.mean(), recall, *f1)]
    cells += [f"{flips / minutes:.1f} ({changes / minutes:.1f})", f"{np.mean(delays):.2f}s"]
    error = calibration_error(truth, np.concatenate(shown_as), np.ones(len(truth)))
    return " | ".join([*cells, f"{never / changes:.3f}", f"{loss / len(hit):.3f}", f"{error:.3f}"])


def rows(pool: Pool, rate: float, hold_s: float, share: Floats, count: int, sweep: bool) -> Iterator[str]:
    """The table's rows for one rate of sampling."""
    rng = np.random.default_rng(1)
    tracks = [make_track(pool, 120.0, rate, hold_s, share, rng) for _ in range(count)]
    for method, (default, _) in SMOOTHING_METHODS.items():
        for window_s in SWEEP[method] if sweep else (default,):
            cells = evaluate(tracks, method, window_s, pool.prior)
            yield f"| {rate:g}/s | {method} {window_s:g}s | {cells} |"
            if method == "hmm":
                cells = evaluate(tracks, method, window_s, pool.prior, learnt=True)
                yield f"| {rate:g}/s | {method} {window_s:g}s, prior learnt | {cells} |"
            if method == "hmm" and pool.prior is not None:
                cells = evaluate(tracks, method, window_s, None)
                yield f"| {rate:g}/s | {method} {window_s:g}s, prior left in | {cells} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--rates", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    parser.add_argument("--hold", type=float, default=0.4, help="seconds a picture stays (0: a new one each)")
    parser.add_argument("--evenness", type=float, default=0.5, help="of emotions (0: as the pictures)")
    parser.add_argument("--neutral", type=float, help="share of neutral among them")
    parser.add_argument("--affect7", type=Path)
    parser.add_argument("--split", type=Path)
    parser.add_argument("--tracks", type=int, default=30)
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--held-out", action="store_true")
    args = parser.parse_args()
    if args.affect7:
        pool = load_web_pool(args.affect7, args.split, args.model or "default")
    else:
        pool = load_pool(args.data, args.model, args.held_out, np.random.default_rng(0))
    share = shares(pool, args.evenness, args.neutral)
    right = (pool.probabilities.argmax(axis=1) == pool.labels).mean()
    print(f"{len(pool.labels)} pictures, {right:.3f} of them right by {args.model or 'simulation'};")
    print(f"{args.tracks} tracks of 120 s, a picture held {args.hold:g} s on average\n{HEADER}")
    for rate in args.rates:
        for row in rows(pool, rate, args.hold, share, args.tracks, args.sweep):
            print(row)


if __name__ == "__main__":
    main()
