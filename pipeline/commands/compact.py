"""`affectline compact`: from a file per video to few large ones, without a moment of wrong tables.

Each table is written anew into a folder beside it, read back and compared with the original row
for row, and only then put in its place: one system call exchanges the two folders, so that a
reader meets the one or the other. What a kill leaves behind is scratch, never part of a table.
"""

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.run.lock import locked
from schemas.errors import RunError, UsageError
from schemas.tables import TABLES
from transforms.remote import is_remote, join
from transforms.tables.files import clear_scratch, scratch_folder
from transforms.tables.rows import (
    CONTENTS,
    ROW_GROUP_ROWS,
    VIDEO_ID,
    compacted,
    compacted_path,
    drop_replaced,
    is_part,
    list_video_ids,
    own_ids,
    read_rows,
    read_stretch,
    require_own_tables,
    with_video_id,
    without_video_id,
)

FILE_BYTES = 128 << 20  # a file is closed once it is so large
FILE_VIDEOS = 10_000  # or holds so many videos: their names are in its footer


@dataclass(frozen=True)
class Compacted:
    """What became of one table."""

    table: str
    videos: int
    rows: int
    files_before: int
    files_after: int


def compact(out: str, advance: Callable[[int], None] = lambda videos: None) -> list[Compacted]:
    """Gather the per-video files below a local folder `out`, table by table; nothing else changes.

    Tables that have no per-video files are left as they are. `advance` is told of each step's
    number of videos, two steps for each table. Raises UsageError when there is nothing to do it
    with, RunError when what was written differs from what was read (the table stays as it was).
    """
    if is_remote(out):
        raise UsageError(
            f"{out} is far away, where no two folders can be exchanged at once, so a reader could meet "
            "half a table: copy the tables here, compact them, and copy them back under a new name."
        )
    if not os.path.isdir(join(out, "videos")):
        raise UsageError(f"{out} holds no tables; give the folder that `affectline run -o` wrote.")
    require_own_tables(out)
    with locked(out):
        clear_scratch(out)
        drop_replaced(out)
        done = [_compact_table(out, table, advance) for table in TABLES if os.path.isdir(join(out, table))]
        clear_scratch(out)
    return done


def _compact_table(out: str, table: str, advance: Callable[[int], None]) -> Compacted:
    folder = join(out, table)
    ids = list_video_ids(folder)
    before = len(own_ids(folder))
    files = {stretch.path for stretch in compacted(folder).values()}
    if before == 0:
        advance(2 * len(ids))
        rows = sum(stretch.rows for stretch in compacted(folder).values())
        return Compacted(table, len(ids), rows, len(files), len(files))
    staged = join(scratch_folder(out), f"compact-{table}")
    os.makedirs(staged)
    done = count = 0
    while done < len(ids):
        written = _write_file(out, table, ids[done : done + FILE_VIDEOS], compacted_path(staged, count))
        advance(written)
        done += written
        count += 1
    rows = _verify(out, table, ids, staged, advance)
    exchange(folder, staged)
    _remove_own(staged, folder)
    return Compacted(table, len(ids), rows, before + len(files), count)


def _remove_own(replaced: str, folder: str) -> None:
    """Remove the files of a table that was replaced; whatever else lies among them is put back."""
    for parent, folders, names in os.walk(replaced, topdown=False):
        for name in names:
            path = os.path.join(parent, name)
            inside = os.path.relpath(path, replaced)
            if is_part(inside):
                os.unlink(path)
            else:
                os.makedirs(os.path.dirname(os.path.join(folder, inside)), exist_ok=True)
                os.rename(path, os.path.join(folder, inside))
        for name in folders:
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(os.path.join(parent, name))
    os.rmdir(replaced)


def _write_file(out: str, table: str, ids: Sequence[str], path: str) -> int:
    """Write videos into one file until it is large enough or the columns change; how many it took."""
    first = read_rows(out, table, ids[0])
    schema = pa.schema([*first.schema, VIDEO_ID], _common_metadata(first.schema))
    contents: dict[str, int] = {}
    waiting: list[pa.Table] = []
    held = 0
    with open(path, "wb") as sink, pq.ParquetWriter(sink, schema, compression="zstd") as writer:
        for video_id in ids:
            rows = read_rows(out, table, video_id)
            if rows.schema != first.schema:  # written by another version
                break
            contents[video_id] = rows.num_rows
            waiting.append(with_video_id(rows, video_id).replace_schema_metadata(schema.metadata))
            held += rows.num_rows
            if held >= ROW_GROUP_ROWS:
                writer.write_table(pa.concat_tables(waiting))
                waiting, held = [], 0
                if sink.tell() >= FILE_BYTES:
                    break
        if waiting:
            writer.write_table(pa.concat_tables(waiting))
        writer.add_key_value_metadata({CONTENTS: json.dumps(contents)})
        writer.close()
        sink.flush()
        os.fsync(sink.fileno())
    return len(contents)


def _common_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    """What holds for all videos; the settings of each are in its row in `videos`."""
    return {key: value for key, value in (schema.metadata or {}).items() if key != b"affectline.config"}


def _verify(out: str, table: str, ids: Sequence[str], staged: str, advance: Callable[[int], None]) -> int:
    """The number of rows, after comparing each with the original."""
    written = compacted(staged)
    total = 0
    for video_id in ids:
        original = read_rows(out, table, video_id)
        copy = read_stretch(written[video_id])
        owners = copy["video_id"].unique().to_pylist()
        if not (_same(original, without_video_id(copy)) and owners == [video_id] * bool(original.num_rows)):
            raise RunError(
                f"The rows of {video_id} in `{table}` differ after writing; the table was left as it is."
            )
        total += original.num_rows
        advance(1)
    return total


def _same(a: pa.Table, b: pa.Table) -> bool:
    """Whether two tables hold the same bits in the same order."""
    return a.column_names == b.column_names and all(
        _bits(first).equals(_bits(second)) for first, second in zip(a.columns, b.columns, strict=True)
    )


def _bits(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column in which equal means equal: floats as integers, since nan differs from itself."""
    if pa.types.is_floating(column.type):
        whole = {32: pa.int32(), 64: pa.int64()}[column.type.bit_width]
        return pa.chunked_array([chunk.view(whole) for chunk in column.chunks], whole)
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


# From Linux's fs.h (RENAME_EXCHANGE, AT_FDCWD) and macOS's stdio.h (RENAME_SWAP).
_EXCHANGE = _SWAP = 2
_HERE = -100


def exchange(a: str, b: str) -> None:
    """Exchange two folders of one local file system in one atomic step; UsageError where there is none."""
    libc = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(a), os.fsencode(b)
    if sys.platform == "darwin":
        failed = libc.renamex_np(first, second, _SWAP)
    elif hasattr(libc, "renameat2"):
        failed = libc.renameat2(_HERE, first, _HERE, second, _EXCHANGE)
    else:
        raise UsageError(
            "This system cannot exchange two folders at once; compact a copy on another machine."
        )
    if failed:
        reason = os.strerror(ctypes.get_errno())
        raise UsageError(
            f"{a} lies where two folders cannot be exchanged at once ({reason}); move it to a local disk."
        )


def compact_lines(done: Sequence[Compacted]) -> Iterator[str]:
    """The lines to print afterwards."""
    for each in done:
        yield (
            f"{each.table:<10} {each.files_before} files → {each.files_after}, "
            f"{each.rows} rows of {each.videos} videos compared"
        )
