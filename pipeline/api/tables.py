"""The tables of an output folder, wherever it is and however it lies."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import chain
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.api.table import Condition, Table, Where, as_expression, is_wanted, narrow, select
from pipeline.commands.cite import methods
from pipeline.report.pages import check_tables, write_report
from schemas.settings import Settings
from schemas.tables import TABLES, with_emotions
from transforms.remote import is_remote, local_path
from transforms.tables.rows import read_rows

_READS_AT_ONCE: Final = 16
_FILES: Final = pa.schema([pa.field("video_id", pa.string()), pa.field("file", pa.string())])


class Tables:
    """The tables that runs have written into a folder. `affectline.open_tables` makes one.

    Each is a `Table`, which is read when it is needed; beside its own columns it has `file`, the name of the
    video's file, and `video_id`. `docs/querying.md` says what the columns are.
    """

    def __init__(self, path: str, video_ids: Sequence[str]) -> None:
        self.path = path
        self.video_ids = list(video_ids)

    @property
    def faces(self) -> Table:
        """A row a face at a sampled instant: `timelines`."""
        return self._table("timelines")

    @property
    def samples(self) -> Table:
        """A row a sampled instant."""
        return self._table("samples")

    @property
    def tracks(self) -> Table:
        """A row a face that was followed."""
        return self._table("tracks")

    @property
    def videos(self) -> Table:
        """A row an input."""
        return self._table("videos")

    @property
    def failures(self) -> Table:
        """A row for whatever went wrong."""
        return self._table("failures")

    def report(self, html: str | os.PathLike[str], *, crops: bool = True) -> str:
        """Write a page for each video and an index over them into a folder; the index's path.

        Args:
            html: the folder for the pages.
            crops: whether pages show faces.

        Raises:
            UsageError: the folder cannot be written.
        """
        return write_report(self.path, os.fspath(html), self.video_ids, crops)

    def cite(self) -> str:
        """The methods paragraph for what the tables hold; several, where runs had several settings."""
        return "\n\n".join(methods(self.path, self.video_ids))

    def __len__(self) -> int:
        return len(self.video_ids)

    def __repr__(self) -> str:
        return f"<Tables of {len(self)} videos in {self.path}>"

    def _table(self, name: str) -> Table:
        return Table(lambda columns, where: self._read(name, columns, where))

    @cached_property
    def _rows(self) -> list[pa.Table]:
        """Each video's row in `videos`."""
        return self._each("videos", self.video_ids)

    @property
    def _emotions(self) -> list[str]:
        """The classes of all models behind these tables."""
        configs = {rows["config_json"][0].as_py() for rows in self._rows}
        return [
            *dict.fromkeys(chain.from_iterable(Settings.from_json(each).classes for each in sorted(configs)))
        ]

    @cached_property
    def _files(self) -> pa.Table:
        """The columns `video_id` and `file`, a row a video."""
        uris = [rows["uri"][0].as_py() for rows in self._rows]
        names = [local_path(uri).rpartition("/")[2] for uri in uris]
        return pa.table([pa.array(self.video_ids, pa.string()), pa.array(names, pa.string())], _FILES)

    def _read(self, name: str, columns: Sequence[str] | None, where: Where) -> pa.Table:
        files = dict(zip(*(column.to_pylist() for column in self._files), strict=True))
        chosen = _by_video(where, self._files)
        empty = _with_video(with_emotions(TABLES[name], self._emotions).empty_table(), "", "")

        def prepare(video_id: str, rows: pa.Table) -> pa.Table:
            # Tables of earlier versions lack columns, which are null then.
            whole = _concat([empty, _with_video(rows, video_id, files[video_id])])
            found = narrow(whole, chosen[video_id])
            return found.select([field.name for field in whole.schema if is_wanted(field, columns)])

        parts = self._each(name, [each for each in self.video_ids if each in chosen], prepare)
        return select(_concat([empty, *parts]).unify_dictionaries(), columns)

    def _each(
        self,
        name: str,
        video_ids: Sequence[str],
        prepare: Callable[[str, pa.Table], pa.Table] = lambda _, rows: rows,
    ) -> list[pa.Table]:
        """What `prepare` makes of each video's rows; many are read at once where that means waiting."""

        def read(video_id: str) -> pa.Table:
            return prepare(video_id, read_rows(self.path, name, video_id))

        if not is_remote(self.path):
            return [read(video_id) for video_id in video_ids]
        with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
            return list(pool.map(read, video_ids))


def open_tables(path: str | os.PathLike[str]) -> Tables:
    """The tables that runs have written into a folder, as they wrote them or compacted.

    Args:
        path: the folder, here or at a URI that Beam reads (`gs://`, `s3://`, …).

    Raises:
        UsageError: the folder holds no tables, or cannot be reached.
    """
    folder = local_path(os.fspath(path))
    return Tables(folder, check_tables(folder))


def _concat(parts: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(parts, promote_options="permissive")


def _with_video(rows: pa.Table, video_id: str, file: str) -> pa.Table:
    """A video's rows between its file's name and its id."""
    named = rows.append_column("video_id", _repeated(video_id, rows.num_rows))
    return named.add_column(0, "file", _repeated(file, rows.num_rows))


def _repeated(text: str, rows: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), [text])


def _by_video(where: Where, files: pa.Table) -> dict[str, Where]:
    """The conditions on each video's rows, by id, without those of which none can meet any.

    files: the columns `video_id` and `file`. What conditions say of these two is known beforehand, so that
    other videos need not be read.
    """
    if where is None or isinstance(where, pc.Expression):
        return dict.fromkeys(files["video_id"].to_pylist(), where)
    as_expression(where)
    chosen: dict[str, list[list[Condition]]] = {}
    for alternative in _alternatives(where):
        of_video = [condition for condition in alternative if condition[0] in _FILES.names]
        of_rows = [condition for condition in alternative if condition[0] not in _FILES.names]
        for video_id in narrow(files, of_video or None)["video_id"].to_pylist():
            chosen.setdefault(video_id, []).append(of_rows)
    return {video_id: rows if all(rows) else None for video_id, rows in chosen.items()}


def _alternatives(where: Any) -> list[list[Condition]]:
    """Conditions in the form of which any list holds."""
    return [list(where)] if isinstance(where[0][0], str) else [list(each) for each in where]
