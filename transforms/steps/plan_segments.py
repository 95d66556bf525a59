"""PlanSegments: open each video once and cut it into stretches that workers can take."""

from collections.abc import Iterator
from typing import Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.elements import Failure, Segment, Video, VideoInfo
from transforms.steps import metrics
from transforms.steps.stopping import check_stopping
from transforms.video.records import Probe
from transforms.video.sampling import VideoReader, plan_video

INFOS: Final = "infos"
FAILURES: Final = "failures"


class _PlanSegments(beam.DoFn):
    def __init__(self, segment_us: int, time_limit: float) -> None:
        self._segment_us, self._time_limit = segment_us, time_limit

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
                metrics.count_failure(item.stage)
                yield TaggedOutput(FAILURES, item)

    def _probe(self, video: Video) -> Probe:
        return self._reader.probe(video, self._time_limit)

    def teardown(self) -> None:
        self._reader.close()


class PlanSegments(beam.PTransform):
    """PCollection[Video] → Segments (main), VideoInfos (`infos`), Failures (`failures`)."""

    def __init__(self, segment_us: int, time_limit: float) -> None:
        """Cut every `segment_us` microseconds; 0 keeps each video whole. time_limit: as for a probe."""
        super().__init__()
        self._segment_us, self._time_limit = segment_us, time_limit

    def expand(self, videos: beam.PCollection[Video]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return videos | beam.ParDo(_PlanSegments(self._segment_us, self._time_limit)).with_outputs(
            INFOS, FAILURES, main="segments"
        )
