"""The same input and settings give the same bytes, whatever run, worker count and cut."""

import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in (1, 2):
        astronaut_clip(folder / f"clip-{number}.mp4", seconds=number)
    return folder


def timelines(videos, out, *options):
    """The bytes of each column of `timelines`."""
    result = affectline("run", videos, "-o", out, *FAST, *options)
    assert result.exit_code == 0, result.output
    rows = ds.dataset(out / "timelines").to_table()
    place = rows.schema.get_field_index("video_id")
    rows = rows.set_column(place, "video_id", rows["video_id"].cast(pa.string()))
    rows = rows.sort_by([(name, "ascending") for name in ("video_id", "sample", "track_id")])
    rows = rows.combine_chunks().unify_dictionaries()
    assert rows.num_rows > 10
    return {
        name: [buffer.to_pybytes() for chunk in column.chunks for buffer in chunk.buffers() if buffer]
        for name, column in zip(rows.column_names, rows.columns, strict=True)
    }


@pytest.fixture(scope="module")
def first(videos, tmp_path_factory):
    return timelines(videos, tmp_path_factory.mktemp("first") / "out")


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("segment_seconds", ["0", "0.7", "60"])
def test_timelines_are_byte_identical(videos, first, tmp_path, workers, segment_seconds):
    options = ["--workers", workers, "--segment-seconds", segment_seconds]
    assert timelines(videos, tmp_path / "out", *options) == first
