"""The layout of an output folder, and Parquet files in it that are whole or absent."""

import os
import shutil
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import UsageError
from transforms.remote import file_systems, is_remote, join

PART = "part-0.parquet"  # one video's rows of a table
_MARKER = "made-by-affectline"
_ABANDONED_S = 86_400


def table_path(out: str, table: str, video_id: str) -> str:
    """Where one video's part of a table lies."""
    return join(out, table, f"video_id={video_id}", PART)


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
            # Absolute: pyarrow takes a relative name with a colon for a URI.
            pq.write_table(table, os.path.abspath(temp), row_group_size=row_group_rows, compression="zstd")
            os.replace(temp, path)
        finally:
            Path(temp).unlink(missing_ok=True)
        return
    with file_systems().create(temp, mime_type="application/vnd.apache.parquet") as sink:
        pq.write_table(
            table, pa.PythonFile(sink, mode="w"), row_group_size=row_group_rows, compression="zstd"
        )
    file_systems().rename([temp], [path])


def write_text(text: str, path: str, out: str) -> None:
    """Write a small UTF-8 file below the output folder `out`, whole or not at all."""
    if is_remote(path):
        with file_systems().create(path, mime_type="text/plain") as sink:
            sink.write(text.encode())
        return
    claim_private_folder(out)
    temp = Path(scratch_folder(out), f"{uuid.uuid4().hex}.txt")
    temp.parent.mkdir(exist_ok=True)
    try:
        temp.write_text(text, encoding="utf-8")
        temp.replace(path)
    finally:
        temp.unlink(missing_ok=True)


def open_parquet(path: str) -> pq.ParquetFile:
    """One Parquet file, local or remote, with just its own columns (none from the folder's name)."""
    if not is_remote(path):
        return pq.ParquetFile(os.path.abspath(path))
    with file_systems().open(path) as source:
        return pq.ParquetFile(pa.BufferReader(source.read()))


def read_footer(path: str) -> pq.FileMetaData:
    """The footer of one Parquet file, local or remote, and no more of it."""
    if not is_remote(path):
        return pq.read_metadata(os.path.abspath(path))
    with file_systems().open(path, compression_type="uncompressed") as source:
        return pq.read_metadata(pa.PythonFile(source, mode="r"))


def private_folder(out: str) -> str:
    """What affectline keeps below an output folder for itself; nothing else below `out` is ever removed."""
    return join(out, "_affectline")


def claim_private_folder(out: str) -> None:
    """Create the private folder of a local `out` with its marker; UsageError when it is another's."""
    if is_remote(out):
        return
    folder = private_folder(out)
    marker = os.path.join(folder, _MARKER)
    if os.path.exists(marker):
        return
    if os.path.isdir(folder) and os.listdir(folder):
        raise UsageError(
            f"{folder} holds files that affectline did not write; move them, or choose another output folder."
        )
    os.makedirs(folder, exist_ok=True)
    with open(marker, "w", encoding="ascii") as file:
        file.write("affectline's own files: scratch, lock and the list of sources.\n")


def scratch_folder(out: str) -> str:
    """Where files below `out` are written before they get their name; on the same file system."""
    return join(private_folder(out), "scratch")


def clear_scratch(out: str) -> None:
    """Remove what a run that was cut off left half written.

    Far away another run may be writing, whose files get their names within minutes: those of the last day
    stay there, and so does what lies in folders, which are of jobs.
    """
    if is_remote(out):
        [found] = file_systems().match([join(scratch_folder(out), "*.parquet")])
        limit = time.time() - _ABANDONED_S
        if old := [file.path for file in found.metadata_list if 0 < file.last_updated_in_seconds < limit]:
            file_systems().delete(old)
    elif os.path.exists(os.path.join(private_folder(out), _MARKER)):
        shutil.rmtree(scratch_folder(out), ignore_errors=True)


def job_folder(out: str, name: str) -> str:
    """Where a job that works elsewhere keeps what it needs while it lives."""
    return join(scratch_folder(out), "dataflow", name)


def clear_folder(folder: str) -> None:
    """Remove all files below a folder of another file system."""
    [found] = file_systems().match([join(folder, "**")])
    if found.metadata_list:
        file_systems().delete([file.path for file in found.metadata_list])
