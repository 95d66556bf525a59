"""SampleFrames: decode each segment and pass on the frames that are samples, a few at a time."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal, TypeVar

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.elements import DECODE_ERROR, Failure, Sample, Segment, SegmentEnd, Video
from transforms.remote import LocalCopies
from transforms.steps import metrics
from transforms.video.chunks import chunks
from transforms.video.decoder import Decoder
from transforms.video.records import LostSample, SampledFrame, Summary

ENDS: Final = "ends"
FAILURES: Final = "failures"
SAMPLES: Final = "samples"
_T = TypeVar("_T")


@dataclass(frozen=True)
class FrameChunk:
    """Neighbouring samples of one video. Never leaves the fused stage."""

    video_id: str
    frames: list[SampledFrame]
    advance_us: int  # video time since the chunk before, for progress


class _Waited(Iterator[_T]):
    """The items of an iterator, and the seconds spent waiting for them."""

    def __init__(self, items: Iterator[_T]) -> None:
        self._items = items
        self.seconds = 0.0

    def __next__(self) -> _T:
        started = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.seconds += time.monotonic() - started


class _SampleFrames(beam.DoFn):
    def __init__(self, fps: Fraction, segment_timeout: float) -> None:
        self._fps = fps
        self._segment_timeout = segment_timeout

    def setup(self) -> None:
        self._decoder = Decoder()
        self._decoder.start()  # it loads its libraries while later steps load theirs
        self._copies = LocalCopies()

    def process(
        self, segment: Segment
    ) -> Iterator[
        FrameChunk
        | TaggedOutput[Literal["samples"], Sample]
        | TaggedOutput[Literal["ends"], SegmentEnd]
        | TaggedOutput[Literal["failures"], Failure]
    ]:
        started = time.monotonic()
        video = segment.video
        reached_us = segment.start_us
        summary = Summary(0, -1, 0, 0, ())
        pieces = _Waited(chunks(self._read(segment)))
        for piece in pieces:
            if isinstance(piece, Summary):
                summary = piece
            elif isinstance(piece, LostSample):
                yield from self._lost(video, piece)
            else:
                yield FrameChunk(video.video_id, piece, piece[-1].pts_us - reached_us)
                reached_us = piece[-1].pts_us
        reached_us = segment.end_us if segment.end_us >= 0 else summary.last_pts_us
        metrics.VIDEO_MS.inc(max(0, reached_us - segment.start_us) // 1000)
        metrics.FRAMES.inc(summary.frames_read)
        metrics.DECODE_MS.update(round(1000 * pieces.seconds))
        yield TaggedOutput(
            ENDS,
            SegmentEnd(
                video_id=video.video_id,
                number=segment.number,
                frames_read=summary.frames_read,
                last_pts_us=summary.last_pts_us,
                min_step_us=summary.min_step_us,
                max_step_us=summary.max_step_us,
                problems=summary.problems,
                seconds=time.monotonic() - started,
            ),
        )

    def _read(self, segment: Segment) -> Iterator[SampledFrame | LostSample | Summary]:
        try:
            path = self._copies.path(segment.video.uri, segment.video.fingerprint)
        except OSError as error:
            yield Summary(0, -1, 0, 0, (f"The file could not be fetched: {error}.",))
            return
        yield from self._decoder.read(
            path, segment.start_us, segment.end_us, segment.zero_pts, self._fps, self._segment_timeout
        )

    @staticmethod
    def _lost(
        video: Video, lost: LostSample
    ) -> Iterator[TaggedOutput[Literal["samples"], Sample] | TaggedOutput[Literal["failures"], Failure]]:
        sample = Sample(video.video_id, lost.sample, lost.pts_us, DECODE_ERROR, 0, b"")
        yield TaggedOutput(SAMPLES, sample)
        row = Failure(video.video_id, video.uri, "SampleFrames", lost.pts_us, "DecodeError", lost.reason)
        metrics.count_failure("SampleFrames")
        yield TaggedOutput(FAILURES, row)

    def teardown(self) -> None:
        self._decoder.close()
        self._copies.close()


class SampleFrames(beam.PTransform):
    """PCollection[Segment] → FrameChunks (main), lost Samples, SegmentEnds (`ends`), Failures."""

    def __init__(self, fps: Fraction, segment_timeout: float) -> None:
        """Sample `fps` times a second, or every frame at 0; allow a decoder `segment_timeout` seconds."""
        super().__init__()
        self._fps = fps
        self._segment_timeout = segment_timeout

    def expand(self, segments: beam.PCollection[Segment]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return segments | beam.ParDo(_SampleFrames(self._fps, self._segment_timeout)).with_outputs(
            SAMPLES, ENDS, FAILURES, main="chunks"
        )
