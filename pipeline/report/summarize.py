"""What a report says of one video, in numbers: the same for pages and for machines."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from schemas.elements import DECODE_ERROR
from schemas.emotions import EMOTIONS
from schemas.tables import POSE, TABLES
from transforms.tables.arrays import emotions_of, stack_columns, stack_measures
from transforms.tables.rows import read_rows
from transforms.timelines.gather import rows_by_track
from transforms.timelines.quality import face_px, is_believable
from transforms.timelines.tabulate import sample_spans

NEUTRAL = EMOTIONS.index("neutral")
_MOMENTS = 4  # of each person
_TIMES_LISTED = 20  # of one kind of problem


@dataclass(frozen=True)
class Moment:
    """The peak of a stretch of time with one label other than neutral."""

    time_s: float
    emotion: str
    probability: float


@dataclass(frozen=True)
class Person:
    """One row of `tracks`, with the strongest moments."""

    track_id: int
    start_s: float
    end_s: float
    samples: int
    emotion: str
    mean: dict[str, float | None]  # None: a class the model does not know
    share: dict[str, float | None]
    transitions: int
    mean_confidence: float
    share_frontal: float | None  # of the time; None: not measured
    median_face_px: float
    moments: list[Moment]


@dataclass(frozen=True)
class Gap:
    """A stretch of time without a face."""

    start_s: float
    end_s: float
    reason: str  # no_face or unreadable


@dataclass(frozen=True)
class Problem:
    """One kind of failure, however often it happened."""

    stage: str
    error_type: str
    message: str
    count: int
    times_s: list[float]  # of the first of them that have a time


@dataclass(frozen=True)
class VideoSummary:
    """All numbers of one video's page; docs/report.md describes them as JSON."""

    video_id: str
    video: dict[str, Any]  # its row in `videos`
    face_share: float | None  # of the sampled time; None when nothing was sampled
    emotion: str | None  # with the largest share
    share: dict[str, float | None]  # of all persons' time, None as in Person; empty without a face
    mean_confidence: float | None
    believable: (
        float | None
    )  # share of people's time by faces that are frontal, large and sharp; None: not known
    believable_share: dict[str, float | None]  # as `share`, of that time alone; empty where there is none
    gaps: list[Gap]
    shots_s: list[float]  # where each shot begins, as far as faces tell
    people: list[Person]
    problems: list[Problem]


@dataclass(frozen=True)
class VideoTables:
    """One video's rows of every table."""

    video_id: str
    timelines: pa.Table
    samples: pa.Table
    tracks: pa.Table
    failures: pa.Table
    videos: pa.Table

    @property
    def emotions(self) -> tuple[str, ...]:
        """The seven, then the classes of the video's model that are beside them."""
        return emotions_of(self.timelines)


@dataclass(frozen=True)
class Track:
    """One person's rows as arrays, in order of time."""

    track_id: int
    sample: np.ndarray  # int32 [n]
    pts_us: np.ndarray  # int64 [n]
    boxes: np.ndarray  # float32 [n, 4]: x, y, w, h
    smoothed: np.ndarray  # float32 [n, emotions]; nan: a class the model does not know
    raw: np.ndarray  # float32 [n, emotions], nan as in smoothed
    label: np.ndarray  # int [n], place among the emotions
    spans: np.ndarray  # float64 [n], seconds each row speaks for
    believable: np.ndarray  # bool [n], see `is_believable`
    pose: np.ndarray  # float32 [n, 3], in the order of POSE; nan: not known

    @property
    def known(self) -> list[int]:
        """The classes that the model knows, as places among the emotions."""
        return np.flatnonzero(~np.isnan(self.smoothed).any(axis=0)).tolist()


def read_video(out: str, video_id: str) -> VideoTables:
    """One video's part of all tables below `out`."""
    return VideoTables(video_id, **{table: read_rows(out, table, video_id) for table in TABLES})


def read_tracks(tables: VideoTables) -> list[Track]:
    """Every person of a video, in order of their number."""
    faces, samples = tables.timelines, tables.samples
    spans = sample_spans(samples["pts_us"].to_numpy())
    sample, pts_us = faces["sample"].to_numpy(), faces["pts_us"].to_numpy()
    order = np.argsort(pts_us, kind="stable")
    track = faces["track_id"].to_numpy()[order]
    emotions = tables.emotions
    smoothed = stack_columns(faces, emotions)
    raw = stack_columns(faces, ["raw_" + emotion for emotion in emotions])
    boxes = stack_columns(faces, "xywh")
    names = np.array([emotions.index(name) for name in faces["emotion"].to_pylist()], dtype=int)
    face_spans = spans[np.searchsorted(samples["sample"].to_numpy(), sample)]
    pose, sharpness = stack_measures(faces, POSE), stack_measures(faces, ["sharpness"])[:, 0]
    believable = is_believable(pose, sharpness, face_px(boxes))
    columns = (sample, pts_us, boxes, smoothed, raw, names, face_spans, believable, pose)
    return [
        Track(
            int(track[rows[0]]),
            *(column[order[rows]] for column in columns),
        )
        for rows in rows_by_track(track)
    ]


def stretches(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and one-past-last index of each run of equal values."""
    if len(values):
        edges = np.flatnonzero(values[1:] != values[:-1]) + 1
        yield from zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True)


def find_moments(track: Track) -> list[int]:
    """Rows of a person's strongest moments, in order of time.

    A moment is the peak of a stretch with one label other than neutral; the surest few are kept.
    """
    peaks = [
        first + int(track.smoothed[first:last, track.label[first]].argmax())
        for first, last in stretches(track.label)
        if track.label[first] != NEUTRAL
    ]
    peaks.sort(key=lambda row: (-track.smoothed[row, track.label[row]], row))
    return sorted(peaks[:_MOMENTS])


def summarize(tables: VideoTables, tracks: Sequence[Track]) -> VideoSummary:
    """The numbers of one video."""
    samples = tables.samples
    pts_us = samples["pts_us"].to_numpy()
    spans = sample_spans(pts_us)
    seen = samples["faces"].to_numpy() > 0
    people = _people(tables, tracks)
    emotions = tables.emotions
    time = _time(tracks, emotions, [track.spans for track in tracks])
    believed = _time(tracks, emotions, [track.spans * track.believable for track in tracks])
    measured = any(not np.isnan(track.pose).all() for track in tracks)
    weights = [float(track.spans.sum()) for track in tracks]
    [video] = tables.videos.to_pylist()
    return VideoSummary(
        video_id=tables.video_id,
        video=video,
        face_share=float(spans[seen].sum() / spans.sum()) if len(spans) else None,
        emotion=emotions[int(time.argmax())] if tracks else None,
        share=_shares(time, emotions, tracks[0].known) if tracks else {},
        mean_confidence=(
            float(np.average([person.mean_confidence for person in people], weights=weights))
            if people
            else None
        ),
        believable=float(believed.sum() / time.sum()) if measured else None,
        believable_share=_shares(believed, emotions, tracks[0].known) if believed.any() else {},
        gaps=_gaps(samples, video["duration_s"]),
        shots_s=_shots_s(tables),
        people=people,
        problems=_problems(tables.failures),
    )


def _time(tracks: Sequence[Track], emotions: Sequence[str], spans: Sequence[np.ndarray]) -> np.ndarray:
    """Seconds of each emotion, float64 [emotions], of which each track's rows speak for these."""
    counts = [
        np.bincount(track.label, weights=mine, minlength=len(emotions))
        for track, mine in zip(tracks, spans, strict=True)
    ]
    return sum(counts, np.zeros(len(emotions)))


def _shares(time: np.ndarray, emotions: Sequence[str], known: Sequence[int]) -> dict[str, float | None]:
    shares = (time / time.sum()).tolist()
    return {emotion: shares[at] if at in known else None for at, emotion in enumerate(emotions)}


def _people(tables: VideoTables, tracks: Sequence[Track]) -> list[Person]:
    rows = {row["track_id"]: row for row in tables.tracks.drop(["thumbnail"]).to_pylist()}
    people = []
    for track in tracks:
        row = rows[track.track_id]
        people.append(
            Person(
                track_id=track.track_id,
                start_s=row["start_s"],
                end_s=row["end_s"],
                samples=row["samples"],
                emotion=row["emotion"],
                mean={emotion: row[emotion] for emotion in tables.emotions},
                share={emotion: row["share_" + emotion] for emotion in tables.emotions},
                transitions=row["transitions"],
                mean_confidence=row["mean_confidence"],
                share_frontal=row.get("share_frontal"),
                median_face_px=float(np.median(face_px(track.boxes))),
                moments=[
                    Moment(
                        float(track.pts_us[at]) / 1e6,
                        tables.emotions[track.label[at]],
                        float(track.smoothed[at, track.label[at]]),
                    )
                    for at in find_moments(track)
                ],
            )
        )
    return people


def _gaps(samples: pa.Table, duration_s: float | None) -> list[Gap]:
    """A gap lasts to the next sample of another kind, the last one to the end of the video."""
    time_s = samples["time_s"].to_numpy()
    status = np.array(samples["status"].to_pylist(), dtype=object)
    kinds = np.where(
        status == DECODE_ERROR, "unreadable", np.where(samples["faces"].to_numpy() > 0, "", "no_face")
    )
    end_s = max(duration_s or 0.0, float(time_s[-1])) if len(time_s) else 0.0
    ends = [*time_s.tolist(), end_s]
    return [
        Gap(ends[first], ends[last], str(kinds[first])) for first, last in stretches(kinds) if kinds[first]
    ]


def _shots_s(tables: VideoTables) -> list[float]:
    for table in (tables.samples, tables.timelines):
        if "shot" in table.column_names:
            shots, first = np.unique(table["shot"].to_numpy(), return_index=True)
            starts: list[float] = table["time_s"].to_numpy()[first[shots >= 0]].tolist()
            return starts
    return []


def _problems(failures: pa.Table) -> list[Problem]:
    grouped: dict[tuple[str, str, str], list[int | None]] = {}
    for row in failures.to_pylist():
        grouped.setdefault((row["stage"], row["error_type"], row["message"]), []).append(row["pts_us"])
    return [
        Problem(*kind, len(times), [time / 1e6 for time in times if time is not None][:_TIMES_LISTED])
        for kind, times in grouped.items()
    ]


def summaries(out: str, ids: Iterable[str]) -> Iterator[VideoSummary]:
    """The numbers of each video."""
    for video_id in ids:
        tables = read_video(out, video_id)
        yield summarize(tables, read_tracks(tables))


def as_json_line(summary: VideoSummary) -> str:
    """A summary as one JSON object on one line, times in ISO 8601."""
    return json.dumps(asdict(summary), default=lambda time: time.isoformat())
