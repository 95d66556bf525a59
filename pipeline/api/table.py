"""A table of rows to open in whatever one likes: pandas, Arrow, Polars, DuckDB."""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, Final, TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import UsageError

# Conditions as `pandas.read_parquet(filters=...)` takes them: all of a list, or any of several lists; or an
# expression of pyarrow's.
Condition = tuple[str, str, Any]
Where: TypeAlias = Sequence[Condition] | Sequence[Sequence[Condition]] | pc.Expression | None
# From wanted columns (None: the usual ones) and conditions to rows.
Read = Callable[[Sequence[str] | None, Where], pa.Table]

_SHOWN_ROWS: Final = 10


class Table:
    """Rows with named columns, read when they are first needed.

    `table(columns=..., where=...)` narrows it, `table.to_pandas()` and `table.arrow` give its rows, and
    libraries that take Arrow data take the table itself: `polars.DataFrame(table)`, `pyarrow.table(table)`.
    """

    def __init__(self, read: Read, columns: Sequence[str] | None = None, where: Where = None) -> None:
        self._read, self._columns, self._where = read, columns, where

    def __call__(self, columns: Sequence[str] | None = None, where: Where = None) -> "Table":
        """The same table with these columns, of the rows that meet these conditions.

        Args:
            columns: names, in the order wanted; None for all but raw bytes (`appearance`, `thumbnail`).
            where: conditions such as `[("emotion", "==", "happy"), ("confidence", ">", 0.8)]`, of which all
                hold; several lists, of which any holds; or an expression of `pyarrow.compute`. They may
                name columns that are not wanted.

        Raises:
            UsageError: when rows are read: a column that there is not, or conditions of another form.
        """
        return Table(self._read, columns, where)

    @cached_property
    def arrow(self) -> pa.Table:
        """The rows as an Arrow table."""
        return self._read(self._columns, self._where)

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a data frame."""
        frame: pd.DataFrame = self.arrow.to_pandas()
        return frame

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        names: list[str] = self.arrow.column_names
        return names

    def __len__(self) -> int:
        return int(self.arrow.num_rows)

    def __getitem__(self, column: str) -> pa.ChunkedArray:
        return self.arrow[column]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, each a dict by column."""
        for batch in self.arrow.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.arrow.__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        return f"<Table of {len(self)} rows: {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        rows = len(self)
        shown = self.arrow.slice(0, _SHOWN_ROWS).to_pandas().to_html(index=False, na_rep="")
        more = f"<p>{rows} rows</p>" if rows > _SHOWN_ROWS else ""
        return f"{shown}{more}"


def in_memory(rows: pa.Table) -> Table:
    """A table of rows that are at hand."""
    return Table(lambda columns, where: select(narrow(rows, where), columns))


def narrow(rows: pa.Table, where: Where) -> pa.Table:
    """The rows that meet the conditions; UsageError when these are of another form."""
    if where is None:
        return rows
    try:
        return rows.filter(as_expression(where))
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise UsageError(f"{where!r} cannot be looked for: {error}") from error


def as_expression(where: Where) -> pc.Expression:
    """Conditions as an expression; UsageError when they are none."""
    if isinstance(where, str):
        raise UsageError(f"{where!r} is text; write conditions as [('emotion', '==', 'happy')].")
    try:
        return pq.filters_to_expression(where)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{where!r} are no conditions; write them as [('emotion', '==', 'happy')]."
        ) from error


def select(rows: pa.Table, columns: Sequence[str] | None) -> pa.Table:
    """The columns that are wanted; UsageError for one that there is not."""
    if columns is None:
        columns = [field.name for field in rows.schema if is_wanted(field, None)]
    if missing := [name for name in columns if name not in rows.column_names]:
        raise UsageError(f"There is no column '{missing[0]}'; choose among {', '.join(rows.column_names)}.")
    return rows.select(list(columns))


def is_wanted(field: pa.Field, columns: Sequence[str] | None) -> bool:
    """Whether a column is among those that are wanted; None: all but raw bytes, such as pictures."""
    if columns is not None:
        return field.name in columns
    return not (pa.types.is_binary(field.type) or pa.types.is_fixed_size_binary(field.type))
