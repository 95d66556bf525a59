"""What a page draws: few enough rows for a browser, chosen so that no peak is lost."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.report.summarize import Track, VideoSummary, stretches

POINTS = 20_000  # rows drawn on one page
_FEWEST = 40  # of each person, however many there are


def drawn_rows(values: np.ndarray, limit: int) -> np.ndarray:
    """Rows to draw of float [n, columns]: in each of equal slices, every column's lowest and highest.

    All rows when they are no more than `limit`; else at most `limit`, or the extremes of the whole.
    """
    count = len(values)
    if count <= limit:
        return np.arange(count)
    size = max(2, count // limit)
    while True:
        padded = np.concatenate([values, np.repeat(values[-1:], -count % size, axis=0)])
        slices = padded.reshape(-1, size, values.shape[1])
        first = np.arange(len(slices))[:, None] * size
        extremes = np.concatenate([first + slices.argmin(axis=1), first + slices.argmax(axis=1)], axis=None)
        rows = np.unique(np.clip(np.append(extremes, [0, count - 1]), 0, count - 1))
        if len(rows) <= limit or size >= count:
            return rows
        size *= 2


def chart_data(summary: VideoSummary, emotions: Sequence[str], tracks: Sequence[Track]) -> dict[str, Any]:
    """A page's numbers for its charts: times in milliseconds, probabilities in thousandths."""
    total = sum(len(track.label) for track in tracks)
    share = min(1.0, POINTS / total) if total else 1.0
    return {
        "emotions": emotions,
        "known": tracks[0].known if tracks else [],
        "duration": round(1000 * (summary.video["duration_s"] or 0)),
        "gaps": [[_ms(gap.start_s), _ms(gap.end_s), gap.reason] for gap in summary.gaps],
        "shots": [_ms(start) for start in summary.shots_s],
        "people": [_person(track, max(_FEWEST, int(share * len(track.label)))) for track in tracks],
    }


def _ms(seconds: float) -> int:
    return round(1000 * seconds)


def _person(track: Track, limit: int) -> dict[str, Any]:
    rows = drawn_rows(track.smoothed[:, track.known], limit)
    time = np.rint(track.pts_us / 1000).astype(int)
    # A line breaks where the person was not seen at a sample.
    part = np.cumsum(np.diff(track.sample, prepend=track.sample[:1]) > 1)
    return {
        "id": track.track_id,
        "rows": len(track.label),
        "time": np.diff(time[rows], prepend=0).tolist(),  # steps are shorter than times
        "breaks": (np.flatnonzero(np.diff(part[rows])) + 1).tolist(),
        "smoothed": _thousandths(track.smoothed[rows], track.known),
        "raw": _thousandths(track.raw[rows], track.known),
        "bands": _bands(track, time, part, limit),
    }


def _bands(track: Track, time: np.ndarray, part: np.ndarray, limit: int) -> list[list[int]]:
    """From, to and label of each stretch; where labels flicker too much, the commonest of each slice."""
    label = track.label
    if len(list(stretches(label))) > limit:
        size = -(-len(label) // limit)
        slices = np.arange(len(label)) // size
        votes = np.zeros((slices[-1] + 1, track.smoothed.shape[1]), int)
        np.add.at(votes, (slices, label), 1)
        label = votes.argmax(axis=1)[slices]
    end = time + np.rint(track.spans * 1000).astype(int)
    bands = [
        [int(time[first]), int(end[last - 1]), int(label[first])]
        for first, last in stretches(label + track.smoothed.shape[1] * part)
    ]
    longest = sorted(bands, key=lambda band: band[0] - band[1])[:limit]
    return sorted(longest)


def _thousandths(values: np.ndarray, known: Sequence[int]) -> list[list[int]]:
    """A column for each of the emotions, empty where the model does not know it."""
    return [
        np.rint(1000 * values[:, at]).astype(int).tolist() if at in known else []
        for at in range(values.shape[1])
    ]
