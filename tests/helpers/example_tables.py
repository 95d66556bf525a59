"""A small folder of tables with everything in it that a query may trip over."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from schemas.emotions import EMOTIONS
from schemas.settings import Settings
from schemas.tables import FAILURES, SAMPLES, TIMELINES, TRACKS, VIDEOS
from transforms.tables.write import write_video

FPS = 5
SECONDS = 12
# Names sort differently from the order of writing; `broken` holds no readable frame, and the model of
# `smiles` knows two classes.
VIDEO_FILES = {
    "talk-00000000aa": "talk.mp4",
    "panel-00000000bb": "panel.mkv",
    "broken-00000000cc": "broken.mp4",
    "smiles-00000000dd": "smiles.mp4",
}


def write_example_tables(out: Path) -> None:
    """Two people who leave and return, samples that did not decode, a failed video, one of two classes."""
    for number, (video_id, file) in enumerate(VIDEO_FILES.items()):
        known = ("happy", "sad") if file == "smiles.mp4" else EMOTIONS
        faces, samples = _faces_and_samples(number, known) if file != "broken.mp4" else ([], [])
        tables = {
            "timelines": pa.Table.from_pylist(faces, TIMELINES),
            "samples": pa.Table.from_pylist(samples, SAMPLES),
            "tracks": pa.Table.from_pylist(_tracks(faces), TRACKS),
            "failures": pa.Table.from_pylist([], FAILURES),
            "videos": pa.Table.from_pylist(
                [
                    {
                        "uri": f"/data/videos/{file}",
                        "status": "ok" if samples else "failed",
                        "duration_s": float(SECONDS) if samples else None,
                        "config_json": Settings(classes=known).to_json(),
                    }
                ],
                VIDEOS,
            ),
        }
        write_video(tables, video_id, str(out))


def _faces_and_samples(seed: int, known: Sequence[str]) -> tuple[list[dict], list[dict]]:
    random = np.random.default_rng(seed)
    faces, samples = [], []
    for sample in range(FPS * SECONDS):
        time_s = sample / FPS
        instant = {"sample": sample, "pts_us": round(1e6 * time_s), "time_s": time_s, "shot": 0}
        tracks = [0] if 2 <= time_s < 4 or time_s >= 9 else [0, 1] if time_s < 7 else []
        unreadable = sample in (3, 4)
        tracks = [] if unreadable else tracks
        for track in tracks:
            # Each emotion comes forward in turn, faster for the second person.
            turn = np.cos(time_s * (1 + track) / 2 - np.arange(7) + seed)
            weights = np.exp(3 * turn + 0.3 * random.standard_normal(7)).tolist()
            shown = {name: weight for name, weight in zip(EMOTIONS, weights, strict=True) if name in known}
            shown = {name: weight / sum(shown.values()) for name, weight in shown.items()}
            emotion = max(shown, key=lambda name: shown[name])
            faces.append(
                instant | {"track_id": track, **shown, "emotion": emotion, "confidence": shown[emotion]}
            )
        status = "decode_error" if unreadable else "ok" if tracks else "no_face"
        samples.append(instant | {"status": status, "faces": len(tracks)})
    return faces, samples


def _tracks(faces: list[dict]) -> list[dict]:
    if not faces:
        return []
    return [
        {
            "track_id": track,
            "samples": len(rows),
            "start_s": rows["time_s"].min(),
            "end_s": rows["time_s"].max(),
        }
        for track, rows in pd.DataFrame(faces).groupby("track_id")
    ]
