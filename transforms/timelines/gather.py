"""One video's rows between grouping and writing: gathered, checked, tracked, smoothed, tabulated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from schemas.elements import (
    DECODE_ERROR,
    FAILED,
    NO_FACE,
    OK,
    PARTIAL,
    RETRY,
    UNREAD,
    Block,
    Failure,
    SegmentEnd,
    Video,
    VideoInfo,
)
from schemas.emotions import emotion_columns
from schemas.errors import (
    DecoderKilledError,
    DecoderStoppedError,
    IncompleteVideoError,
    UnavailableError,
)
from schemas.remarks import REMARKS
from schemas.settings import Settings
from schemas.tables import POSE
from transforms.tables.arrays import stack_bytes, stack_columns
from transforms.tables.blocks import Thumbnails, read_faces, read_samples
from transforms.timelines.shots import SIGNATURE_BYTES, find_shots
from transforms.timelines.smoothing import smooth
from transforms.timelines.tracking import APPEARANCE_BYTES, track_faces


@dataclass(frozen=True)
class SampleColumns:
    """Sampled instants in order of time."""

    sample: np.ndarray  # int32 [n]
    pts_us: np.ndarray  # int64 [n]
    status: np.ndarray  # str [n]
    faces: np.ndarray  # int16 [n]
    shot: np.ndarray  # int32 [n]


@dataclass(frozen=True)
class FaceColumns:
    """Faces in order of time, then of their box."""

    sample: np.ndarray  # int32 [m]
    pts_us: np.ndarray  # int64 [m]
    boxes: np.ndarray  # float32 [m, 4]: x, y, w, h
    score: np.ndarray  # float32 [m]
    pose: np.ndarray  # float32 [m, 3], in the order of POSE; nan: not known
    sharpness: np.ndarray  # float32 [m]; nan: not measured, by early versions
    raw: np.ndarray  # float32 [m, k], in the order of `all_emotions`; nan: a class the model does not know
    appearance: np.ndarray  # uint8 [m, d]
    thumbnail: np.ndarray  # int64 [m], number among the timeline's thumbnails; -1: none
    shot: np.ndarray  # int32 [m]
    track: np.ndarray  # int32 [m]; -1 before tracking
    smoothed: np.ndarray  # float32 [m, k], nan as in raw; the raw ones before smoothing

    def take(self, rows: np.ndarray) -> "FaceColumns":
        """The faces at these row numbers."""
        return FaceColumns(**{name: value[rows] for name, value in vars(self).items()})


@dataclass(frozen=True)
class Timeline:
    """Everything known of one video."""

    video: Video
    info: VideoInfo | None  # None when it could not be opened
    ends: Sequence[SegmentEnd]
    samples: SampleColumns
    faces: FaceColumns
    thumbnails: Sequence[bytes]  # JPEG; after tracking one a track, of those that have any
    failures: Sequence[Failure] = field(default_factory=tuple)
    killed_before: bool = False  # an earlier run, too, lost its decoder over this file

    @property
    def problems(self) -> list[str]:
        """What is to be said of it, each sentence once, however the video was cut."""
        if self.info is None:
            return sorted({failure.message for failure in self.failures})
        return _problems(self.info, self.ends)

    @property
    def status(self) -> str:
        """`ok`, `partial` (something was lost), `failed` (nothing was read) or `retry`: not for good."""
        if self.needs_longer or self.needs_better_times:
            return RETRY
        if not any(status in (OK, NO_FACE) for status in self.samples.status):
            return FAILED
        return OK if REMARKS.issuperset(self.problems) else PARTIAL

    @property
    def needs_better_times(self) -> bool:
        """Whether something of it was lost for want of disk, network, permission or, this once, memory."""
        once = self.was_killed and not self.killed_before
        return once or self._failed_with(UnavailableError)

    @property
    def needs_longer(self) -> bool:
        """Whether all that was lost was so because a decoder took too long."""
        return self._failed_with(DecoderStoppedError) and not self.needs_better_times

    @property
    def was_killed(self) -> bool:
        """Whether the system killed a decoder."""
        return self._failed_with(DecoderKilledError)

    def _failed_with(self, error: type[Exception]) -> bool:
        return any(failure.error_type == error.__name__ for failure in self.failures)


def gather(
    video: Video,
    infos: Iterable[VideoInfo],
    ends: Iterable[SegmentEnd],
    samples: Iterable[Block],
    faces: Iterable[Block],
    failures: Iterable[Failure],
) -> Timeline:
    """Put one video's records, which come in any order, in order; IncompleteVideoError if sums differ."""
    info = next(iter(infos), None)
    ordered_ends = sorted(ends, key=lambda end: end.number)
    expected = info.segments if info else 0
    if [end.number for end in ordered_ends] != list(range(expected)):
        raise IncompleteVideoError(
            f"{expected} segments were planned and {len(ordered_ends)} came back; run the video again."
        )
    sample_columns = _sample_columns(read_samples(samples))
    face_blocks = list(faces)
    found = read_faces(face_blocks)
    order = np.lexsort([found[name].to_numpy() for name in ("score", "h", "w", "y", "x", "sample")])
    face_columns = _face_columns(found.take(order), sample_columns)
    _check(video, sample_columns, face_columns)
    damage = [
        Failure(video.video_id, video.uri, "SampleFrames", None, "Damage", problem)
        for problem in _problems(info, ordered_ends)
        if problem not in REMARKS
    ]
    return Timeline(
        video=video,
        info=info,
        ends=ordered_ends,
        samples=sample_columns,
        faces=face_columns,
        thumbnails=Thumbnails(face_blocks, order),
        failures=sorted([*failures, *damage], key=_place),
    )


def failed(video: Video, failures: Iterable[Failure], error: IncompleteVideoError) -> Timeline:
    """The timeline of a video whose records contradict each other: without rows, and with the reason."""
    reason = Failure(video.video_id, video.uri, "TrackFaces", None, type(error).__name__, str(error))
    return Timeline(
        video=video,
        info=None,
        ends=(),
        samples=_sample_columns(read_samples(())),
        faces=_face_columns(read_faces([]), _sample_columns(read_samples(()))),
        thumbnails=(),
        failures=sorted([*failures, reason], key=_place),
    )


def _place(failure: Failure) -> tuple[int, str, str]:
    return (-1 if failure.pts_us is None else failure.pts_us, failure.stage, failure.message)


def _problems(info: VideoInfo | None, ends: Iterable[SegmentEnd]) -> list[str]:
    said = {problem for end in ends for problem in end.problems}
    return sorted(said.union(info.problems if info else ()))


def _sample_columns(samples: pa.Table) -> SampleColumns:
    samples = _without_doubles(samples.sort_by("sample"))
    status = np.array(samples["status"].to_pylist(), dtype=object)
    pts_us = samples["pts_us"].to_numpy()
    signatures = np.zeros((len(samples), SIGNATURE_BYTES), dtype=np.uint8)
    for row, signature in enumerate(samples["signature"].to_pylist()):
        if signature:
            signatures[row] = np.frombuffer(signature, dtype=np.uint8)
    return SampleColumns(
        sample=samples["sample"].to_numpy(),
        pts_us=pts_us,
        status=status,
        faces=samples["faces"].to_numpy(),
        shot=find_shots(signatures, pts_us, status != DECODE_ERROR),
    )


def _without_doubles(samples: pa.Table) -> pa.Table:
    """Samples, in their order, of which those that only were planned give way to those that were read.

    A sample's frame may lie in the segment after the one it was planned for, or by a tick in the one before.
    """
    status = np.array(samples["status"].to_pylist(), dtype=object)
    unread = status == UNREAD
    read = samples.filter(pa.array(~unread))
    later = np.searchsorted(read["pts_us"].to_numpy(), samples["pts_us"].to_numpy())
    # Of those that were read, the last before each one's time and the first from it on.
    sample, bounds = samples["sample"].to_numpy(), [-1, *read["sample"].to_pylist(), np.iinfo(np.int32).max]
    before, following = np.array(bounds)[later], np.array(bounds)[later + 1]
    kept = ~unread | ((before < sample) & (sample < following))
    status[unread] = DECODE_ERROR
    at = samples.schema.get_field_index("status")
    named = samples.set_column(at, "status", pa.array(status.tolist(), pa.string()))
    return named.filter(pa.array(kept))


def _face_columns(faces: pa.Table, samples: SampleColumns) -> FaceColumns:
    count = len(faces)
    sample = faces["sample"].to_numpy()
    raw = faces["raw"].combine_chunks().flatten().to_numpy().reshape(count, -1 if count else 0)
    # A face without its sample is found by _check; until then any shot will do.
    shots = np.append(samples.shot, np.int32(-1))
    return FaceColumns(
        sample=sample,
        pts_us=faces["pts_us"].to_numpy(),
        boxes=stack_columns(faces, "xywh").astype(np.float32),
        score=faces["score"].to_numpy().astype(np.float32),
        pose=stack_columns(faces, POSE).astype(np.float32),
        sharpness=faces["sharpness"].to_numpy().astype(np.float32),
        raw=raw,
        appearance=stack_bytes(faces["appearance"], APPEARANCE_BYTES),
        thumbnail=np.where(faces["pictured"].to_numpy(), np.arange(count), -1),
        shot=shots[np.searchsorted(samples.sample, sample)],
        track=np.full(count, -1, dtype=np.int32),
        smoothed=raw,
    )


def _check(video: Video, samples: SampleColumns, faces: FaceColumns) -> None:
    """Each sample once and in order of time; as many faces as each sample counted."""
    if (np.diff(samples.sample) <= 0).any() or (np.diff(samples.pts_us) <= 0).any():
        raise IncompleteVideoError("A sample came twice or out of order; run the video again.")
    numbers, counts = np.unique(faces.sample, return_counts=True)
    counted = samples.faces > 0
    if not (
        np.array_equal(numbers, samples.sample[counted]) and np.array_equal(counts, samples.faces[counted])
    ):
        raise IncompleteVideoError(
            f"{len(faces.sample)} faces came back of {samples.faces.sum()} found; run the video again."
        )


def track(timeline: Timeline) -> Timeline:
    """Follow the faces; one seen too briefly leaves the timeline and becomes a failure with its reason."""
    faces = timeline.faces
    samples = timeline.samples
    ids = track_faces(
        face_sample=faces.sample,
        boxes=faces.boxes,
        appearance=faces.appearance,
        sample=samples.sample,
        pts_us=samples.pts_us,
        shots=samples.shot,
        decoded=samples.status != DECODE_ERROR,
    )
    dropped = [
        Failure(
            timeline.video.video_id,
            timeline.video.uri,
            "TrackFaces",
            int(faces.pts_us[row]),
            "ShortTrack",
            "A face seen too briefly to be followed was left out.",
        )
        for row in np.flatnonzero(ids < 0)
    ]
    kept = replace(faces, track=ids).take(np.flatnonzero(ids >= 0))
    kept, thumbnails = _clearest_thumbnails(kept, timeline.thumbnails)
    return replace(
        timeline,
        faces=kept,
        thumbnails=thumbnails,
        samples=_recount(samples, kept),
        failures=sorted([*timeline.failures, *dropped], key=_place),
    )


def _clearest_thumbnails(faces: FaceColumns, thumbnails: Sequence[bytes]) -> tuple[FaceColumns, list[bytes]]:
    """The faces with one thumbnail a track: of the face that is large and surely one."""
    kept: list[bytes] = []
    number = np.full(len(faces.sample), -1)
    for rows in rows_by_track(faces.track):
        pictured = rows[faces.thumbnail[rows] >= 0]
        if len(pictured):
            clearness = faces.score[pictured] * faces.boxes[pictured, 2:].prod(axis=1)
            best = pictured[clearness.argmax()]
            number[best] = len(kept)
            kept.append(thumbnails[int(faces.thumbnail[best])])
    return replace(faces, thumbnail=number), kept


def _recount(samples: SampleColumns, faces: FaceColumns) -> SampleColumns:
    """Samples that count the faces kept, so that `samples` and `timelines` add up."""
    counts = np.zeros(len(samples.sample), dtype=np.int16)
    np.add.at(counts, np.searchsorted(samples.sample, faces.sample), 1)
    status = np.where(samples.status == DECODE_ERROR, DECODE_ERROR, np.where(counts > 0, OK, NO_FACE))
    return replace(samples, faces=counts, status=status)


def smooth_tracks(timeline: Timeline, settings: Settings) -> Timeline:
    """Smooth each track's probabilities along time; classes that the model does not know stay unknown."""
    faces = timeline.faces
    smoothed = faces.raw.copy()
    known = np.array(emotion_columns(settings.classes))
    for rows in rows_by_track(faces.track):
        cells = np.ix_(rows, known)
        smoothed[cells] = smooth(
            settings.smoothing, faces.pts_us[rows], faces.raw[cells], settings.window_s, settings.prior
        )
    return replace(timeline, faces=replace(faces, smoothed=smoothed))


def rows_by_track(track: np.ndarray) -> list[np.ndarray]:
    """Row numbers of each track, int32 [m] → one array a track, in order of track and row."""
    if not len(track):
        return []
    order = np.argsort(track, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(track[order])) + 1)
