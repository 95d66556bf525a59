"""Rows of one video, many at once, as columns: what is grouped by video.

A face by itself costs Beam and Python kilobytes, in a block some hundred bytes. A run on this machine keeps
its blocks in files, because Beam's local runner holds all that it groups in memory, four times over.
"""

import os
import uuid
from bisect import bisect
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Final, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.elements import BLOCK_COLUMNS, Block, Face, Sample

BLOCK_ROWS: Final = 4096  # about 2 MB of faces: a shuffle takes that well


def make_block(rows: Sequence[Sample] | Sequence[Face], folder: str) -> Block:
    """Rows of one kind and one video as a block, in a new file of `folder`, or held by itself without one."""
    schema = BLOCK_COLUMNS[type(rows[0])]
    video_ids, *columns = zip(*rows, strict=True)
    table = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema
    )
    path = os.path.join(folder, f"{uuid.uuid4().hex}.arrow") if folder else ""
    sink = pa.OSFile(path, "wb") if folder else pa.BufferOutputStream()
    with sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(table)
    return Block(video_ids[0], b"" if folder else sink.getvalue().to_pybytes(), path)


class Packer:
    """Puts rows of one kind, of one or many videos, into blocks of one video each."""

    def __init__(self, folder: str) -> None:
        """Make blocks as `make_block` does."""
        self._folder = folder
        self._rows: dict[str, list[Sample | Face]] = {}
        self._count = 0

    def add(self, row: Sample | Face) -> list[Block]:
        """Take a row in; the blocks that are complete by it, mostly none."""
        self._rows.setdefault(row.video_id, []).append(row)
        self._count += 1
        return self.flush() if self._count == BLOCK_ROWS else []

    def flush(self) -> list[Block]:
        """The blocks of all rows that were taken in since the last ones."""
        held, self._rows, self._count = self._rows, {}, 0
        return [make_block(rows, self._folder) for rows in held.values()]  # type: ignore[arg-type]


def _read(block: Block) -> pa.Table:
    source = pa.memory_map(block.path) if block.path else pa.BufferReader(block.content)
    return pa.ipc.open_file(source).read_all()


def read_samples(blocks: Iterable[Block]) -> pa.Table:
    """All samples of these blocks, in their order."""
    return pa.concat_tables([BLOCK_COLUMNS[Sample].empty_table(), *map(_read, blocks)])


def read_faces(blocks: Iterable[Block]) -> pa.Table:
    """All faces of these blocks, in their order; `pictured` instead of the thumbnails themselves."""
    empty = BLOCK_COLUMNS[Face].empty_table()
    return pa.concat_tables([_without_pictures(table) for table in (empty, *map(_read, blocks))])


def _without_pictures(table: pa.Table) -> pa.Table:
    pictured = pc.greater(pc.binary_length(table["thumbnail"]), 0)
    slim = table.drop_columns(["thumbnail"]).append_column("pictured", pictured)
    return slim.take(np.arange(len(slim)))  # a copy, so that the file can be closed


class Thumbnails(Sequence[bytes]):
    """The thumbnails of some blocks' faces, read when they are asked for."""

    def __init__(self, blocks: Sequence[Block], order: np.ndarray) -> None:
        """order: int [m], the place in the blocks of the face that item 0, 1, ... stands for."""
        self._blocks = blocks
        self._order = order
        self._ends = list(accumulate(_read(block).num_rows for block in blocks))

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, item: int) -> bytes: ...
    @overload
    def __getitem__(self, item: slice) -> list[bytes]: ...
    def __getitem__(self, item: int | slice) -> bytes | list[bytes]:
        if isinstance(item, slice):
            return [self[number] for number in range(*item.indices(len(self)))]
        place = int(self._order[item])
        number = bisect(self._ends, place)
        row = place - (self._ends[number - 1] if number else 0)
        content: bytes = _read(self._blocks[number])["thumbnail"][row].as_py()
        return content
