"""Columns of tables as arrays."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa


def emotions_of(table: pa.Table) -> tuple[str, ...]:
    """The emotions that a `timelines` table has columns for: the seven, then those beside them."""
    raw = "raw_"
    return tuple(name.removeprefix(raw) for name in table.column_names if name.startswith(raw))


def stack_columns(table: pa.Table, names: Iterable[str]) -> np.ndarray:
    """Columns of numbers as one array [rows, columns]; null becomes nan."""
    return np.column_stack([table[name].to_numpy() for name in names])


def stack_measures(table: pa.Table, names: Iterable[str]) -> np.ndarray:
    """As `stack_columns`, float32; nan where the table, of an early version, has no such column."""
    missing = np.full(len(table), np.nan, np.float32)
    there = table.column_names
    columns = [table[name].to_numpy() if name in there else missing for name in names]
    return np.column_stack(columns).astype(np.float32)


def stack_bytes(column: pa.ChunkedArray, width: int) -> np.ndarray:
    """A column of values that are `width` bytes each, uint8 [rows, width]."""
    return np.frombuffer(b"".join(column.to_pylist()), np.uint8).reshape(-1, width)
