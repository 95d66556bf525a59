"""Rows of a compacted video that is written anew: the old set or the new one, whenever a kill comes."""

import os
import shutil

import pandas as pd
import pytest

from pipeline.commands.compact import compact
from schemas.tables import TABLES
from tests.helpers import synthetic
from transforms.tables.rows import compacted, drop_compacted, drop_replaced, list_video_ids, read_rows
from transforms.tables.write import write_video
from transforms.timelines.tabulate import tabulate

URI = "/videos/talk.mp4"
NEW = tabulate(synthetic.timeline(URI, 10, [(0, 7)], seed=3), synthetic.SETTINGS)
OLD = tabulate(synthetic.timeline(URI, 20, [(0, 12)], seed=4), synthetic.SETTINGS)
VIDEO_ID = synthetic.timeline(URI, 1, []).video.video_id
RENAMES = len(TABLES)  # of new parts; as many compacted files are then written anew


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    out = tmp_path_factory.mktemp("start")
    synthetic.write(out, [synthetic.timeline("/videos/other.mp4", 5, [(0, 4)], seed=5)])
    write_video(OLD, VIDEO_ID, str(out))
    compact(str(out))
    return out


def kill_at(monkeypatch, when):
    passed = 0
    real = os.replace

    def replace(source, target):
        nonlocal passed
        if passed == when:
            raise Killed
        passed += 1
        real(source, target)

    monkeypatch.setattr("transforms.tables.files.os.replace", replace)


def sets(out):
    """For each table, which of the two sets the project's readers give."""
    found = {table: read_rows(out, table, VIDEO_ID).num_rows for table in TABLES if table != "failures"}
    return [
        name
        for name, tables in (("old", OLD), ("new", NEW))
        if all(
            rows == tables[table].num_rows
            and read_rows(out, "videos", VIDEO_ID)["faces"][0].as_py() == tables["timelines"].num_rows
            for table, rows in found.items()
        )
    ]


@pytest.mark.parametrize("when", range(2 * RENAMES + 1))
def test_a_kill_at_any_step_leaves_one_whole_set(start, tmp_path, monkeypatch, when):
    out = str(shutil.copytree(start, tmp_path / "out"))
    with monkeypatch.context() as patch:
        kill_at(patch, when)
        try:
            write_video(NEW, VIDEO_ID, out)
            drop_compacted(out, [VIDEO_ID])
        except Killed:
            pass
    expected = ["old"] if when < RENAMES else ["new"]
    assert sets(out) == expected
    drop_replaced(out)
    assert sets(out) == expected
    counts = pd.read_parquet(f"{out}/samples").groupby("video_id", observed=True).size()
    assert counts[VIDEO_ID] == {"old": 100, "new": 50}[expected[0]]
    write_video(NEW, VIDEO_ID, out)
    drop_compacted(out, [VIDEO_ID])
    assert sets(out) == ["new"]
    assert VIDEO_ID not in compacted(f"{out}/timelines")
    assert len(list_video_ids(f"{out}/videos")) == 2
    for table in TABLES:
        frame = pd.read_parquet(f"{out}/{table}")
        assert (frame["video_id"] == VIDEO_ID).sum() == NEW[table].num_rows
