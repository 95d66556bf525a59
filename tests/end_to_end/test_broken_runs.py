"""What ends a run: a full disk, another model under the same name, tables that do not add up."""

import errno
import os
import shutil
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from pipeline.run import execute
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, ROOT, affectline, assert_same_tables


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two videos, which `--wave-minutes 0.01` does one after the other."""
    folder = tmp_path_factory.mktemp("videos")
    first = astronaut_clip(folder / "clip-0.mp4", seconds=2)
    shutil.copy(first, folder / "clip-1.mp4")
    return folder


@pytest.fixture(scope="module")
def finished(videos, untrained_model, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    result = affectline("run", videos, "-o", out, *FAST, "--model", untrained_model)
    assert result.exit_code == 0, result.output
    return out


def finished_videos(out):
    return sorted(path.parent.name.partition("=")[2] for path in out.glob("videos/*/part-0.parquet"))


# --- a full disk ------------------------------------------------------------------------------------

FULL = "affectline: The disk of {} is full; finished videos are kept, and the same command continues once "


def test_a_full_disk_is_said_and_the_same_command_continues(
    finished, videos, untrained_model, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    command = ["run", videos, "-o", out, *FAST, "--model", untrained_model, "--wave-minutes", "0.01"]

    write_table = pq.write_table

    def write_while_there_is_room(table, where, **options):
        if finished_videos(out):  # room for one
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), where)
        write_table(table, where, **options)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", write_while_there_is_room)
        result = affectline(*command)
    assert result.exit_code == 1
    assert result.output == FULL.format(out) + "there is room.\n"
    assert len(finished_videos(out)) == 1

    again = affectline(*command)
    assert again.exit_code == 0, again.output
    assert "(1 were done before)" in again.output
    assert_same_tables(finished, out)


# The disk is this process's alone, and gone with it.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=256k tmpfs "$0" || exit 77
head -c 200K /dev/zero > "$0/ballast"
"$@"
code=$?
find "$0/out" -path "*/videos/*.parquet"
exit $code
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs the right to mount a file system")
def test_a_disk_that_fills_up_under_worker_processes_is_said(videos, untrained_model, tmp_path):
    private = ["unshare", "--map-root-user", "--mount", "sh", "-c", ON_A_SMALL_DISK, tmp_path]
    command = [sys.executable, "-P", "-m", "pipeline.cli", "run", videos, "-o", tmp_path / "out"]
    process = subprocess.run(
        [*private, *command, *FAST, "--model", untrained_model, "--workers", "2"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "LC_ALL": "C"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if process.returncode == 77 or "unshare" in process.stderr:
        pytest.skip("needs the right to mount a file system")
    assert process.returncode == 1
    assert process.stderr.endswith("\n" + FULL.format(tmp_path / "out") + "there is room.\n")
    assert process.stdout == ""  # no finished video


# --- another model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0, 1])
def test_a_model_replaced_during_a_run_ends_it(videos, untrained_model, tmp_path, monkeypatch, after):
    """Rows of the new file must not stand under the hash of the old one."""
    out, model = tmp_path / "out", tmp_path / "model.keras"
    shutil.copy(untrained_model, model)
    run_wave = execute.local.run_wave

    def replace_and_run(*arguments):
        if len(finished_videos(out)) == after:
            model.write_bytes(untrained_model.read_bytes() + b" ")  # as good a model
        return run_wave(*arguments)

    monkeypatch.setattr(execute.local, "run_wave", replace_and_run)
    result = affectline("run", videos, "-o", out, *FAST, "--model", model, "--wave-minutes", "0.01")
    assert result.exit_code == 1
    [sentence] = result.output.splitlines()
    assert f"The model {model} is another file than when the run began; run the same" in sentence
    assert len(finished_videos(out)) == after


# --- tables that do not add up ----------------------------------------------------------------------


@pytest.fixture
def copy(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "out")


@pytest.mark.parametrize("table", ["timelines", "samples", "tracks"])
def test_rows_that_were_lost_since_are_found(copy, videos, untrained_model, table):
    [path] = copy.glob(f"{table}/video_id=clip-1-*/part-0.parquet")
    rows = pq.read_table(path)
    pq.write_table(rows.slice(1), path)
    result = affectline("run", videos, "-o", copy, *FAST, "--model", untrained_model)
    assert result.exit_code == 1
    assert result.output == (
        f"affectline: {videos / 'clip-1.mp4'}: {rows.num_rows - 1} rows in `{table}`, "
        f"but `videos` counts {rows.num_rows}.\n"
    )
