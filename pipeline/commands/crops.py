"""`affectline crops`: faces of videos as a model sees them, to look at and to label."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from schemas.elements import Segment, Video, VideoInfo
from schemas.emotions import all_emotions
from schemas.errors import UsageError
from schemas.settings import Settings
from transforms.faces.analyzer import Analyzer
from transforms.faces.look import FaceCrop, classify, look_at_chunk
from transforms.faces.view import see_faces
from transforms.remote import join
from transforms.tables.rows import list_video_ids, read_rows
from transforms.video.chunks import FrameChunk
from transforms.video.inputs import find_videos
from transforms.video.sampling import VideoReader, plan_video

_FACES_AT_ONCE: Final = 64


@dataclass(frozen=True)
class Written:
    """What was written: faces by the class that the model takes them for, and videos without any frame."""

    faces: dict[str, int]
    unread: Sequence[str]


def is_tables(source: str) -> bool:
    """Whether this is a folder that a run wrote."""
    return os.path.isdir(source) and bool(list_video_ids(join(source, "videos")))


def sources_of(tables: str) -> tuple[list[str], Settings]:
    """The videos of a folder that a run wrote, and the settings of the last that was processed."""
    rows = [
        read_rows(tables, "videos", name, ["uri", "config_json", "processed_at"]).to_pylist()[0]
        for name in list_video_ids(join(tables, "videos"))
    ]
    latest = max(rows, key=lambda row: row["processed_at"])
    there = [row["uri"] for row in rows if os.path.exists(row["uri"]) or "://" in row["uri"]]
    if not there:
        raise UsageError(f"None of the videos of {tables} is where it was; give the videos themselves.")
    return there, Settings.from_json(latest["config_json"])


def write_crops(
    inputs: Sequence[str],
    analyzer: Analyzer,
    fps: str,
    folder: Path,
    advance: Callable[[Video], None] = lambda video: None,
) -> Written:
    """Write each face as its model sees it, into a folder of the class that the model takes it for.

    inputs: videos as `find_videos` takes them. fps: samples a second. folder: gets
    CLASS/VIDEO-ID-MILLISECONDS-NUMBER.png, which `affectline train --from` learns from once what is wrong
    was moved to where it belongs. `advance` is told of each video that is done.

    Raises UsageError when the folder holds anything, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not an empty folder; give a new one, so that no label is lost.")
    videos = find_videos(inputs)
    settings = Settings(fps=fps, crops=False)
    emotions = all_emotions(analyzer.spec.classes)
    counts: dict[str, int] = {}
    unread = []
    with VideoReader() as reader:
        for video in videos:
            planned = list(plan_video(video, reader.probe, 0))
            for item in planned:
                if isinstance(item, Segment):
                    for number, (crop, label) in enumerate(_seen(item, reader, analyzer, settings)):
                        name = emotions[label]
                        milliseconds = crop.face.pts_us // 1000
                        _save(crop.crop, folder / name / f"{video.video_id}-{milliseconds:08d}-{number}.png")
                        counts[name] = counts.get(name, 0) + 1
            if not any(isinstance(item, VideoInfo) for item in planned):
                unread.append(video.uri)
            advance(video)
    return Written(counts, unread)


def _seen(
    segment: Segment, reader: VideoReader, analyzer: Analyzer, settings: Settings
) -> Iterator[tuple[FaceCrop, int]]:
    waiting: list[FaceCrop] = []
    for item in reader.read(segment, settings.sampling_rate):
        if isinstance(item, FrameChunk):
            found = see_faces(analyzer.detector, analyzer.mesh, [frame.image for frame in item.frames])
            for _, crops in look_at_chunk(item, found, analyzer.spec, settings):
                waiting += crops
        if len(waiting) >= _FACES_AT_ONCE:
            yield from _named(waiting, analyzer)
            waiting = []
    if waiting:
        yield from _named(waiting, analyzer)


def _named(crops: Sequence[FaceCrop], analyzer: Analyzer) -> Iterator[tuple[FaceCrop, int]]:
    faces = classify(crops, analyzer.classifier)
    for crop, face in zip(crops, faces, strict=True):
        yield crop, int(np.nanargmax(face.raw))


def _save(crop: np.ndarray, path: Path) -> None:
    """Write uint8 [H, W, C], grey or RGB, without loss."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(crop[..., 0] if crop.shape[2] == 1 else crop).save(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.") from error


def crops_lines(done: Written, folder: Path) -> Iterator[str]:
    """The lines to print afterwards."""
    for name, count in sorted(done.faces.items(), key=lambda item: -item[1]):
        yield f"  {name:<12}{count:>6}"
    for uri in done.unread:
        yield f"Not read: {uri}"
    yield f"{sum(done.faces.values())} faces in {folder}, by what the model takes them for."
    if done.faces:
        yield f"Move what it took wrongly, then: affectline train --from default --data {folder}"
