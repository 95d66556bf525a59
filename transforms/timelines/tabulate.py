"""From one video's timeline to its part of the five tables."""

from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from schemas import VERSION
from schemas.emotions import all_emotions
from schemas.settings import Settings
from schemas.tables import (
    APPEARANCE,
    EMOTION_LABEL,
    FAILURES,
    POSE,
    SAMPLES,
    SCHEMA_VERSION,
    TIMELINES,
    TRACKS,
    VIDEOS,
    with_emotions,
    with_metadata,
)
from transforms.timelines.gather import FaceColumns, SampleColumns, Timeline, rows_by_track
from transforms.timelines.quality import face_px, is_frontal

# Frame steps that differ by more than this mean a variable rate; less is a container's rounding.
_VFR_TOLERANCE_US = 2_000

# A row speaks for the time to the next sample, but not across a gap longer than this many usual steps.
_LONGEST_SPAN = 2.0


def tabulate(
    timeline: Timeline, settings: Settings, segment_timeout: float | None = None
) -> dict[str, pa.Table]:
    """The video's rows for each table, by table name, with explicit schemas and metadata.

    segment_timeout: the time limit that the decoder had, in seconds for a minute of video; None: unknown.
    """
    return with_run_metadata(
        {
            **tabulate_tracks(timeline, settings),
            "failures": _failures(timeline),
            "videos": _videos(timeline, settings, segment_timeout),
        },
        settings,
    )


def tabulate_tracks(timeline: Timeline, settings: Settings) -> dict[str, pa.Table]:
    """The tables that tracking and smoothing decide: `timelines`, `samples`, `tracks`."""
    emotions = all_emotions(settings.classes)
    return {
        "timelines": _timelines(timeline.faces, emotions, settings.appearance),
        "samples": _samples(timeline.samples),
        "tracks": _tracks(timeline, emotions),
    }


def with_run_metadata(tables: dict[str, pa.Table], settings: Settings) -> dict[str, pa.Table]:
    """The tables with version, labels and settings in their metadata."""
    config, emotions = settings.to_json(), all_emotions(settings.classes)
    return {
        name: table.replace_schema_metadata(with_metadata(table.schema, emotions, config).metadata)
        for name, table in tables.items()
    }


def _labels(indices: np.ndarray, emotions: Sequence[str]) -> pa.Array:
    """Class numbers as the dictionary column `emotion`; every file holds all labels."""
    return pa.DictionaryArray.from_arrays(pa.array(indices, pa.int8()), pa.array(emotions)).cast(
        EMOTION_LABEL
    )


def _timelines(faces: FaceColumns, emotions: Sequence[str], appearance: bool) -> pa.Table:
    schema = with_emotions(TIMELINES, emotions)
    if not len(faces.sample):
        return schema.empty_table()
    columns = {
        "track_id": faces.track,
        "sample": faces.sample,
        "pts_us": faces.pts_us,
        "time_s": faces.pts_us / 1e6,
        "shot": faces.shot,
        "score": faces.score,
        "confidence": np.nanmax(faces.smoothed, axis=1),
        "face_px": face_px(faces.boxes),
    }
    columns |= {name: faces.boxes[:, column] for column, name in enumerate("xywh")}
    arrays = {name: pa.array(np.ascontiguousarray(value)) for name, value in columns.items()}
    # From pandas: nan, what is not known, becomes null.
    arrays |= {name: pa.array(faces.pose[:, column], from_pandas=True) for column, name in enumerate(POSE)}
    arrays["sharpness"] = pa.array(faces.sharpness, from_pandas=True)
    for column, emotion in enumerate(emotions):
        arrays[emotion] = pa.array(faces.smoothed[:, column], from_pandas=True)
        arrays["raw_" + emotion] = pa.array(faces.raw[:, column], from_pandas=True)
    arrays["emotion"] = _labels(np.nanargmax(faces.smoothed, axis=1), emotions)
    arrays["appearance"] = pa.array(
        [row.tobytes() if appearance else None for row in faces.appearance], APPEARANCE
    )
    return pa.table([arrays[each.name].cast(each.type) for each in schema], schema)


def _samples(samples: SampleColumns) -> pa.Table:
    return pa.table(
        {
            "sample": samples.sample,
            "pts_us": samples.pts_us,
            "time_s": samples.pts_us / 1e6,
            "shot": samples.shot,
            "status": pa.array(samples.status.tolist(), pa.string()),
            "faces": samples.faces,
        },
        SAMPLES,
    )


def sample_spans(pts_us: np.ndarray) -> np.ndarray:
    """Seconds that each sample speaks for, float64 [n]: to the next one, capped where there is a gap."""
    if len(pts_us) < 2:
        return np.ones(len(pts_us))
    steps = np.diff(pts_us) / 1e6
    usual = float(np.median(steps))
    return np.append(np.minimum(steps, _LONGEST_SPAN * usual), usual)


def _tracks(timeline: Timeline, emotions: Sequence[str]) -> pa.Table:
    faces, samples = timeline.faces, timeline.samples
    spans = sample_spans(samples.pts_us)[np.searchsorted(samples.sample, faces.sample)]
    return pa.Table.from_pylist(
        [_track_row(timeline, emotions, rows, spans[rows]) for rows in rows_by_track(faces.track)],
        with_emotions(TRACKS, emotions),
    )


def _track_row(
    timeline: Timeline, emotions: Sequence[str], rows: np.ndarray, spans: np.ndarray
) -> dict[str, object]:
    faces = timeline.faces
    smoothed = faces.smoothed[rows]
    labels = np.nanargmax(smoothed, axis=1)
    mean = np.average(smoothed, axis=0, weights=spans)
    share = np.bincount(labels, weights=spans, minlength=len(emotions)) / spans.sum()
    # What the model does not know never shows, which is not the same as a share of 0.
    share[np.isnan(mean)] = np.nan
    pictured = faces.thumbnail[rows].max()
    return {
        "track_id": int(faces.track[rows[0]]),
        "shot": int(faces.shot[rows[0]]),
        "start_s": faces.pts_us[rows[0]] / 1e6,
        "end_s": faces.pts_us[rows[-1]] / 1e6,
        "samples": len(rows),
        "emotion": emotions[int(np.nanargmax(mean))],
        **_by_emotion("", emotions, mean),
        **_by_emotion("share_", emotions, share),
        "transitions": int(np.count_nonzero(np.diff(labels))),
        "mean_confidence": float(np.average(np.nanmax(smoothed, axis=1), weights=spans)),
        "share_frontal": _share_frontal(faces.pose[rows], spans),
        "median_face_px": float(np.median(face_px(faces.boxes[rows]))),
        "thumbnail": timeline.thumbnails[int(pictured)] if pictured >= 0 else None,
    }


def _share_frontal(pose: np.ndarray, spans: np.ndarray) -> float | None:
    """The part of the time that a face is frontal; None where no pose was measured at all."""
    if np.isnan(pose).all():
        return None
    return float(np.average(is_frontal(pose), weights=spans))


def _by_emotion(prefix: str, emotions: Sequence[str], values: np.ndarray) -> dict[str, float | None]:
    """Columns from float [k], None for nan."""
    numbers = (None if np.isnan(value) else float(value) for value in values)
    return {prefix + emotion: number for emotion, number in zip(emotions, numbers, strict=True)}


def _failures(timeline: Timeline) -> pa.Table:
    rows = [{name: getattr(row, name) for name in FAILURES.names} for row in timeline.failures]
    return pa.Table.from_pylist(rows, FAILURES)


def _videos(timeline: Timeline, settings: Settings, segment_timeout: float | None) -> pa.Table:
    video, info, samples = timeline.video, timeline.info, timeline.samples
    steps = [(end.min_step_us, end.max_step_us) for end in timeline.ends if end.max_step_us]
    row = {
        "uri": video.uri,
        "fingerprint": video.fingerprint,
        "status": timeline.status,
        "error": " ".join(timeline.problems) or None,
        "duration_s": _duration_s(timeline),
        "width": info.width if info else None,
        "height": info.height if info else None,
        "rotation": info.rotation if info else None,
        "codec": info.codec if info else None,
        "is_vfr": (
            is_variable_rate(min(shortest for shortest, _ in steps), max(longest for _, longest in steps))
            if steps
            else None
        ),
        "frames_read": sum(end.frames_read for end in timeline.ends),
        "samples": len(samples.sample),
        "samples_with_face": int(np.count_nonzero(samples.faces)),
        "faces": len(timeline.faces.sample),
        "tracks": len(np.unique(timeline.faces.track)),
        "model": settings.model,
        "model_sha256": settings.model_sha256,
        "detector": settings.detector,
        "config_hash": settings.config_hash(),
        "config_json": settings.to_json(),
        "code_version": VERSION,
        "schema_version": SCHEMA_VERSION,
        "processed_at": datetime.now(UTC),
        "seconds": sum(end.seconds for end in timeline.ends),
        "sar": info.sar if info else None,
        "stopped_after_s": segment_timeout if timeline.needs_longer else None,
    }
    return pa.Table.from_pylist([row], VIDEOS)


def is_variable_rate(min_step_us: int, max_step_us: int) -> bool:
    """Whether these shortest and longest times between frames mean a variable rate."""
    return max_step_us - min_step_us > _VFR_TOLERANCE_US


def _duration_s(timeline: Timeline) -> float | None:
    """From the first frame to the end of the last, which is taken to last as long as the average."""
    frames = sum(end.frames_read for end in timeline.ends)
    last_us = max((end.last_pts_us for end in timeline.ends), default=-1)
    if frames == 0:
        return None
    return (last_us + last_us / (frames - 1)) / 1e6 if frames > 1 else 0.0
