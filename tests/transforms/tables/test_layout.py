"""One statement of each reader takes a folder as a run writes it, compacted, and mixed."""

import os

import pandas as pd
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from pipeline.commands.compact import compact
from schemas.tables import TABLES
from tests.helpers import synthetic
from transforms.tables.files import table_path, write_parquet
from transforms.tables.rows import list_video_ids, read_rows

LAYOUTS = ("as written", "compacted", "mixed")
LATE = synthetic.timeline("/videos/late.mp4", 5, [(0, 4)], seed=9)


@pytest.fixture(scope="module", params=LAYOUTS)
def out(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out")
    synthetic.write_corpus(folder)
    if request.param == "as written":
        synthetic.write(folder, [LATE])
    else:
        compact(str(folder))
        synthetic.write(folder, [LATE])
        if request.param == "compacted":
            compact(str(folder))
    return folder


@pytest.fixture(scope="module")
def expected(out):
    """Rows of each table by video, as the project's own reader counts them."""
    return {
        table: {
            one: len(read_rows(str(out), table, one))
            for one in list_video_ids(str(out / table))
            if len(read_rows(str(out), table, one))
        }
        for table in TABLES
    }


@pytest.mark.parametrize("table", TABLES)
def test_pandas(out, expected, table):
    frame = pd.read_parquet(out / table)
    assert list(frame.columns) == [*TABLES[table].names, "video_id"]
    assert frame.groupby("video_id", observed=True).size().to_dict() == expected[table]
    one = next(iter(expected[table]))
    assert len(pd.read_parquet(out / table, filters=[("video_id", "==", one)])) == expected[table][one]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("read", [pq.read_table, lambda folder: ds.dataset(folder).to_table()])
def test_pyarrow(out, expected, table, read):
    rows = read(out / table)
    counts = rows["video_id"].cast("string").value_counts().to_pylist()
    assert {each["values"]: each["counts"] for each in counts} == expected[table]


@pytest.mark.parametrize("table", TABLES)
def test_duckdb(out, expected, table):
    assert count_in_duckdb(out, table) == expected[table]


def count_in_duckdb(out, table):
    duckdb = pytest.importorskip("duckdb")
    counted = duckdb.sql(
        f"""SELECT video_id, count(*)
        FROM read_parquet('{out}/{table}/**/*.parquet', union_by_name = true, hive_partitioning = false)
        GROUP BY video_id"""
    )
    return dict(counted.fetchall())


@pytest.mark.parametrize("table", TABLES)
def test_polars(out, expected, table):
    polars = pytest.importorskip("polars")
    rows = polars.scan_parquet(f"{out}/{table}/**/*.parquet", hive_partitioning=False).collect()
    counts = rows.group_by("video_id").len()
    assert dict(zip(counts["video_id"], counts["len"], strict=True)) == expected[table]


@pytest.mark.parametrize("table", TABLES)
def test_bigquery(out, table):
    """Its rule for an external table without partitions: each file below the wildcard has all the columns."""
    files = [path for path in (out / table).rglob("*") if path.is_file()]
    columns = {tuple(str(column) for column in columns_of(path)) for path in files}
    assert len(columns) == 1
    assert [name for name, *_ in columns_of(files[0])] == [*TABLES[table].names, "video_id"]


def columns_of(path):
    schema = pq.ParquetFile(path).schema
    return [
        (column.name, column.physical_type, str(column.logical_type), column.max_definition_level)
        for column in map(schema.column, range(len(schema)))
    ]


LATER_COLUMNS = {
    "videos": ["stopped_after_s"],
    "tracks": ["share_frontal", "median_face_px"],
}


def test_a_folder_of_an_earlier_version_is_read_and_gains_the_column(tmp_path):
    synthetic.write_corpus(tmp_path)
    ids = list_video_ids(str(tmp_path / "videos"))
    for table in TABLES:
        for one in ids:
            rows = read_rows(str(tmp_path), table, one)
            rows = rows.drop_columns(LATER_COLUMNS.get(table, []))
            write_parquet(rows, table_path(str(tmp_path), table, one), str(tmp_path))
    before = {(table, one): read_rows(str(tmp_path), table, one) for table in TABLES for one in ids}
    assert "video_id" not in before["videos", ids[0]].column_names
    frame = pd.read_parquet(tmp_path / "videos")
    assert sorted(frame["video_id"]) == ids
    synthetic.write(tmp_path, [LATE])
    assert sorted(pd.read_parquet(tmp_path / "videos")["video_id"]) == sorted([*ids, LATE.video.video_id])
    compact(str(tmp_path))
    for (table, one), rows in before.items():
        assert read_rows(str(tmp_path), table, one).to_pylist() == rows.to_pylist()
    assert os.listdir(tmp_path / "timelines") == ["part-00000.parquet"]
    for table in TABLES:
        found = count_in_duckdb(tmp_path, table)
        assert sum(found.values()) == len(pd.read_parquet(tmp_path / table))
        assert set(found) <= {*ids, LATE.video.video_id}
