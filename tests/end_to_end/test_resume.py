"""A run that is killed goes on where it stopped, and ends as if nothing had happened."""

import os
import shutil
import signal
import time

import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, assert_same_tables, load, start


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    first = astronaut_clip(folder / "clip-0.mp4", seconds=2)
    for number in range(1, 4):
        shutil.copy(first, folder / f"clip-{number}.mp4")
    return folder


def finished(out):
    return sorted(path.parent.name for path in out.glob("videos/*/part-0.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("kill_after", [1, 3])
def test_killed_runs_end_like_one_that_was_not(videos, untrained_model, tmp_path, kill_after):
    options = [*FAST, "--model", untrained_model, "--wave-minutes", "0.01"]  # a wave a video
    out = tmp_path / "out"
    process = start("run", videos, "-o", out, *options, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while len(finished(out)) < kill_after and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=10)
    done = finished(out)
    assert kill_after <= len(done) < 4
    before = load(out, "videos").set_index("video_id")["processed_at"]

    again = affectline("run", videos, "-o", out, *options)
    assert again.exit_code == 0, again.output
    assert f"({len(done)} were done before)" in again.output
    assert load(out, "videos").set_index("video_id")["processed_at"][before.index].equals(before)
    assert not (out / "_affectline/scratch").exists()

    straight = tmp_path / "straight"
    affectline("run", videos, "-o", straight, *options)
    assert_same_tables(out, straight)


def test_a_video_that_vanished_is_named(videos, untrained_model, tmp_path):
    copy, out = tmp_path / "videos", tmp_path / "out"
    shutil.copytree(videos, copy)
    options = [*FAST, "--model", untrained_model]
    affectline("run", copy / "clip-0.mp4", copy / "clip-1.mp4", "-o", out, *options)
    (copy / "clip-1.mp4").unlink()
    again = affectline("run", copy / "clip-0.mp4", "-o", out, *options)
    assert again.exit_code == 0
    assert f"No longer there; their rows are kept:\n  {copy / 'clip-1.mp4'}\n" in again.output
