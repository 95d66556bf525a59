"""`affectline annotate`: a video with everything that the tables say of its faces drawn into it."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pyarrow as pa
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream
from tqdm import tqdm

from models.detectors import Box, get_detector
from models.mesh import Pose, load_mesh
from pipeline.draw.mp4 import Mp4Writer, Sound, check_output, open_mp4
from pipeline.draw.overlay import draw_tracked
from schemas.elements import FAILED, Video
from schemas.errors import RunError, UnreadableVideoError, UsageError
from schemas.tables import POSE
from transforms.faces.analyzer import TrackedFace
from transforms.faces.view import FaceView
from transforms.fingerprints import is_same_content
from transforms.remote import LocalCopies, local_path, require_file_system
from transforms.tables.arrays import emotions_of, stack_columns, stack_measures
from transforms.tables.rows import has_rows, read_rows
from transforms.tables.sources import canonical_uri
from transforms.video.decoder import Decoder
from transforms.video.files import open_video
from transforms.video.inputs import find_files, find_video, video_id
from transforms.video.records import Probe, SampledFrame, SegmentSummary

_EVERY_FRAME = Fraction(0)


class FacesInTime:
    """Faces at any instant, from faces at samples.

    Between two neighbouring samples that both have a track, box, pose and probabilities go from one to
    the other in a straight line. A track that only one of them has is shown on that one's side of
    the middle. Nothing is carried across a sample where the track was not seen.
    """

    def __init__(self, samples: pa.Table, timelines: pa.Table) -> None:
        """Take one video's rows of the two tables."""
        order = np.argsort(samples["pts_us"].to_numpy(), kind="stable")
        self._pts_us = samples["pts_us"].to_numpy()[order]
        self._at: list[dict[int, TrackedFace]] = [{} for _ in self._pts_us]
        boxes = stack_columns(timelines, (*"xywh", "score"))
        emotions = emotions_of(timelines)
        probabilities = stack_columns(timelines, emotions)
        poses = stack_measures(timelines, POSE)
        places = np.searchsorted(self._pts_us, timelines["pts_us"].to_numpy())
        for row, track in enumerate(timelines["track_id"].to_pylist()):
            view = FaceView(Box(*boxes[row].tolist()), Pose(*poses[row].tolist()))
            self._at[places[row]][track] = TrackedFace(view, probabilities[row], track, emotions=emotions)

    def at(self, pts_us: int) -> list[TrackedFace]:
        """The faces `pts_us` microseconds after time zero, by track."""
        before = int(np.searchsorted(self._pts_us, pts_us, side="right")) - 1
        if before < 0:
            return []
        earlier = self._at[before]
        if before + 1 == len(self._at):
            return [earlier[track] for track in sorted(earlier)]
        later = self._at[before + 1]
        start, end = self._pts_us[before], self._pts_us[before + 1]
        part = float((pts_us - start) / (end - start))
        nearer = earlier if part < 0.5 else later
        return [
            _between(earlier[track], later[track], part)
            if track in earlier and track in later
            else nearer[track]
            for track in sorted(nearer.keys() | (earlier.keys() & later.keys()))
        ]


def _between(first: TrackedFace, second: TrackedFace, part: float) -> TrackedFace:
    def mix(one: np.ndarray, other: np.ndarray) -> np.ndarray:
        mixed: np.ndarray = one + part * (other - one)
        return mixed

    box = Box(*mix(np.array(first.box[:5]), np.array(second.box[:5])).tolist())
    pose = Pose(*mix(np.array(first.view.pose), np.array(second.view.pose)).tolist())
    probabilities = mix(first.probabilities, second.probabilities)
    return TrackedFace(FaceView(box, pose), probabilities, first.track, emotions=first.emotions)


@dataclass(frozen=True)
class Annotated:
    """What was written."""

    frames: int
    frames_with_face: int
    has_sound: bool
    problems: Sequence[str]  # one sentence each


def annotate(source: str, out: str, output: str, mesh: bool = False) -> Annotated:
    """Draw the faces in the tables below `out` into a copy of a video.

    Args:
        source: a video that a run has read: a file or a URI.
        out: the folder of tables.
        output: the MP4 to write: upright, of the video's size, each frame at its own time.
        mesh: draw the mesh of each face too, laid anew over every frame.

    Raises:
        UsageError: the tables hold nothing of this video, or `output` cannot be written.
        RunError: no frame of the video can be read.
    """
    require_file_system(out)
    video = find_video(source)
    name, row = _stored(video, out)
    size = row["width"], row["height"]
    samples, timelines = (read_rows(out, table, name) for table in ("samples", "timelines"))
    frame_scale = get_detector(row["detector"]).frame_scale if mesh else None
    return draw_video(video, size, samples, timelines, output, frame_scale)


def draw_video(
    video: Video,
    size: tuple[int, int],
    samples: pa.Table,
    timelines: pa.Table,
    output: str,
    frame_scale: float | None = None,
) -> Annotated:
    """Draw the faces in one video's rows into a copy of it.

    Args:
        video: where it is.
        size: width and height that it had when the rows were made.
        samples: its rows of that table.
        timelines: the same.
        output: as in `annotate`, and what is raised too.
        frame_scale: of the boxes, see `Box`, for drawing meshes; None: draw none.
    """
    output = local_path(output)
    check_output(output, local_path(video.uri))
    faces = FacesInTime(samples, timelines)
    with ExitStack() as stack:
        copies = LocalCopies()
        stack.callback(copies.close)
        decoder = stack.enter_context(Decoder())
        path = copies.path(video.uri, video.fingerprint)
        try:
            probe = decoder.probe(path)
            container, stream = stack.enter_context(open_video(path))
        except UnreadableVideoError as error:
            raise RunError(f"{video.uri}: {error}") from error
        if (probe.width, probe.height) != size:
            raise UsageError(f"{video.uri} is not the video that the tables were made of; run it first.")
        sound = _sound(container, stream, probe)
        writer = stack.enter_context(
            open_mp4(output, (probe.width, probe.height), _frame_rate(probe), probe.max_step_us, sound)
        )
        return _draw(decoder, path, probe, faces, writer, sound is not None, frame_scale)


@dataclass(frozen=True)
class Copy:
    """What became of one video of several: its copy, or why there is none."""

    output: str
    done: Annotated | None
    error: str | None


def holds_several(source: str) -> bool:
    """Whether an input stands for videos, as a folder, a glob or a @list does, and not for one."""
    return len(files := find_files([source])) > 1 or files[0].uri != canonical_uri(source)


def annotate_all(source: str, out: str, output: str, mesh: bool = False) -> Iterator[Copy]:
    """As `annotate`, for every video that an input names, into the folder `output`, each under its own name.

    A video that cannot be drawn is told with its error, and the others go on.

    Raises UsageError, before anything is written, when two copies would have one name.
    """
    copies: dict[str, str] = {}
    for file in find_files([source]):
        copy = os.path.join(local_path(output), os.path.splitext(file.relative)[0] + ".mp4")
        if copy in copies:
            raise UsageError(
                f"{copies[copy]} and {file.uri} would both be drawn to {copy}; name them singly."
            )
        copies[copy] = file.uri
    for copy, uri in copies.items():
        try:
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            yield Copy(copy, annotate(uri, out, copy, mesh), None)
        except (UsageError, RunError) as error:
            yield Copy(copy, None, str(error))


def _draw(
    decoder: Decoder,
    path: str,
    probe: Probe,
    faces: FacesInTime,
    writer: Mp4Writer,
    has_sound: bool,
    frame_scale: float | None,
) -> Annotated:
    frames = with_face = 0
    problems: Sequence[str] = ()
    with tqdm(
        total=round(probe.duration_us / 1e6, 1), unit="s", desc="annotate", disable=not sys.stderr.isatty()
    ) as bar:
        for item in decoder.read(path, 0, -1, probe.zero_pts, (probe.width, probe.height), _EVERY_FRAME):
            if isinstance(item, SampledFrame):
                shown = faces.at(item.pts_us)
                if frame_scale is not None:
                    shown = _with_meshes(item.image, shown, frame_scale)
                draw_tracked(item.image, shown)
                writer.write(item.pts_us, item.image)
                frames += 1
                with_face += bool(shown)
                bar.update(round(item.pts_us / 1e6, 1) - bar.n)
            elif isinstance(item, SegmentSummary):
                problems = item.problems
    if not frames:
        raise RunError(f"No frame could be read: {' '.join(problems)}")
    writer.finish(probe.duration_us)
    return Annotated(frames, with_face, has_sound, problems)


def _with_meshes(image: np.ndarray, faces: Sequence[TrackedFace], frame_scale: float) -> list[TrackedFace]:
    rolls = [0.0 if np.isnan(face.view.pose.roll) else face.view.pose.roll for face in faces]
    boxes = [
        face.box._replace(roll=roll, frame_scale=frame_scale) for face, roll in zip(faces, rolls, strict=True)
    ]
    meshes = load_mesh().fit([(image, box) for box in boxes])
    return [
        replace(face, view=face.view._replace(mesh=mesh)) for face, mesh in zip(faces, meshes, strict=True)
    ]


def _is_old_copy(row: dict[str, Any], video: Video) -> bool:
    """Whether a video has the size of the one elsewhere of which no more than size and time were kept."""
    size, _, rest = row["fingerprint"].partition("-")
    return bool(row["uri"] != video.uri and rest.isdecimal() and size == str(video.size_bytes))


def _stored(video: Video, out: str) -> tuple[str, dict[str, Any]]:
    """The id of a video in the tables, and its row in `videos`."""
    changed = False
    for name in _possible_ids(video.uri):
        if not has_rows(out, "videos", name):
            continue
        [row] = read_rows(out, "videos", name).to_pylist()
        if is_same_content(row["fingerprint"], video.uri, video.fingerprint) or _is_old_copy(row, video):
            if row["status"] == FAILED or row["width"] is None:
                raise UsageError(f"{video.uri} could not be read: {row['error']}")
            return name, row
        changed = changed or row["uri"] == video.uri
    if changed:
        raise UsageError(f"{video.uri} has changed since it was processed; run it again.")
    raise UsageError(f"{out} holds nothing of {video.uri}; `affectline run {video.uri} -o {out}` first.")


def _possible_ids(uri: str) -> Iterator[str]:
    """The ids that a video may have, whichever of the folders above it was a run's input."""
    parts = local_path(uri).split("/")
    for first in range(len(parts) - 1, -1, -1):
        yield video_id("/".join(parts[first:]))


def _sound(container: InputContainer, stream: VideoStream, probe: Probe) -> Sound | None:
    audio = container.streams.best("audio")
    if not isinstance(audio, AudioStream) or stream.time_base is None or not _can_decode(audio):
        return None
    return Sound(container, audio, probe.zero_pts * stream.time_base)


def _can_decode(audio: AudioStream) -> bool:
    try:
        return bool(audio.rate and audio.channels and audio.codec_context.codec)
    except (av.FFmpegError, ValueError, AttributeError):
        return False


def _frame_rate(probe: Probe) -> Fraction:
    seconds = Fraction(max(probe.duration_us, 1), 1_000_000)
    return max(Fraction(1), min(Fraction(1000), probe.frames / seconds)).limit_denominator(1001)
