"""SampleFrames: decode each segment and pass on the frames that are samples, a few at a time."""

import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, Literal, TypeVar

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.elements import Failure, Sample, Segment, SegmentEnd
from transforms.steps import metrics
from transforms.steps.plan_segments import raise_unavailable
from transforms.steps.stopping import check_stopping
from transforms.video.chunks import FrameChunk
from transforms.video.sampling import VideoReader

ENDS: Final = "ends"
FAILURES: Final = "failures"
SAMPLES: Final = "samples"
_T = TypeVar("_T")


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
    def __init__(self, fps: Fraction, segment_timeout: float, retries: bool) -> None:
        self._fps = fps
        self._segment_timeout = segment_timeout
        self._retries = retries

    def setup(self) -> None:
        self._reader = VideoReader()
        self._reader.start()

    def process(
        self, segment: Segment
    ) -> Iterator[
        FrameChunk
        | TaggedOutput[Literal["samples"], Sample]
        | TaggedOutput[Literal["ends"], SegmentEnd]
        | TaggedOutput[Literal["failures"], Failure]
    ]:
        items = _Waited(self._reader.read(segment, self._fps, self._segment_timeout))
        for item in items:
            check_stopping()
            if isinstance(item, FrameChunk):
                yield item
            elif isinstance(item, Sample):
                yield TaggedOutput(SAMPLES, item)
            elif isinstance(item, Failure):
                if self._retries:
                    raise_unavailable(item)
                metrics.count_failure(item.stage)
                yield TaggedOutput(FAILURES, item)
            else:
                reached_us = segment.end_us if segment.end_us >= 0 else item.last_pts_us
                metrics.VIDEO_MS.inc(max(0, reached_us - segment.start_us) // 1000)
                metrics.FRAMES_DECODED.inc(item.frames_read)
                metrics.DECODE_MS.update(round(1000 * items.seconds))
                yield TaggedOutput(ENDS, item)

    def teardown(self) -> None:
        self._reader.close()


class SampleFrames(beam.PTransform):
    """PCollection[Segment] → FrameChunks (main), lost Samples, SegmentEnds (`ends`), Failures."""

    def __init__(self, fps: Fraction, segment_timeout: float, retries: bool) -> None:
        """Sample `fps` times a second, or every frame at 0; allow a decoder `segment_timeout` seconds.

        retries: as in PlanSegments.
        """
        super().__init__()
        self._step = _SampleFrames(fps, segment_timeout, retries)

    def expand(self, segments: beam.PCollection[Segment]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return segments | beam.ParDo(self._step).with_outputs(SAMPLES, ENDS, FAILURES, main="chunks")
