"""What a run says at its end."""

from collections.abc import Iterator
from typing import Any

from pipeline.run.execute import Outcome
from schemas.emotions import EMOTIONS
from transforms.tables.rows import read_rows

_BAR_WIDTH = 28


def emotion_shares(rows: list[dict[str, Any]], out: str) -> dict[str, float]:
    """Share of the samples of all tracks that each emotion's label has, summing to 1; empty without faces.

    Emotions that no model behind these rows knows are not in it.
    """
    totals: dict[str, float] = {}
    columns = ["samples", *("share_" + emotion for emotion in EMOTIONS)]
    for row in rows:
        if not row["tracks"]:
            continue
        for track in read_rows(out, "tracks", row["video_id"], columns).to_pylist():
            for emotion in EMOTIONS:
                if (share := track["share_" + emotion]) is not None:
                    totals[emotion] = totals.get(emotion, 0.0) + track["samples"] * share
    everything = sum(totals.values())
    return {emotion: value / everything for emotion, value in totals.items()} if everything else {}


def summary(outcome: Outcome, out: str) -> Iterator[str]:
    """The lines to print after a run."""
    rows = outcome.rows
    partial = [row for row in rows if row["status"] == "partial"]
    seconds = sum(row["duration_s"] or 0 for row in rows)
    done = len(rows) - len(outcome.failed) - len(outcome.to_retry)
    notes = [
        *([f"{outcome.skipped} were done before"] if outcome.skipped else []),
        *([f"{outcome.smoothed} smoothed again from their tables"] if outcome.smoothed else []),
    ]
    yield f"videos   {done} of {len(rows)} done, {_duration(seconds)} of video" + (
        f" ({', '.join(notes)})" if notes else ""
    )
    total = {
        name: sum(row[name] for row in rows) for name in ("samples", "samples_with_face", "faces", "tracks")
    }
    yield f"samples  {total['samples']}, {total['samples_with_face']} with a face"
    yield f"faces    {total['faces']} in {total['tracks']} tracks"
    shares = emotion_shares(rows, out)
    if shares:
        yield ""
        for emotion, share in sorted(shares.items(), key=lambda item: -item[1]):
            yield f"  {emotion:<9}{share:>7.1%}  {'█' * round(share * _BAR_WIDTH)}"
    listings = {
        "Partly read": partial,
        "Failed": outcome.failed,
        "To be tried again; the same command does (after a time limit: with a larger --segment-timeout)": (
            outcome.to_retry
        ),
    }
    for title, listed in listings.items():
        if listed:
            yield ""
            yield f"{title}:"
            for row in listed:
                yield f"  {row['uri']}: {row['error']}"
    if outcome.vanished:
        yield ""
        yield "No longer there; their rows are kept:"
        yield from (f"  {uri}" for uri in outcome.vanished)
    yield ""
    yield f"Tables are in {out}. Open them with:"
    yield f"  python -c \"import pandas as pd; print(pd.read_parquet('{out}/timelines'))\""


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
