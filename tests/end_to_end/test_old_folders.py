"""Folders that earlier versions wrote still open, in every command that opens one."""

import shutil

import pandas as pd
import pyarrow.parquet as pq
import pytest

import affectline as af
from schemas.emotions import EMOTIONS
from schemas.tables import SCHEMA_VERSION, TABLES
from tests.helpers.commands import ROOT, affectline

FOLDERS = sorted(path for path in (ROOT / "tests/old_folders").iterdir() if path.is_dir())


@pytest.fixture(params=FOLDERS, ids=lambda path: path.name)
def folder(request, tmp_path):
    shutil.copytree(request.param, tmp_path / "out")
    return tmp_path / "out"


def test_there_is_one_of_each_version():
    versions = {
        int(pq.read_metadata(path).metadata[b"affectline.schema_version"])
        for folder in FOLDERS
        for path in (folder / "videos").rglob("*.parquet")
    }
    assert versions == {*range(1, SCHEMA_VERSION + 1)}


def test_it_opens_in_python_with_the_columns_of_today(folder):
    tables = af.open_tables(folder)
    for name, schema in TABLES.items():
        assert set(schema.names) <= set(tables._table(name)(columns=[*schema.names, "file"]).columns)
    faces = tables.faces(where=[("file", "==", "astronaut.mp4")]).to_pandas()
    assert len(faces) == 5
    assert (faces[[*EMOTIONS]].sum(axis=1) - 1).abs().max() < 1e-5
    assert len(pd.read_parquet(folder / "timelines")) == 5
    assert tables.videos["status"].to_pylist() == ["ok"]


def test_every_command_that_opens_one_does(folder):
    for command in (
        ["report", folder, "-o", folder.parent / "html"],
        ["report", folder, "--json"],
        ["cite", folder],
        ["resmooth", folder, "--smoothing", "median"],
        ["compact", folder],
        ["report", folder, "--json"],
        ["cite", folder],
    ):
        done = affectline(*command)
        assert done.exit_code == 0, done.output
    assert "running median" in done.output
    assert len(af.open_tables(folder).faces) == 5
