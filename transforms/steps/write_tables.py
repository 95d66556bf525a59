"""WriteTables: the step around `transforms.tables.write`."""

import apache_beam as beam

from schemas.settings import Settings
from transforms.steps import metrics
from transforms.steps.stopping import check_stopping
from transforms.tables.write import write_video
from transforms.timelines.gather import Timeline
from transforms.timelines.tabulate import tabulate


def _write(timeline: Timeline, settings: Settings, out: str) -> str:
    video_id = timeline.video.video_id
    check_stopping()
    write_video(tabulate(timeline, settings), video_id, out)
    metrics.VIDEOS_WRITTEN.inc()
    return video_id


class WriteTables(beam.PTransform):
    """PCollection[Timeline] → PCollection[str]: the ids of videos whose tables are complete."""

    def __init__(self, settings: Settings, out: str) -> None:
        """Write below the folder `out`."""
        super().__init__()
        self._settings, self._out = settings, out

    def expand(self, timelines: beam.PCollection[Timeline]) -> beam.PCollection[str]:
        """Wire the step."""
        return timelines | beam.Map(_write, self._settings, self._out).with_output_types(str)
