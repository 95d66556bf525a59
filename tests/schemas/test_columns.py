"""What is said of the tables' columns."""

import pandas as pd
import pytest

from schemas.columns import COLUMNS, NEVER, column_tables
from schemas.tables import TABLES
from tests.helpers.synthetic import write_corpus


def test_every_table_is_described():
    assert list(COLUMNS) == list(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_a_table_is_described_in_its_order(table):
    assert [name for name, *_ in column_tables()[table]] == [*TABLES[table].names, "video_id"]


def test_each_says_what_it_means_and_numbers_say_where_they_lie():
    for table, columns in column_tables().items():
        for name, kind, column in columns:
            assert column.meaning.endswith("."), (table, name)
            assert column.null, (table, name)
            if kind.startswith(("int", "float", "double", "bool")):
                assert column.range, (table, name)
            if name.endswith(("_s", "_us")):
                assert column.unit in ("s", "µs"), (table, name)


def test_null_stands_only_where_that_has_a_meaning(tmp_path):
    write_corpus(tmp_path)
    for table, columns in COLUMNS.items():
        rows = pd.read_parquet(tmp_path / table)
        assert len(rows)
        for name, column in columns.items():
            if column.null == NEVER:
                assert rows[name].notna().all(), (table, name)
