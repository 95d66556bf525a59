"""What was written, as data: of each video its row in `videos` and how many rows each other table has.

A step leaves a file of receipts for each of its bundles, so that whoever started the run can add them up
without a look at the tables themselves. A bundle that is done twice leaves two, of which the later counts.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from schemas.tables import TABLES, VIDEOS
from transforms.remote import join, list_files
from transforms.tables.files import open_parquet, scratch_folder, write_parquet
from transforms.tables.rows import count_rows, has_rows, read_rows

_COUNTED: Final = {table: f"rows_in_{table}" for table in TABLES if table != "videos"}
_RECEIPTS: Final = pa.schema(
    [
        pa.field("video_id", pa.string()),
        *VIDEOS,
        *[pa.field(column, pa.int64()) for column in _COUNTED.values()],
    ]
)
Receipt = dict[str, Any]


def new_folder(out: str) -> str:
    """A folder below the output folder for one pipeline's receipts; it appears with the first of them."""
    return join(scratch_folder(out), f"receipts-{uuid.uuid4().hex}")


def make_receipt(tables: Mapping[str, pa.Table], video_id: str) -> Receipt:
    """That of these tables, once they are written."""
    [row] = tables["videos"].to_pylist()
    counts = {column: tables[table].num_rows for table, column in _COUNTED.items()}
    return {"video_id": video_id, **row, **counts}


def read_receipt(out: str, video_id: str) -> Receipt | None:
    """That of a video whose tables are there, from its row in `videos` and the others' footers; or None."""
    if not has_rows(out, "videos", video_id):
        return None
    [row] = read_rows(out, "videos", video_id).to_pylist()
    counts = {column: count_rows(out, table, video_id) for table, column in _COUNTED.items()}
    return {"video_id": video_id, **row, **counts}


def rows_in(receipt: Receipt, table: str) -> int:
    """How many rows a table was given."""
    rows: int = receipt[_COUNTED[table]]
    return rows


def write_receipts(receipts: Sequence[Receipt], folder: str, out: str) -> None:
    """Add a file of receipts to a folder below `out`."""
    table = pa.Table.from_pylist(receipts, _RECEIPTS)
    write_parquet(table, join(folder, f"{uuid.uuid4().hex}.parquet"), out)


def read_receipts(folder: str) -> dict[str, Receipt]:
    """The latest receipt of each video in a folder, by its id."""
    found = [row for path in list_files(folder) for row in open_parquet(path).read().to_pylist()]
    return {row["video_id"]: row for row in sorted(found, key=lambda row: row["processed_at"])}
