"""`affectline compact`: the same rows in fewer files, whatever happens meanwhile."""

import os
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.commands import compact as module
from pipeline.commands.compact import compact
from pipeline.run.reconcile import check_sums
from schemas.elements import Video
from schemas.errors import RunError, UsageError
from schemas.tables import TABLES
from tests.helpers import synthetic
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load
from transforms.tables.receipts import read_receipt
from transforms.tables.resume import Resume, State
from transforms.tables.rows import (
    compacted,
    count_rows,
    drop_compacted,
    has_rows,
    list_video_ids,
    read_rows,
)

duckdb = pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    synthetic.write_corpus(out)
    return out, {table: load_all(out, table) for table in TABLES}


def load_all(out, table):
    frame = pd.read_parquet(out / table)
    frame["video_id"] = frame["video_id"].astype(str)
    keys = [key for key in ("video_id", "track_id", "sample", "pts_us", "message") if key in frame]
    return frame.sort_values(keys).reset_index(drop=True)


def assert_unchanged(out, before):
    for table, frame in before.items():
        pd.testing.assert_frame_equal(load_all(out, table), frame)


@pytest.fixture
def copy(corpus, tmp_path):
    out = tmp_path / "tables"
    shutil.copytree(corpus[0], out)
    return out, corpus[1]


def test_few_files_hold_the_same_rows(copy):
    out, before = copy
    done = compact(str(out))
    assert [(each.table, each.files_before, each.files_after) for each in done] == [(t, 4, 1) for t in TABLES]
    assert [each.rows for each in done] == [len(before[table]) for table in TABLES]
    for table in TABLES:
        assert os.listdir(out / table) == ["part-00000.parquet"]
        schema = pq.read_schema(out / table / "part-00000.parquet")
        assert schema.names == [*TABLES[table].names, "video_id"]
        assert schema.metadata[b"affectline.schema_version"]
    assert_unchanged(out, before)
    assert not (out / "_affectline/scratch").exists()
    assert compact(str(out)) == [module.Compacted(each.table, each.videos, each.rows, 1, 1) for each in done]


def test_one_video_is_found_in_both_layouts(copy, monkeypatch):
    out, _ = copy
    monkeypatch.setattr(module, "FILE_VIDEOS", 2)
    ids = list_video_ids(str(out / "videos"))
    before = {(table, one): read_rows(str(out), table, one) for table in TABLES for one in ids}
    compact(str(out))
    assert sorted(os.listdir(out / "tracks")) == ["part-00000.parquet", "part-00001.parquet"]
    assert list_video_ids(str(out / "videos")) == ids
    for (table, one), rows in before.items():
        assert read_rows(str(out), table, one).equals(rows)
        assert count_rows(str(out), table, one) == rows.num_rows
    assert read_rows(str(out), "videos", ids[0], ["uri"]).column_names == ["uri"]
    assert not has_rows(str(out), "videos", "absent")
    with pytest.raises(FileNotFoundError):
        read_rows(str(out), "videos", "absent")


@pytest.mark.parametrize("rows", [1, 100, 1 << 16])
def test_row_groups_and_file_sizes_do_not_matter(copy, monkeypatch, rows):
    out, before = copy
    monkeypatch.setattr(module, "ROW_GROUP_ROWS", rows)
    monkeypatch.setattr(module, "FILE_BYTES", 3000)
    compact(str(out))
    assert_unchanged(out, before)


class Killed(BaseException):
    """Stands for kill -9."""


STEPS = ("_write_file", "_verify", "exchange")


@pytest.mark.parametrize("when", range(2 * 3 * len(TABLES)))
def test_a_kill_at_any_step_loses_and_doubles_nothing(copy, monkeypatch, when):
    out, before = copy
    passed = 0

    def deadly(step):
        nonlocal passed
        if passed == when:
            raise Killed(step)
        passed += 1

    def around(name, real):
        def wrapped(*arguments):
            deadly(f"before {name}")
            result = real(*arguments)
            deadly(f"after {name}")
            return result

        return wrapped

    for name in STEPS:
        monkeypatch.setattr(module, name, around(name, getattr(module, name)))
    with pytest.raises(Killed):
        compact(str(out))
    assert_unchanged(out, before)
    monkeypatch.undo()
    compact(str(out))
    assert_unchanged(out, before)
    assert not (out / "_affectline/scratch").exists()


def test_rows_that_differ_stop_it(copy, monkeypatch):
    out, before = copy
    real = module.read_stretch

    def corrupted(stretch):
        rows = real(stretch)
        if "confidence" not in rows.column_names or not rows.num_rows:
            return rows
        column = rows["confidence"].to_numpy().copy()
        column[-1] = np.nextafter(column[-1], np.float32(2))
        at = rows.column_names.index("confidence")
        return rows.set_column(at, rows.schema.field(at), pa.array(column))

    monkeypatch.setattr(module, "read_stretch", corrupted)
    with pytest.raises(RunError, match="differ after writing"):
        compact(str(out))
    assert sum(name.startswith("video_id=") for name in os.listdir(out / "timelines")) == 4
    assert_unchanged(out, before)


def test_what_is_not_a_number_is_equal_to_itself():
    table = pa.table({"a": pa.array([1.0, float("nan"), None], pa.float32())})
    assert module._same(table, table)
    assert not module._same(table, pa.table({"a": pa.array([1.0, float("nan"), 0.0], pa.float32())}))


def test_new_videos_join_later(copy):
    out, before = copy
    compact(str(out))
    late = synthetic.timeline("/videos/late.mp4", 5, [(0, 4)], seed=9)
    synthetic.write(out, [late])
    assert len(list_video_ids(str(out / "timelines"))) == 5
    both = {table: load_all(out, table) for table in TABLES}
    assert len(both["timelines"]) == len(before["timelines"]) + 20
    assert set(both["timelines"]["video_id"]) - set(before["timelines"]["video_id"]) == {late.video.video_id}
    compact(str(out))
    assert_unchanged(out, both)


def test_videos_to_be_redone_leave_the_large_files(copy):
    out, before = copy
    compact(str(out))
    gone, *kept = list_video_ids(str(out / "timelines"))
    drop_compacted(str(out), [gone, "never-there"])
    for table in TABLES:
        frame = before[table]
        expected = frame[frame["video_id"] != gone].reset_index(drop=True)
        # A column of which only nulls are left is of another type in pandas.
        pd.testing.assert_frame_equal(load_all(out, table), expected, check_dtype=False)
        assert list_video_ids(str(out / table)) == kept


def test_a_run_resumes_and_redoes_in_a_compacted_folder(tmp_path, untrained_model):
    videos, out = tmp_path / "videos", tmp_path / "out"
    astronaut_clip(videos / "a.mp4", seconds=1)
    astronaut_clip(videos / "b.mp4", seconds=1)
    command = ["run", videos, "-o", out, *FAST, "--model", untrained_model]
    assert affectline(*command).exit_code == 0
    before = {table: load(out, table) for table in TABLES}
    compact(str(out))

    again = affectline(*command)
    assert "(2 were done before)" in again.stdout
    pd.testing.assert_frame_equal(load(out, "videos"), before["videos"])

    astronaut_clip(videos / "b.mp4", seconds=2)
    changed = affectline(*command)
    assert changed.exit_code == 0, changed.output
    assert "(1 were done before)" in changed.stdout
    assert load(out, "videos")["samples"].tolist() == [5, 10]
    assert load(out, "samples").groupby("video_id").size().tolist() == [5, 10]
    forced = affectline(*command, "--force")
    assert forced.exit_code == 0, forced.output
    assert load(out, "samples").groupby("video_id").size().tolist() == [5, 10]


def test_sums_are_checked_in_a_compacted_folder(copy):
    out, _ = copy
    compact(str(out))
    row = pd.read_parquet(out / "videos").query("uri == '/videos/talk.mp4'").iloc[0]
    video = Video(row["video_id"], row["uri"], row["fingerprint"], 1)
    assert Resume(300.0).state(video, str(out), synthetic.SETTINGS) == State.DONE
    assert Resume(300.0).state(video._replace(fingerprint="2-2"), str(out), synthetic.SETTINGS) == State.NEW
    receipts = {video.video_id: read_receipt(str(out), video.video_id)}
    [checked] = check_sums([video], receipts, synthetic.SETTINGS)
    assert checked["faces"] == row["faces"] == checked["rows_in_timelines"]
    receipts[video.video_id]["rows_in_samples"] -= 1
    with pytest.raises(RunError, match="299 rows in `samples`, but `videos` counts 300"):
        check_sums([video], receipts, synthetic.SETTINGS)


def test_a_compacted_folder_is_read_and_rewritten_on_a_remote_file_system(copy, remote):
    out, _ = copy
    compact(str(out))
    shutil.copytree(out, remote("mem://bucket/out"))
    first, *others = list_video_ids(str(out / "videos"))
    far = "mem://bucket/out"
    for table in TABLES:
        assert has_rows(far, table, first)
        assert read_rows(far, table, first).equals(read_rows(str(out), table, first))
        assert count_rows(far, table, first) == count_rows(str(out), table, first)
    drop_compacted(far, [first])
    assert {one for table in TABLES for one in compacted(f"{far}/{table}")} == set(others)
    assert not has_rows(far, "videos", first)
    for table in TABLES:
        assert read_rows(far, table, others[0]).equals(read_rows(str(out), table, others[0]))
    with pytest.raises(UsageError, match="copy the tables here, compact them"):
        compact(far)


def test_duckdb_reads_both_layouts_with_one_query(copy):
    out, before = copy
    query = f"""SELECT video_id, count(*) AS faces FROM read_parquet('{out}/timelines/**/*.parquet')
        GROUP BY video_id ORDER BY video_id"""
    expected = before["timelines"].groupby("video_id").size()
    for _ in range(2):
        assert dict(duckdb.sql(query).fetchall()) == expected.to_dict()
        compact(str(out))


def test_another_run_keeps_it_out_and_no_tables_are_refused(copy, tmp_path):
    from pipeline.run.lock import locked

    out, _ = copy
    with locked(str(out)), pytest.raises(UsageError, match="Another run"):
        compact(str(out))
    for folder in (tmp_path / "absent", tmp_path):
        with pytest.raises(UsageError):
            compact(str(folder))
