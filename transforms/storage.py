"""Files, wherever Beam's FileSystems reach: list them, copy them near, write them whole."""

import os
import shutil
import tempfile
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import Self

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io.filesystems import FileSystems

_BLOCK = 8 << 20
# Copies of remote videos that one step keeps. Little, since segments of one video come one after another,
# and a worker with many processes and one disk has many such steps.
CACHE_BYTES = 4 << 30
PART = "part-0.parquet"  # one video's rows of a table
_MARKER = "made-by-affectline"


class ForeignFilesError(ValueError):
    """Where affectline would write lie files of somebody else; the message is one sentence for the user."""


def is_remote(path: str) -> bool:
    """Whether a path names another file system than this machine's."""
    return "://" in path


def join(folder: str, *names: str) -> str:
    """A path below a folder, local or remote."""
    return FileSystems.join(folder, *names) if is_remote(folder) else os.path.join(folder, *names)


def table_path(out: str, table: str, video_id: str) -> str:
    """Where one video's part of a table lies."""
    return join(out, table, f"video_id={video_id}", PART)


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    return FileSystems.exists(path) if is_remote(path) else os.path.exists(path)


def delete(path: str) -> None:
    """Remove one file; nothing happens when it is not there."""
    if is_remote(path):
        if FileSystems.exists(path):
            FileSystems.delete([path])
    else:
        Path(path).unlink(missing_ok=True)


def write_parquet(table: pa.Table, path: str, out: str, row_group_rows: int | None = None) -> None:
    """Write a table so that `path`, below the output folder `out`, holds all of it or is left as it was.

    The bytes go to a new scratch file, on the same file system, and are renamed when complete.
    """
    temp = join(scratch_folder(out), f"{uuid.uuid4().hex}.parquet")
    if not is_remote(path):
        claim_private_folder(out)
        os.makedirs(scratch_folder(out), exist_ok=True)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            pq.write_table(table, temp, row_group_size=row_group_rows, compression="zstd")
            os.replace(temp, path)
        finally:
            Path(temp).unlink(missing_ok=True)
        return
    with FileSystems.create(temp, mime_type="application/vnd.apache.parquet") as sink:
        pq.write_table(
            table, pa.PythonFile(sink, mode="w"), row_group_size=row_group_rows, compression="zstd"
        )
    FileSystems.rename([temp], [path])


def open_parquet(path: str) -> pq.ParquetFile:
    """One Parquet file, local or remote, with just its own columns (none from the folder's name)."""
    if not is_remote(path):
        return pq.ParquetFile(path)
    with FileSystems.open(path) as source:
        return pq.ParquetFile(pa.BufferReader(source.read()))


class LocalCopies:
    """Remote files as local paths: copied in blocks, reused, bounded, removed at close."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep at most `max_bytes` of copies, the file in use always among them."""
        self._max_bytes = max_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copies: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def path(self, uri: str, fingerprint: str) -> str:
        """A local path with the bytes of `uri`, valid until the next call; OSError when unreadable."""
        if not is_remote(uri):
            return uri
        key = (uri, fingerprint)
        if key not in self._copies:
            self._copies[key] = self._copy(uri)
        self._copies.move_to_end(key)
        while len(self._copies) > 1 and sum(size for _, size in self._copies.values()) > self._max_bytes:
            _, (oldest, _) = self._copies.popitem(last=False)
            os.unlink(oldest)
        return self._copies[key][0]

    def _copy(self, uri: str) -> tuple[str, int]:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="affectline-")
        # The name keeps the ending: some demuxers are chosen by it.
        target = os.path.join(self._folder.name, uuid.uuid4().hex + os.path.splitext(uri)[1])
        with FileSystems.open(uri, compression_type="uncompressed") as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy, _BLOCK)
        return target, os.path.getsize(target)

    def close(self) -> None:
        """Remove every copy."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._copies.clear()


def private_folder(out: str) -> str:
    """What affectline keeps below an output folder for itself; nothing else below `out` is ever removed."""
    return join(out, "_affectline")


def claim_private_folder(out: str) -> None:
    """Create the private folder of a local `out` with its marker; ForeignFilesError when it is another's."""
    if is_remote(out):
        return
    folder = private_folder(out)
    marker = os.path.join(folder, _MARKER)
    if os.path.exists(marker):
        return
    if os.path.isdir(folder) and os.listdir(folder):
        raise ForeignFilesError(
            f"{folder} holds files that affectline did not write; move them, or choose another output folder."
        )
    os.makedirs(folder, exist_ok=True)
    with open(marker, "w", encoding="ascii") as file:
        file.write("affectline's own files: scratch, lock and the list of sources.\n")


def scratch_folder(out: str) -> str:
    """Where files below `out` are written before they get their name; on the same file system."""
    return join(private_folder(out), "scratch")


def clear_scratch(out: str) -> None:
    """Remove what a run that was cut off left half written."""
    if not is_remote(out) and os.path.exists(os.path.join(private_folder(out), _MARKER)):
        shutil.rmtree(scratch_folder(out), ignore_errors=True)
