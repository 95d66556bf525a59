"""A disk that is full or may only be read, at each table in turn: the same command continues later."""

import contextlib
import errno
import os
import shutil
import subprocess

import pytest

from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, assert_same_tables
from transforms.tables import write


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(2):
        astronaut_clip(folder / f"clip-{number}.mp4", seconds=2)
    return folder


@pytest.fixture(scope="module")
def undisturbed(videos, tmp_path_factory):
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    result = affectline("run", videos, "-o", out, *FAST)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture
def small_disk(tmp_path):
    """A file system of four megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]
    if shutil.which("mount") is None or subprocess.run(["mount", *options], capture_output=True).returncode:
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def fill(path):
    """Leave no room on the disk of a new file."""
    with open(path, "wb", buffering=0) as ballast:
        for size in (1 << 16, 1 << 9, 1):
            with contextlib.suppress(OSError):
                while True:
                    ballast.write(bytes(size))
    assert os.statvfs(path).f_bavail == 0


def at_table(name, deed, monkeypatch, videos_before):
    """Do something when a table of the video that comes after so many is about to be written."""
    real, seen = write.write_parquet, []

    def write_parquet(table, path, out, *arguments):
        if f"/{name}/" in path:
            seen.append(path)
            if len(seen) == videos_before + 1:
                deed()
        real(table, path, out, *arguments)

    monkeypatch.setattr(write, "write_parquet", write_parquet)


@pytest.mark.parametrize("videos_before", [0, 1])
@pytest.mark.parametrize("table", TABLES)
def test_the_disk_is_full(videos, undisturbed, small_disk, monkeypatch, table, videos_before):
    out, ballast = small_disk / "out", small_disk / "ballast"
    command = ["run", videos, "-o", out, *FAST, "--wave-minutes", "0.01"]
    with monkeypatch.context() as patch:
        at_table(table, lambda: fill(ballast), patch, videos_before)
        result = affectline(*command)
    assert result.exit_code == 1, result.output
    assert f"The disk of {out} is full" in result.output
    ballast.unlink()
    again = affectline(*command)
    assert again.exit_code == 0, again.output
    assert_same_tables(undisturbed, out)


@pytest.mark.parametrize("videos_before", [0, 1])
@pytest.mark.parametrize("table", TABLES)
def test_the_disk_may_only_be_read(videos, undisturbed, tmp_path, monkeypatch, table, videos_before):
    out = tmp_path / "out"
    command = ["run", videos, "-o", out, *FAST, "--wave-minutes", "0.01"]

    def refuse():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(out))

    with monkeypatch.context() as patch:
        at_table(table, refuse, patch, videos_before)
        result = affectline(*command)
    assert result.exit_code == 1, result.output
    assert "Read-only file system" in result.output
    again = affectline(*command)
    assert again.exit_code == 0, again.output
    assert_same_tables(undisturbed, out)


def test_an_output_on_a_disk_that_may_only_be_read_is_refused(videos, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    result = affectline("run", videos, "-o", small_disk / "out", *FAST)
    assert result.exit_code == 2
    assert f"{small_disk / 'out'} cannot be created: Read-only file system." in result.output
