"""affectline's transforms in a pipeline of a user's own."""

import json
import re

import pandas as pd
import pytest
from apache_beam.io.gcp.bigquery_tools import RowAsDictJsonCoder
from apache_beam.testing import test_pipeline
from apache_beam.testing.util import assert_that

import affectline as af
from affectline.beam import EmotionRows, EmotionTimelines, FindVideos, bigquery_schema
from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, ROOT, affectline, assert_same_tables, load

SETTINGS = af.Settings(fps=5, detector="haar", smoothing="ema")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beam")
    astronaut_clip(folder / "videos/clip.mp4", seconds=2)
    (folder / "videos/broken.mp4").write_text("This is no video.\n" * 50)
    return folder


def test_rows_of_every_table_come_and_the_same_parquet_as_a_run_writes(folder, tmp_path):
    """Read in pieces, and compared row by row with what the command writes."""
    assert affectline("run", folder / "videos", "-o", tmp_path / "ran", *FAST).exit_code == 3
    out = tmp_path / "out"

    def the_rows_of(table):
        def check(found):
            expected = load(tmp_path / "ran", table).drop(
                columns=["processed_at", "seconds"], errors="ignore"
            )
            assert len(found) == len(expected)
            frame = pd.DataFrame(found, columns=[*TABLES[table].names, "video_id"])
            keys = [key for key in ("video_id", "track_id", "sample", "pts_us") if key in frame]
            frame = frame.sort_values(keys).reset_index(drop=True)[expected.columns]
            pd.testing.assert_frame_equal(
                frame.astype(object).where(frame.notna(), None),
                expected.astype(object).where(expected.notna(), None),
                check_dtype=False,
                rtol=0,
                atol=1e-4,
            )

        return check

    with test_pipeline.TestPipeline(runner="FnApiRunner") as pipeline:
        videos = pipeline | FindVideos([str(folder / "videos")])
        rows = videos | EmotionTimelines(SETTINGS, out=str(out), segment_seconds=0.7)
        assert isinstance(rows, EmotionRows)
        for table, found in rows._asdict().items():
            assert_that(found, the_rows_of(table), label=table)
    assert_same_tables(out, tmp_path / "ran")
    assert len(af.open_tables(out)) == 2
    assert not list(out.glob("_affectline/scratch/receipts-*"))


def test_what_cannot_be_is_said_where_it_is_built():
    with pytest.raises(af.UsageError, match="no detector 'eyes'"):
        EmotionTimelines(af.Settings(detector="eyes"))
    with pytest.raises(af.UsageError, match="segment_seconds is -1"):
        EmotionTimelines(segment_seconds=-1)
    with pytest.raises(af.UsageError, match="no table 'faces'"):
        bigquery_schema("faces")


def test_bigquery_gets_a_type_for_every_column():
    for table, schema in TABLES.items():
        types = {field["name"]: field["type"] for field in bigquery_schema(table)["fields"]}
        assert list(types) == [*schema.names, "video_id"]
    types = {field["name"]: field["type"] for field in bigquery_schema("timelines")["fields"]}
    assert (
        types
        | {
            **{"sample": "INTEGER", "time_s": "FLOAT", "emotion": "STRING", "raw_happy": "FLOAT"},
            **{"appearance": "BYTES", "video_id": "STRING"},
        }
        == types
    )


def test_the_examples_of_the_page_run_and_its_sink_is_built(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    page = (ROOT / "docs/beam.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names = {}
    for block in blocks:
        exec(compile(block, "docs/beam.md", "exec"), names)
    assert re.fullmatch(r"(video clip-\w+, track 0: \d+ samples\n)?", (folder / "happy.txt").read_text())
    steps = [step.unique_name for step in names["pipeline"].to_runner_api().components.transforms.values()]
    for table in TABLES:
        assert any(step.startswith(f"Write {table}/BigQueryBatchFileLoads") for step in steps)


def test_bigquerys_loader_takes_every_row(folder):
    analyzer = af.Analyzer(detector="haar")
    clip = analyzer.video(folder / "videos/clip.mp4", crops=False)
    coder = RowAsDictJsonCoder()
    for row in [*clip.faces, *clip.samples, *clip.tracks, clip.row]:
        assert json.loads(coder.encode(row))
