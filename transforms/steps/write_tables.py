"""WriteTables and Resmooth: the steps around `transforms.tables.write`, which tell what they wrote."""

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import replace

import apache_beam as beam

from schemas.elements import Video
from schemas.settings import Settings
from transforms.steps import metrics
from transforms.steps.stopping import check_stopping
from transforms.tables.receipts import Receipt, write_receipts
from transforms.tables.resume import was_killed_before
from transforms.tables.write import write_video
from transforms.timelines.gather import Timeline
from transforms.timelines.stored import resmooth_video
from transforms.timelines.tabulate import tabulate


class _Writer(beam.DoFn):
    """Writes one video after the other, and at the end of a bundle its receipts."""

    def __init__(self, settings: Settings, out: str, receipts: str) -> None:
        self._settings, self._out, self._folder = settings, out, receipts

    def start_bundle(self) -> None:
        self._receipts: list[Receipt] = []

    def process(self, element: Timeline | Video) -> Iterator[str]:
        check_stopping()
        receipt = self._write(element)
        self._receipts.append(receipt)
        metrics.VIDEOS_WRITTEN.inc()
        yield receipt["video_id"]

    def finish_bundle(self) -> None:
        if self._receipts and self._folder:
            write_receipts(self._receipts, self._folder, self._out)

    @abstractmethod
    def _write(self, element: Timeline | Video) -> Receipt: ...


class _WriteTimeline(_Writer):
    def __init__(self, settings: Settings, out: str, receipts: str, segment_timeout: float) -> None:
        super().__init__(settings, out, receipts)
        self._segment_timeout = segment_timeout

    def _write(self, timeline: Timeline) -> Receipt:  # type: ignore[override]
        if timeline.was_killed:
            timeline = replace(timeline, killed_before=was_killed_before(timeline.video, self._out))
        tables = tabulate(timeline, self._settings, self._segment_timeout)
        return write_video(tables, timeline.video.video_id, self._out)


class _Resmooth(_Writer):
    def _write(self, video: Video) -> Receipt:  # type: ignore[override]
        return resmooth_video(self._out, video.video_id, self._settings)


class WriteTables(beam.PTransform):
    """PCollection[Timeline] → PCollection[str]: the ids of videos whose tables are complete."""

    def __init__(self, settings: Settings, out: str, receipts: str, segment_timeout: float) -> None:
        """Write below the folder `out`, and receipts into the folder `receipts`, if there is one.

        segment_timeout: the time limit that decoders had.
        """
        super().__init__()
        self._writer = _WriteTimeline(settings, out, receipts, segment_timeout)

    def expand(self, timelines: beam.PCollection[Timeline]) -> beam.PCollection[str]:
        """Wire the step."""
        return timelines | beam.ParDo(self._writer).with_output_types(str)


class Resmooth(beam.PTransform):
    """PCollection[Video] → PCollection[str]: smoothed anew from their tables, and their ids."""

    def __init__(self, settings: Settings, out: str, receipts: str) -> None:
        """Take the settings' smoothing; the rest as in WriteTables."""
        super().__init__()
        self._writer = _Resmooth(settings, out, receipts)

    def expand(self, videos: beam.PCollection[Video]) -> beam.PCollection[str]:
        """Wire the step."""
        return videos | beam.ParDo(self._writer).with_output_types(str)
