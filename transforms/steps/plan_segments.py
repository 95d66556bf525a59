"""PlanSegments: open each video once and cut it into stretches that workers can take."""

from collections.abc import Iterator
from typing import Final, Literal

import apache_beam as beam
from apache_beam.pvalue import TaggedOutput

from schemas.elements import Failure, Segment, Video, VideoInfo
from schemas.errors import UnreadableVideoError
from transforms.remote import LocalCopies
from transforms.steps import metrics
from transforms.video.decoder import Decoder
from transforms.video.segments import cut

INFOS: Final = "infos"
FAILURES: Final = "failures"


class _PlanSegments(beam.DoFn):
    def __init__(self, segment_us: int) -> None:
        self._segment_us = segment_us

    def setup(self) -> None:
        self._decoder = Decoder()
        self._copies = LocalCopies()

    def process(
        self, video: Video
    ) -> Iterator[
        Segment | TaggedOutput[Literal["infos"], VideoInfo] | TaggedOutput[Literal["failures"], Failure]
    ]:
        metrics.VIDEOS.inc()
        try:
            probe = self._decoder.probe(self._copies.path(video.uri, video.fingerprint))
        except (UnreadableVideoError, OSError) as error:
            metrics.count_failure("PlanSegments")
            kind, message = type(error).__name__, str(error)
            row = Failure(video.video_id, video.uri, "PlanSegments", None, kind, message)
            yield TaggedOutput(FAILURES, row)
            return
        segments = cut(video, probe, self._segment_us)
        info = VideoInfo(
            video_id=video.video_id,
            width=probe.width,
            height=probe.height,
            rotation=probe.rotation,
            codec=probe.codec,
            duration_us=probe.duration_us,
            segments=len(segments),
            problems=probe.problems,
        )
        yield TaggedOutput(INFOS, info)
        yield from segments

    def teardown(self) -> None:
        self._decoder.close()
        self._copies.close()


class PlanSegments(beam.PTransform):
    """PCollection[Video] → Segments (main), VideoInfos (`infos`), Failures (`failures`)."""

    def __init__(self, segment_us: int) -> None:
        """Cut every `segment_us` microseconds; 0 keeps each video whole."""
        super().__init__()
        self._segment_us = segment_us

    def expand(self, videos: beam.PCollection[Video]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return videos | beam.ParDo(_PlanSegments(self._segment_us)).with_outputs(
            INFOS, FAILURES, main="segments"
        )
