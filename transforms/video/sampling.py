"""A video's way to its samples, wherever it lies: opened, cut into segments, each of them read in chunks."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from time import monotonic
from types import TracebackType
from typing import Self

from schemas.elements import DECODE_ERROR, Failure, Sample, Segment, SegmentEnd, Video, VideoInfo
from schemas.errors import UnavailableError, UnreadableVideoError
from transforms.remote import LocalCopies
from transforms.video.chunks import FrameChunk, chunks
from transforms.video.decoder import TIME_LIMIT_S, Decoder
from transforms.video.records import LostSample, Probe, SampledFrame, SegmentSummary
from transforms.video.segments import cut, planned_samples


class VideoReader:
    """Opens videos: remote ones as local copies, all of them decoded in a process of its own.

    For one thread at a time. A context manager: `close` ends the process and removes the copies.
    """

    def __init__(self) -> None:
        self._decoder = Decoder()
        self._copies = LocalCopies()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the decoding process and remove the copies."""
        self._decoder.close()
        self._copies.close()

    def start(self) -> None:
        """Start the decoding process, which then loads its libraries while others load theirs."""
        self._decoder.start()

    def probe(self, video: Video, time_limit: float = TIME_LIMIT_S) -> Probe:
        """What a video is; UnreadableVideoError when none, OSError when it cannot be fetched.

        time_limit: as `Decoder.probe`'s.
        """
        return self._decoder.probe(self._copies.path(video.uri, video.fingerprint), time_limit)

    def read(
        self, segment: Segment, fps: Fraction, time_limit: float = TIME_LIMIT_S
    ) -> Iterator[FrameChunk | Sample | Failure | SegmentEnd]:
        """A segment's samples in order, those that are lost each with its failure; its end comes last.

        fps: samples a second; 0 takes every frame. time_limit: seconds that a decoder may take for a minute
        of video. Raises nothing for anything that a file may hold; when it cannot be had, what was planned
        comes as `unread` samples, and one failure says so.
        """
        started = monotonic()
        video = segment.video
        reached_us = segment.start_us
        summary = SegmentSummary(0, -1, 0, 0, ())
        last = -1
        try:
            for piece in chunks(self._items(segment, fps, time_limit)):
                if isinstance(piece, SegmentSummary):
                    summary = piece
                elif isinstance(piece, LostSample):
                    last = piece.sample
                    yield Sample(video.video_id, piece.sample, piece.pts_us, DECODE_ERROR, 0, b"")
                    yield Failure(
                        video.video_id, video.uri, "SampleFrames", piece.pts_us, "DecodeError", piece.reason
                    )
                else:
                    last = piece[-1].sample
                    yield FrameChunk(video.video_id, piece, piece[-1].pts_us - reached_us)
                    reached_us = piece[-1].pts_us
            if summary.ended_by:
                yield _failure(segment, summary.ended_by)
        except UnavailableError as error:
            yield _failure(segment, error)
            yield from planned_samples(segment, fps, last)
            summary = SegmentSummary(0, -1, 0, 0, (str(error),))
        yield SegmentEnd(
            video_id=video.video_id,
            number=segment.number,
            frames_read=summary.frames_read,
            last_pts_us=summary.last_pts_us,
            min_step_us=summary.min_step_us,
            max_step_us=summary.max_step_us,
            problems=summary.problems,
            seconds=monotonic() - started,
        )

    def _items(
        self, segment: Segment, fps: Fraction, time_limit: float
    ) -> Iterator[SampledFrame | LostSample | SegmentSummary]:
        path = self._copies.path(segment.video.uri, segment.video.fingerprint)
        yield from self._decoder.read(
            path,
            segment.start_us,
            segment.end_us,
            segment.zero_pts,
            (segment.width, segment.height),
            fps,
            time_limit,
        )


def _failure(segment: Segment, error: Exception) -> Failure:
    """Why the rest of a segment was not read."""
    video, kind = segment.video, type(error).__name__
    return Failure(video.video_id, video.uri, "SampleFrames", segment.start_us, kind, str(error))


def plan_video(
    video: Video, probe: Callable[[Video], Probe], segment_us: int
) -> Iterator[VideoInfo | Segment | Failure]:
    """What a video is and its segments, cut every `segment_us` microseconds (0: one); or why there are none.

    probe: as `VideoReader.probe`.
    """
    try:
        probed = probe(video)
    except UnreadableVideoError as error:
        kind, message = type(error).__name__, str(error)
        yield Failure(video.video_id, video.uri, "PlanSegments", None, kind, message)
        return
    segments = cut(video, probed, segment_us)
    yield video_info(video, probed, segments)
    yield from segments


def video_info(video: Video, probed: Probe, segments: list[Segment]) -> VideoInfo:
    """The video's part of its row in `videos`, when it is read in these segments."""
    return VideoInfo(
        video_id=video.video_id,
        width=probed.width,
        height=probed.height,
        sar=probed.sar,
        rotation=probed.rotation,
        codec=probed.codec,
        duration_us=probed.duration_us,
        segments=len(segments),
        problems=probed.problems,
    )
