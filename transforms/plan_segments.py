"""PlanSegments: open each video once and cut it into stretches that workers can take."""

from collections.abc import Iterator
from typing import Final, Literal

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.pvalue import TaggedOutput

from schemas.elements import Failure, Segment, Video, VideoInfo
from transforms import metrics
from transforms.decoder import Decoder
from transforms.storage import LocalCopies
from transforms.video import Probe, UnreadableVideoError

INFOS: Final = "infos"
FAILURES: Final = "failures"


def cut(video: Video, probe: Probe, segment_us: int) -> list[Segment]:
    """Stretches of `segment_us` microseconds that cover a video.

    One piece when that is 0, or when the file's timestamps make sense only from the start. The
    file's claim of a duration only decides how many pieces there are: the last has no end.
    """
    whole = not segment_us or probe.one_piece
    count = 1 if whole else max(1, -(-probe.duration_us // segment_us))
    return [
        Segment(
            video=video,
            number=number,
            start_us=number * segment_us,
            end_us=(number + 1) * segment_us if number + 1 < count else -1,
            zero_pts=probe.zero_pts,
        )
        for number in range(count)
    ]


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
        except (UnreadableVideoError, OSError, BeamIOError) as error:
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
