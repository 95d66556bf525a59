"""Files are whole or absent, here and on remote file systems; copies are bounded and removed."""

import os
from pathlib import Path

import pyarrow as pa
import pytest

from transforms import remote as remote_files
from transforms.tables import files as storage

TABLE = pa.table({"a": [1, 2, 3]})


@pytest.mark.parametrize("place", ["local", "remote"])
def test_tables_are_written_replaced_read_and_deleted(place, tmp_path, remote):
    out = str(tmp_path / "out") if place == "local" else "mem://bucket/out"
    path = storage.table_path(out, "samples", "clip-0")
    assert not remote_files.exists(path)
    for table in (TABLE, TABLE.slice(1)):
        storage.write_parquet(table, path, out)
    assert storage.open_parquet(path).read().equals(TABLE.slice(1))
    assert storage.open_parquet(path).read(["a"]).column_names == ["a"]
    for _ in range(2):
        remote_files.delete(path)
        assert not remote_files.exists(path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path, out = str(tmp_path / "t/part-0.parquet"), str(tmp_path)
    storage.write_parquet(TABLE, path, out)

    def fail(table, temp, **_):
        with open(temp, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.pq, "write_table", fail)
    with pytest.raises(OSError, match="No space left"):
        storage.write_parquet(TABLE.slice(1), path, out)
    assert storage.open_parquet(path).read().equals(TABLE)
    assert os.listdir(storage.scratch_folder(out)) == []


def test_remote_videos_are_copied_once_bounded_and_removed(remote):
    for name in "abc":
        remote(f"mem://bucket/{name}.mp4").write_bytes(name.encode() * 10)
    copies = remote_files.LocalCopies(max_bytes=20)
    paths = {name: copies.path(f"mem://bucket/{name}.mp4", "1") for name in "ab"}
    assert all(path.endswith(".mp4") for path in paths.values())
    assert Path(paths["b"]).read_bytes() == b"b" * 10
    remote("mem://bucket/a.mp4").unlink()
    assert copies.path("mem://bucket/a.mp4", "1") == paths["a"]
    copies.path("mem://bucket/c.mp4", "1")
    assert not os.path.exists(paths["b"])  # the one used longest ago went
    folder = os.path.dirname(paths["a"])
    copies.close()
    assert not os.path.exists(folder)


def test_local_videos_are_read_where_they_are():
    assert remote_files.LocalCopies().path("/videos/a.mp4", "1") == "/videos/a.mp4"
