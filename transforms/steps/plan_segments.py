"""PlanSegments: open each video once and cut it into stretches that workers can take."""

from collections.abc import Iterator
from typing import Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.elements import Failure, Segment, Video, VideoInfo
from schemas.errors import UnavailableError
from transforms.fingerprints import MISSING
from transforms.steps import metrics
from transforms.steps.stopping import check_stopping
from transforms.video.records import Probe
from transforms.video.sampling import VideoReader, plan_video

INFOS: Final = "infos"
FAILURES: Final = "failures"


def raise_unavailable(failure: Failure) -> None:
    """UnavailableError where that is what a failure says, else nothing."""
    if failure.error_type == UnavailableError.__name__:
        raise UnavailableError(failure.message)


class _PlanSegments(beam.DoFn):
    def __init__(self, segment_us: int, time_limit: float, retries: bool) -> None:
        self._segment_us = segment_us
        self._time_limit = time_limit
        self._retries = retries

    def setup(self) -> None:
        self._reader = VideoReader()

    def process(
        self, video: Video
    ) -> Iterator[
        Segment | TaggedOutput[Literal["infos"], VideoInfo] | TaggedOutput[Literal["failures"], Failure]
    ]:
        check_stopping()
        metrics.VIDEOS_OPENED.inc()
        for item in plan_video(video, self._probe, self._segment_us):
            if isinstance(item, Segment):
                yield item
            elif isinstance(item, VideoInfo):
                yield TaggedOutput(INFOS, item)
            else:
                if self._retries and video.fingerprint != MISSING:
                    raise_unavailable(item)
                metrics.count_failure(item.stage)
                yield TaggedOutput(FAILURES, item)

    def _probe(self, video: Video) -> Probe:
        return self._reader.probe(video, self._time_limit)

    def teardown(self) -> None:
        self._reader.close()


class PlanSegments(beam.PTransform):
    """PCollection[Video] → Segments (main), VideoInfos (`infos`), Failures (`failures`)."""

    def __init__(self, segment_us: int, time_limit: float, retries: bool) -> None:
        """Cut every `segment_us` microseconds; 0 keeps each video whole.

        time_limit: seconds that opening one may take. retries: raise UnavailableError, for a runner that
        tries again.
        """
        super().__init__()
        self._step = _PlanSegments(segment_us, time_limit, retries)

    def expand(self, videos: beam.PCollection[Video]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return videos | beam.ParDo(self._step).with_outputs(INFOS, FAILURES, main="segments")
