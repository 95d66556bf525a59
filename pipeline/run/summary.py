"""What a run says at its end."""

import json
import os
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.run.execute import Outcome
from pipeline.run.length import length
from schemas import VERSION
from schemas.emotions import all_emotions
from schemas.errors import UsageError, exit_code
from schemas.settings import Settings
from transforms.remote import is_remote
from transforms.tables.rows import read_rows

_BAR_WIDTH = 28


def emotion_shares(rows: list[dict[str, Any]], out: str) -> dict[str, float]:
    """Share of the samples of all tracks that each emotion's label has, summing to 1; empty without faces.

    Emotions that no model behind these rows knows are not in it.
    """
    totals: dict[str, float] = {}
    for row in rows:
        if not row["tracks"]:
            continue
        emotions = all_emotions(Settings.from_json(row["config_json"]).classes)
        columns = ["samples", *("share_" + emotion for emotion in emotions)]
        for track in read_rows(out, "tracks", row["video_id"], columns).to_pylist():
            for emotion in emotions:
                if (share := track["share_" + emotion]) is not None:
                    totals[emotion] = totals.get(emotion, 0.0) + track["samples"] * share
    everything = sum(totals.values())
    return {emotion: value / everything for emotion, value in totals.items()} if everything else {}


def _totals(rows: list[dict[str, Any]]) -> dict[str, int]:
    return {
        name: sum(row[name] for row in rows) for name in ("samples", "samples_with_face", "faces", "tracks")
    }


def summary_for_machines(outcome: Outcome, out: str) -> dict[str, Any]:
    """The same for a machine; docs/runs.md says what each key is."""
    return {
        "exit_code": outcome.exit_code,
        "version": VERSION,
        "out": out,
        "videos": len(outcome.rows),
        "done_before": outcome.skipped,
        "status": dict(sorted(Counter(row["status"] for row in outcome.rows).items())),
        "video_s": sum(row["duration_s"] or 0 for row in outcome.rows),
        **_totals(outcome.rows),
        "share": emotion_shares(outcome.rows, out),
        "problems": [
            {name: row[name] for name in ("video_id", "uri", "status", "error")}
            for row in outcome.rows
            if row["status"] != "ok"
        ],
        "vanished": list(outcome.vanished),
    }


@contextmanager
def error_for_machines(path: str | None) -> Iterator[None]:
    """When the block raises, leave its exit code and sentence in the file where the summary would be.

    UsageError before the block when there can be no such file.
    """
    if path not in (None, "-") and not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        raise UsageError(f"{path} cannot be written; give a file in a folder of this machine.")
    try:
        yield
    except BaseException as error:
        sentence = str(error).strip() or "The run was stopped."
        write_json({"exit_code": exit_code(error), "version": VERSION, "error": sentence}, path)
        raise


def write_json(content: dict[str, Any], path: str | None) -> None:
    """Write one JSON object into a file, whole or not at all, or to stdout; nothing for None."""
    if path is None:
        return
    text = json.dumps(content, indent=2)
    if path == "-":
        print(text, flush=True)
        return
    with tempfile.NamedTemporaryFile(
        "w", dir=os.path.dirname(os.path.abspath(path)), suffix=".json", delete=False, encoding="utf-8"
    ) as file:
        try:
            file.write(text + "\n")
            file.close()
            os.chmod(file.name, 0o644)
            os.replace(file.name, path)
        finally:
            Path(file.name).unlink(missing_ok=True)


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
    yield f"videos   {done} of {len(rows)} done, {length(seconds)} of video" + (
        f" ({', '.join(notes)})" if notes else ""
    )
    total = _totals(rows)
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
    # pandas takes a relative name with a colon for a URI.
    folder = os.path.abspath(out) if ":" in out and not is_remote(out) else out
    yield f"  python -c \"import pandas as pd; print(pd.read_parquet('{folder}/timelines'))\""
    yield "See them as pages:"
    yield f"  affectline report {shlex.quote(out)}"
