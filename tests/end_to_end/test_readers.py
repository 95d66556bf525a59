"""What other programs find in the tables: types, and numbers that are numbers."""

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.types as types
import pytest

from schemas.emotions import EMOTIONS
from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline
from tests.helpers.tiny_model import save_brightness_model
from tests.helpers.videos import even, write_video

# Null where a video has nothing to say; a class that the model does not know is null too.
MAY_BE_NULL = {("videos", name) for name in ("duration_s", "sar", "stopped_after_s")}


@pytest.fixture(scope="module")
def model(untrained_model):
    return ["--model", str(untrained_model)]


@pytest.fixture(scope="module")
def mixed(model, tmp_path_factory):
    """Tables of a video with faces, one without, one damaged and one that is none."""
    folder = tmp_path_factory.mktemp("videos")
    astronaut_clip(folder / "face.mp4", seconds=2)
    write_video(folder / "bars.mp4", even(25))
    one = write_video(folder / "one-frame.mp4", even(1))
    (folder / "cut.mp4").write_bytes(one.read_bytes()[:300])
    (folder / "empty.mp4").write_bytes(b"")
    out = tmp_path_factory.mktemp("run") / "out"
    assert affectline("run", folder, "-o", out, *FAST, *model).exit_code == 3
    return out


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """Tables of a model that knows two classes."""
    folder = tmp_path_factory.mktemp("two")
    astronaut_clip(folder / "face.mp4", seconds=2)
    model = save_brightness_model(folder / "two.keras", ["happy", "sad"], 120, 0.1)
    assert affectline("run", folder, "-o", folder / "out", *FAST, "--model", model).exit_code == 0
    return folder / "out"


@pytest.fixture(scope="module")
def faceless(model, tmp_path_factory):
    """Tables of a video without a face, and of nothing else."""
    folder = tmp_path_factory.mktemp("bars")
    write_video(folder / "bars.mp4", even(25))
    assert affectline("run", folder, "-o", folder / "out", *FAST, *model).exit_code == 0
    return folder / "out"


def numbers(out, table):
    """The columns of a table that hold floating-point numbers."""
    rows = ds.dataset(out / table).to_table()
    return {
        field.name: rows[field.name].combine_chunks()
        for field in TABLES[table]
        if types.is_floating(field.type)
    }


@pytest.mark.parametrize("table", TABLES)
def test_no_number_is_infinite_or_none(mixed, table):
    for name, column in numbers(mixed, table).items():
        values = column.drop_null().to_numpy()
        assert np.isfinite(values).all(), name
        assert column.null_count == 0 or (table, name) in MAY_BE_NULL, name


@pytest.mark.parametrize("table", TABLES)
def test_what_a_model_does_not_know_is_null_and_never_nan(two_classes, table):
    unknown = {
        prefix + emotion
        for emotion in EMOTIONS
        if emotion not in ("happy", "sad")
        for prefix in ("", "raw_", "share_")
    }
    for name, column in numbers(two_classes, table).items():
        assert np.isfinite(column.drop_null().to_numpy()).all(), name
        if (table, name) not in MAY_BE_NULL:
            assert column.null_count == (len(column) if name in unknown else 0), name


# What each reader makes of a type.
POLARS = {
    pa.int8(): pl.Int8, pa.int16(): pl.Int16, pa.int32(): pl.Int32, pa.int64(): pl.Int64,
    pa.float32(): pl.Float32, pa.float64(): pl.Float64, pa.string(): pl.String, pa.bool_(): pl.Boolean,
    pa.binary(): pl.Binary,
}  # fmt: skip
DUCKDB = {
    pa.int8(): "TINYINT", pa.int16(): "SMALLINT", pa.int32(): "INTEGER", pa.int64(): "BIGINT",
    pa.float32(): "FLOAT", pa.float64(): "DOUBLE", pa.string(): "VARCHAR", pa.bool_(): "BOOLEAN",
    pa.binary(): "BLOB",
}  # fmt: skip
ROWS = {"timelines": 0, "samples": 5, "tracks": 0, "failures": 0, "videos": 1}


@pytest.mark.parametrize("table", TABLES)
def test_a_video_without_faces_has_typed_tables_for_every_reader(faceless, table):
    schema = TABLES[table]
    folder = faceless / table

    arrow = ds.dataset(folder).to_table()
    assert arrow.num_rows == ROWS[table]
    for field in schema:
        assert arrow.schema.field(field.name).type == field.type

    frame = pd.read_parquet(folder)
    assert len(frame) == ROWS[table]
    for field in schema:
        if types.is_floating(field.type) or types.is_integer(field.type):
            assert frame[field.name].dtype == field.type.to_pandas_dtype(), field.name

    polars = pl.read_parquet(folder, hive_partitioning=True)
    assert polars.height == ROWS[table]
    for field in schema:
        assert polars.schema[field.name] == POLARS.get(field.type, polars.schema[field.name]), field.name

    relation = duckdb.sql(f"FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)")
    assert len(relation.fetchall()) == ROWS[table]
    found = dict(zip(relation.columns, map(str, relation.types), strict=True))
    for field in schema:
        assert found[field.name] == DUCKDB.get(field.type, found[field.name]), field.name
