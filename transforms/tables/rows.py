"""One video's rows of a table, wherever they lie: in a file of its own, or in a compacted one.

A run writes TABLE/video_id=ID/part-0.parquet. `affectline compact` gathers these files into
TABLE/part-00000.parquet, TABLE/part-00001.parquet and on, whose footer lists every video they hold with its
number of rows, in the order of the rows. In both, the column `video_id` says whose a row is, so that every
reader takes both alike, and a table may have both, each video in one of them. (Earlier versions left that
column out of the first kind.)
"""

import json
import os
import re
from collections.abc import Collection
from functools import lru_cache
from itertools import count
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import UsageError
from schemas.tables import TABLES
from transforms.remote import delete, exists, file_systems, is_remote, join
from transforms.tables.files import PART, open_parquet, read_footer, table_path, write_parquet

# As pandas and pyarrow type the column that they make of a folder's name: the two become one.
VIDEO_ID: Final = pa.field("video_id", pa.dictionary(pa.int32(), pa.string()))
CONTENTS: Final = "affectline.videos"  # key in a compacted file's footer: {video_id: rows}
ROW_GROUP_ROWS: Final = 1 << 16  # read at once to get one video's rows

_PREFIX: Final = "video_id="
_COMPACTED: Final = re.compile(r"part-\d{5}\.parquet$")


class Stretch(NamedTuple):
    """Where a video's rows lie in a compacted file."""

    path: str
    stamp: int
    first: int
    rows: int


def compacted_path(folder: str, number: int) -> str:
    """The compacted file of this number in a table's folder; numbers have no holes."""
    return join(folder, f"part-{number:05d}.parquet")


def compacted(folder: str) -> dict[str, Stretch]:
    """Every video in the compacted files of a table's folder, by id; empty when there are none."""
    # Replacing a file changes its folder's time; nobody replaces files in a remote folder meanwhile.
    stamp = os.stat(folder).st_mtime_ns if not is_remote(folder) and os.path.isdir(folder) else 0
    return _contents(folder, stamp)


@lru_cache(maxsize=2 * len(TABLES))
def _contents(folder: str, stamp: int) -> dict[str, Stretch]:
    found: dict[str, Stretch] = {}
    for number in count():
        path = compacted_path(folder, number)
        if not exists(path):
            return found
        first = 0
        for video_id, rows in json.loads(read_footer(path).metadata[CONTENTS.encode()]).items():
            found[video_id] = Stretch(path, stamp, first, rows)
            first += rows
    raise AssertionError("numbers do not end")


def list_video_ids(folder: str) -> list[str]:
    """Every video with rows, or with an empty part, in a table's folder, sorted; none without a folder."""
    return sorted(own_ids(folder) | compacted(folder).keys())


def own_ids(folder: str) -> set[str]:
    """Videos with a part of their own; the folder of one whose writing was cut off holds none."""
    if is_remote(folder):
        [found] = file_systems().match([join(folder, f"{_PREFIX}*", PART)])
        return {file.path.split("/")[-2].removeprefix(_PREFIX) for file in found.metadata_list}
    if not os.path.isdir(folder):
        return set()
    names = (name for name in os.listdir(folder) if name.startswith(_PREFIX))
    return {name.removeprefix(_PREFIX) for name in names if os.path.exists(os.path.join(folder, name, PART))}


def foreign_names(folder: str) -> list[str]:
    """Names in a table's folder that are not ours, sorted; readers pass over hidden ones, so these do too."""
    if is_remote(folder):
        [found] = file_systems().match([join(folder, "**")])
        inner = (file.path.removeprefix(folder).lstrip("/") for file in found.metadata_list)
        names = {path.partition("/")[0] for path in inner} - {""}
    else:
        names = set(os.listdir(folder)) if os.path.isdir(folder) else set()
    return sorted(name for name in names if not (name.startswith((".", _PREFIX)) or _COMPACTED.match(name)))


def is_part(path: str) -> bool:
    """Whether a path below a table's folder is of a file that holds rows."""
    folder, _, name = path.rpartition("/")
    return bool(_COMPACTED.match(name)) if not folder else folder.startswith(_PREFIX) and name == PART


def require_own_tables(out: str) -> None:
    """UsageError when a table's folder below `out` holds what affectline did not write."""
    for table in TABLES:
        if names := foreign_names(join(out, table)):
            raise UsageError(
                f"{join(out, table)} holds files that affectline did not write, {names[0]} among them; "
                "choose another output folder."
            )


def _own_part(out: str, table: str, video_id: str) -> str | None:
    """The path of a video's own part of a table, if it has one that counts: see `drop_replaced`."""
    path, last = table_path(out, table, video_id), table_path(out, "videos", video_id)
    counts = exists(path) and (path == last or video_id not in compacted(join(out, table)) or exists(last))
    return path if counts else None


def has_rows(out: str, table: str, video_id: str) -> bool:
    """Whether a video has a part, maybe empty, of a table."""
    return _own_part(out, table, video_id) is not None or video_id in compacted(join(out, table))


def count_rows(out: str, table: str, video_id: str) -> int:
    """A video's number of rows in a table; FileNotFoundError when it has no part of it."""
    if path := _own_part(out, table, video_id):
        return int(read_footer(path).num_rows)
    return _stretch(join(out, table), video_id).rows


def read_rows(out: str, table: str, video_id: str, columns: list[str] | None = None) -> pa.Table:
    """A video's rows of a table, without `video_id`; FileNotFoundError when it has no part of it."""
    if path := _own_part(out, table, video_id):
        return without_video_id(open_parquet(path).read(columns))
    rows = without_video_id(read_stretch(_stretch(join(out, table), video_id)))
    return rows.select(columns) if columns else rows


def with_video_id(rows: pa.Table, video_id: str) -> pa.Table:
    """A video's rows with `video_id` as their last column."""
    names = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows.num_rows), [video_id])
    return rows.append_column(VIDEO_ID, names)


def without_video_id(rows: pa.Table) -> pa.Table:
    """Rows without the column `video_id`, if they have it."""
    return rows.drop_columns([VIDEO_ID.name]) if VIDEO_ID.name in rows.column_names else rows


def _stretch(folder: str, video_id: str) -> Stretch:
    stretch = compacted(folder).get(video_id)
    if stretch is None:
        raise FileNotFoundError(f"{folder} holds nothing of {video_id}.")
    return stretch


def read_stretch(stretch: Stretch) -> pa.Table:
    """The rows of a stretch, all columns."""
    file = _file(stretch.path, stretch.stamp)
    parts = [pa.Table.from_batches([], file.schema_arrow)]  # empty_table() would import pandas
    start = 0
    for number in range(file.num_row_groups):
        rows = file.metadata.row_group(number).num_rows
        first = max(stretch.first, start)
        last = min(stretch.first + stretch.rows, start + rows)
        if first < last:
            group = _row_group(stretch.path, stretch.stamp, number)
            parts.append(group.slice(first - start, last - first))
        start += rows
    return pa.concat_tables(parts)


# Videos are mostly asked for in order: their neighbours lie in the same row group.
@lru_cache(maxsize=len(TABLES))
def _file(path: str, stamp: int) -> pq.ParquetFile:
    return open_parquet(path)


@lru_cache(maxsize=len(TABLES))
def _row_group(path: str, stamp: int, number: int) -> pa.Table:
    return _file(path, stamp).read_row_group(number)


def drop_replaced(out: str) -> None:
    """Drop what no longer counts where a kill left a video with a part of its own beside compacted rows.

    Its part of `videos`, written last, tells that the others are whole, and then the compacted rows are old.
    Without it they still count, and its parts are half of a set.
    """
    whole = own_ids(join(out, "videos"))
    for table in reversed(TABLES):
        folder = join(out, table)
        doubled = compacted(folder).keys() & own_ids(folder)
        for video_id in doubled - whole:
            delete(table_path(out, table, video_id))
        _drop(out, table, doubled & whole)


def drop_compacted(out: str, ids: Collection[str]) -> None:
    """Take videos out of the compacted files, if they are in any, once they have new parts of their own."""
    for table in reversed(TABLES):
        _drop(out, table, ids)


def _drop(out: str, table: str, ids: Collection[str]) -> None:
    folder = join(out, table)
    held = compacted(folder)
    for path in sorted({held[video_id].path for video_id in ids if video_id in held}):
        contents = {key: stretch.rows for key, stretch in held.items() if stretch.path == path}
        _rewrite(path, contents, ids, out)
    _contents.cache_clear()


def _rewrite(path: str, contents: dict[str, int], ids: Collection[str], out: str) -> None:
    kept = {video_id: rows for video_id, rows in contents.items() if video_id not in ids}
    table = open_parquet(path).read()
    mask = pc.is_in(table["video_id"].cast(pa.string()), pa.array(sorted(kept), pa.string()))
    metadata = (table.schema.metadata or {}) | {CONTENTS.encode(): json.dumps(kept).encode()}
    write_parquet(table.filter(mask).replace_schema_metadata(metadata), path, out, ROW_GROUP_ROWS)
