"""WriteTables: one file per table and video, each whole or absent, the row in `videos` last."""

from collections.abc import Mapping

import apache_beam as beam
import pyarrow as pa

from schemas.elements import Video
from schemas.settings import Settings
from schemas.tables import TABLES
from transforms import metrics
from transforms.storage import delete, table_path, write_parquet
from transforms.tables import tabulate
from transforms.timeline import Timeline
from transforms.video_tables import has_rows, read_rows


def write_video(tables: Mapping[str, pa.Table], video_id: str, out: str) -> None:
    """Write one video's part of every table below `out`.

    The old row in `videos` goes first: a crash in between leaves a video that is not done, never
    one that is done with tables of two runs.
    """
    delete(table_path(out, "videos", video_id))
    for name in TABLES:
        write_parquet(tables[name], table_path(out, name, video_id), out)


def _write(timeline: Timeline, settings: Settings, out: str) -> str:
    video_id = timeline.video.video_id
    write_video(tabulate(timeline, settings), video_id, out)
    metrics.TABLES.inc()
    return video_id


def is_done(video: Video, out: str, config_hash: str) -> bool:
    """Whether the tables hold this very file under these very settings."""
    if not has_rows(out, "videos", video.video_id):
        return False
    [row] = read_rows(out, "videos", video.video_id, ["fingerprint", "config_hash"]).to_pylist()
    return row == {"fingerprint": video.fingerprint, "config_hash": config_hash}


class WriteTables(beam.PTransform):
    """PCollection[Timeline] → PCollection[str]: the ids of videos whose tables are complete."""

    def __init__(self, settings: Settings, out: str) -> None:
        """Write below the folder `out`."""
        super().__init__()
        self._settings, self._out = settings, out

    def expand(self, timelines: beam.PCollection[Timeline]) -> beam.PCollection[str]:
        """Wire the step."""
        return timelines | beam.Map(_write, self._settings, self._out).with_output_types(str)
