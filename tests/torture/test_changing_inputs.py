"""Inputs that change, vanish or grow while a run is at them, and a clock that jumps."""

import shutil
import time
from datetime import timedelta
from fractions import Fraction

import pytest

from pipeline.run import execute
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, assert_same_tables, load, start
from tests.helpers.preloaded import JUMPING_CLOCK, preload
from tests.helpers.videos import even, write_video


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    for number in range(3):
        astronaut_clip(folder / f"clip-{number}.mp4", seconds=2)
    return folder


@pytest.fixture
def videos(originals, tmp_path):
    return shutil.copytree(originals, tmp_path / "videos")


def run(videos, out):
    return affectline("run", videos, "-o", out, *FAST, "--wave-minutes", "0.01")


def before_wave(number, deed, monkeypatch):
    """Do something when all inputs are listed and so many waves are done."""
    run_wave, waves = execute.local.run_wave, []

    def disturbed(*arguments):
        if len(waves) == number:
            deed()
        waves.append(arguments)
        return run_wave(*arguments)

    monkeypatch.setattr(execute.local, "run_wave", disturbed)


def assert_one_rerun_mends(videos, out, tmp_path):
    again = run(videos, out)
    assert again.exit_code == 0, again.output
    straight = tmp_path / "straight"
    assert run(videos, straight).exit_code == 0
    assert_same_tables(straight, out)


def longer(path):
    astronaut_clip(path, seconds=3)


def same_size(path):
    """Other pictures in as many bytes."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize("wave", [0, 1, 2])
@pytest.mark.parametrize("change", [longer, same_size])
def test_an_input_changes(videos, tmp_path, monkeypatch, change, wave):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        before_wave(wave, lambda: change(videos / "clip-1.mp4"), patch)
        result = run(videos, out)
    assert result.exit_code in (0, 3), result.output
    assert_one_rerun_mends(videos, out, tmp_path)


@pytest.mark.parametrize("wave", [0, 1, 2])
def test_an_input_vanishes_and_comes_back(videos, tmp_path, monkeypatch, wave):
    out, away = tmp_path / "out", tmp_path / "away.mp4"
    with monkeypatch.context() as patch:
        before_wave(wave, lambda: (videos / "clip-1.mp4").rename(away), patch)
        result = run(videos, out)
    assert result.exit_code == (3 if wave < 2 else 0), result.output
    away.rename(videos / "clip-1.mp4")
    assert_one_rerun_mends(videos, out, tmp_path)


def test_an_input_grows_all_the_while(videos, tmp_path):
    """As a recorder's file does: a transport stream, written in pieces while it is read."""
    out, growing = tmp_path / "out", videos / "growing.ts"
    content = write_video(tmp_path / "whole.ts", even(500, 3600), tick=Fraction(1, 90000)).read_bytes()
    growing.write_bytes(content[: len(content) // 4])
    process = start("run", videos, "-o", out, *FAST, "--wave-minutes", "0.01", cwd=tmp_path)
    written = len(content) // 4
    while process.poll() is None and written < len(content):
        time.sleep(0.05)
        with growing.open("ab") as file:
            file.write(content[written : written + 997])
        written += 997
    output, errors = process.communicate(timeout=120)
    assert process.returncode in (0, 3), output + errors
    growing.write_bytes(content)
    assert_one_rerun_mends(videos, out, tmp_path)


@pytest.mark.parametrize("days", [-3650, 3650])
def test_a_clock_that_jumps_shows_in_the_time_of_processing_alone(videos, tmp_path, monkeypatch, days):
    straight, out, jumped = tmp_path / "straight", tmp_path / "out", tmp_path / "jumped"
    assert run(videos, straight).exit_code == 0
    with monkeypatch.context() as patch:
        jump = {"JUMPS_WHEN": str(jumped), "JUMPS_BY": str(days * 24 * 3600)}
        preload(JUMPING_CLOCK, jump, tmp_path, patch)
        process = start("run", videos, "-o", out, *FAST, "--wave-minutes", "0.01", cwd=tmp_path)
    while process.poll() is None and not any(out.glob("videos/*/part-0.parquet")):
        time.sleep(0.01)
    jumped.touch()
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    assert_same_tables(straight, out)
    times = load(out, "videos")["processed_at"]
    assert times.max() - times.min() > timedelta(days=3600)
    assert load(out, "videos")["seconds"].between(0, 300).all()
