"""The pipeline as a transform for a pipeline of one's own."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import apache_beam as beam
import pyarrow as pa
from apache_beam.pvalue import TaggedOutput

from pipeline.build import Execution, timelines
from pipeline.run.options import RunOptions, SettingsOptions
from pipeline.run.settings import check_settings
from schemas.elements import Video
from schemas.errors import UsageError
from schemas.settings import Settings
from schemas.tables import TABLES, with_emotions
from transforms.steps.write_tables import WriteTables
from transforms.tables.rows import with_video_id
from transforms.timelines.gather import Timeline
from transforms.timelines.tabulate import tabulate

_ROWS_AT_ONCE: Final = 1024
_TIMEOUT_S: Final = RunOptions().segment_timeout


class EmotionRows(NamedTuple):
    """What `EmotionTimelines` yields: the rows of each table, each a dict by column with `video_id`."""

    timelines: beam.PCollection[dict[str, Any]]
    samples: beam.PCollection[dict[str, Any]]
    tracks: beam.PCollection[dict[str, Any]]
    videos: beam.PCollection[dict[str, Any]]
    failures: beam.PCollection[dict[str, Any]]


class EmotionTimelines(beam.PTransform):
    """PCollection of videos, as `FindVideos` gives them → EmotionRows.

    Every video has one row in `videos`, every planned sample one in `samples`, every detected face one in
    `timelines` or in `failures`.
    """

    def __init__(
        self,
        settings: SettingsOptions | None = None,
        out: str | None = None,
        *,
        segment_seconds: float = 60.0,
        batch_size: int | None = None,
    ) -> None:
        """Look for what the settings say.

        Args:
            settings: `affectline.Settings(...)`; None for the usual ones. Workers must be able to read the
                model, if it is a file.
            out: a folder into which Parquet is written as well, as `affectline run` writes it.
            segment_seconds: the length of the pieces that workers take; 0 for whole videos.
            batch_size: faces classified at once; None for as many as pay and fit.

        Raises:
            UsageError: there is no such model or detector, or a number is out of range.
        """
        super().__init__()
        if segment_seconds < 0:
            raise UsageError(f"segment_seconds is {segment_seconds}; give at least 0.")
        self._settings, self._model = check_settings(settings or SettingsOptions())
        self._execution = Execution(
            out=out or "",
            segment_seconds=segment_seconds,
            segment_timeout=_TIMEOUT_S,
            receipts="",
            batch_size=batch_size,
        )

    def expand(self, videos: beam.PCollection[Video]) -> EmotionRows:
        """Wire the steps."""
        execution = self._execution
        found = timelines(videos, self._settings, self._model, execution)
        if execution.out:
            _ = found | WriteTables(self._settings, execution.out, execution.receipts, _TIMEOUT_S)
        rows: Any = found | "Rows" >> beam.FlatMap(_rows, self._settings).with_outputs(*TABLES)
        return EmotionRows(**{table: rows[table] for table in TABLES})


def _rows(timeline: Timeline, settings: Settings) -> Iterator[Any]:
    """A TaggedOutput for each row, its tag the table."""
    for name, table in tabulate(timeline, settings, _TIMEOUT_S).items():
        for batch in with_video_id(table, timeline.video.video_id).to_batches(max_chunksize=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                yield TaggedOutput(name, row)


def bigquery_schema(table: str, settings: SettingsOptions | None = None) -> dict[str, list[dict[str, str]]]:
    """The schema with which BigQuery takes the rows of a table, as `WriteToBigQuery(schema=...)` wants it.

    Args:
        table: `timelines`, `samples`, `tracks`, `videos` or `failures`.
        settings: the pipeline's, whose model may have classes beside the seven; None for the usual ones.

    Raises:
        UsageError: there is no such table or model.
    """
    if table not in TABLES:
        raise UsageError(f"There is no table '{table}'; choose one of {', '.join(TABLES)}.")
    classes = check_settings(settings)[0].classes if settings else ()
    fields = [*with_emotions(TABLES[table], classes), pa.field("video_id", pa.string())]
    return {"fields": [{"name": field.name, "type": _bigquery_type(field.type)} for field in fields]}


def _bigquery_type(kind: pa.DataType) -> str:
    known = (
        (pa.types.is_integer, "INTEGER"),
        (pa.types.is_floating, "FLOAT"),
        (pa.types.is_boolean, "BOOLEAN"),
        (pa.types.is_timestamp, "TIMESTAMP"),
        (pa.types.is_binary, "BYTES"),
        (pa.types.is_fixed_size_binary, "BYTES"),
    )
    return next((name for fits, name in known if fits(kind)), "STRING")
