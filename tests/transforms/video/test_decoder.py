"""Decoding in a child process: what comes through the pipe, and what is left of it when the child fails."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from schemas.errors import DecoderKilledError, DecoderStoppedError, UnavailableError, UnreadableVideoError
from tests.helpers.videos import SIZE, even, number_in, write_video
from transforms.video import decoder as decoder_module
from transforms.video.decoder import CHILD, CRASHED, KILLED, STOPPED, Decoder
from transforms.video.reading import probe, read_segment
from transforms.video.records import FRAME_LOST, LostSample, SampledFrame, SegmentSummary

ROOT = Path(__file__).resolve().parents[3]
FPS = Fraction(25)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(write_video(tmp_path_factory.mktemp("clip") / "a.mp4", even(50), bframes=2))


@pytest.fixture
def decoder():
    with Decoder() as made:
        yield made


def misbehave(monkeypatch, tmp_path: Path, at: int, deed: str) -> None:
    """Makes the child do a deed instead of sending the sample numbered `at`."""
    program = tmp_path / "child.py"
    program.write_text(
        textwrap.dedent(f"""
        import os, runpy, signal, sys, time
        sys.argv = [{CHILD[-1]!r}]
        made = runpy.run_path({CHILD[-1]!r}, run_name="child")
        send = made["serve"].__globals__["_send"]
        def wrapped(out, item):
            if type(item).__name__ == "SampledFrame" and item.sample == {at}:
                {deed}
            send(out, item)
        made["serve"].__globals__["_send"] = wrapped
        made["serve"]()
        """)
    )
    monkeypatch.setattr(decoder_module, "CHILD", [*CHILD[:-1], str(program)])


def test_the_child_says_what_reading_in_the_same_process_says(clip, decoder):
    assert decoder.probe(clip) == probe(clip)
    here = list(read_segment(clip, 400_000, 1_200_000, 0, SIZE, Fraction(10)))
    there = list(decoder.read(clip, 400_000, 1_200_000, 0, SIZE, Fraction(10)))
    assert len(here) == len(there) == 9
    for left, right in zip(here, there, strict=True):
        assert type(left) is type(right)
        if isinstance(left, SampledFrame):
            assert isinstance(right, SampledFrame)
            assert (left.sample, left.pts_us) == (right.sample, right.pts_us)
            np.testing.assert_array_equal(left.image, right.image)
        else:
            assert left == right


def test_one_child_serves_many_files(clip, decoder):
    decoder.probe(clip)
    child = decoder._child
    list(decoder.read(clip, 0, -1, 0, SIZE, FPS))
    with pytest.raises(UnreadableVideoError, match="No such file"):
        decoder.probe(clip + ".gone")
    decoder.probe(clip)
    assert decoder._child is child


DEEDS = {
    "abort": "os.abort()",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "killed in the middle of a message": "os.write(1, b''); out.write(b'\\xff\\0'); os._exit(3)",
    "an error in Python": "raise RuntimeError('un\\nforeseen.')",
    "asleep": "time.sleep(60)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("deed", DEEDS)
def test_what_was_delivered_is_kept_and_the_rest_is_lost_aloud(deed, clip, tmp_path, monkeypatch):
    hangs = deed in ("asleep", "stopped")
    limit = 1.0 if hangs else 60.0
    reason = {
        "an error in Python": "The decoder met an unforeseen RuntimeError: un foreseen.",
        "killed": KILLED,
        "asleep": STOPPED.format(limit),
        "stopped": STOPPED.format(limit),
    }.get(deed, CRASHED)
    misbehave(monkeypatch, tmp_path, 20, DEEDS[deed])
    with Decoder() as decoder:
        *items, summary = decoder.read(clip, 0, -1, 0, SIZE, FPS, limit)
        assert [i.sample for i in items] == list(range(50))
        assert [i.pts_us for i in items] == [40_000 * n for n in range(50)]
        assert [number_in(i.image) for i in items if isinstance(i, SampledFrame)] == list(range(20))
        assert items[20:] == [LostSample(n, 40_000 * n, reason) for n in range(20, 50)]
        assert summary == SegmentSummary(
            20, 1_960_000, 40_000, 40_000, tuple(sorted({*summary.problems, reason}))
        )
        ended_by = DecoderStoppedError if hangs else DecoderKilledError if reason == KILLED else type(None)
        assert type(summary.ended_by) is ended_by
        assert reason.endswith(".")
        # The next segment, which has no such frame, reads fine.
        *items, summary = decoder.read(clip, 1_000_000, -1, 0, SIZE, FPS)
        assert [number_in(i.image) for i in items if isinstance(i, SampledFrame)] == list(range(25, 50))
        assert summary.problems == ()


def test_a_crash_outside_the_segment_loses_nothing_of_it(clip, tmp_path, monkeypatch):
    misbehave(monkeypatch, tmp_path, 20, DEEDS["abort"])
    with Decoder() as decoder:
        *items, summary = decoder.read(clip, 0, 800_000, 0, SIZE, FPS)
    assert [i.sample for i in items] == list(range(20))
    assert summary.problems == ()


def test_a_crash_loses_only_what_lies_in_the_segment(clip, tmp_path, monkeypatch):
    misbehave(monkeypatch, tmp_path, 20, DEEDS["abort"])
    with Decoder() as decoder:
        *items, _ = decoder.read(clip, 600_000, 1_000_000, 0, SIZE, FPS)
    assert [(i.sample, isinstance(i, LostSample)) for i in items] == [(n, n >= 20) for n in range(15, 25)]


def test_a_crash_on_a_file_without_timestamps_lists_every_frame(tmp_path, monkeypatch):
    raw = str(write_video(tmp_path / "a.264", even(30, 1), tick=Fraction(1, 25), bframes=2))
    misbehave(monkeypatch, tmp_path, 10, DEEDS["abort"])
    with Decoder() as decoder:
        *items, _ = decoder.read(raw, 0, -1, 0, SIZE, Fraction(0))
    assert [(i.sample, i.pts_us) for i in items] == [(n, 40_000 * n) for n in range(30)]
    assert [isinstance(i, LostSample) for i in items] == [n >= 10 for n in range(30)]


def test_a_file_that_vanishes_is_no_bad_file(decoder, tmp_path):
    with pytest.raises(UnavailableError, match="The file cannot be read now: No such file or directory"):
        list(decoder.read(str(tmp_path / "gone.mp4"), 1_000_000, -1, 0, SIZE, Fraction(5)))


def test_every_frame_cannot_be_read_from_the_middle(clip, decoder):
    with pytest.raises(ValueError, match="one piece"):
        next(decoder.read(clip, 1, -1, 0, SIZE, Fraction(0)))


def test_a_reader_that_loses_interest_leaves_no_child(clip):
    with Decoder() as decoder:
        items = decoder.read(clip, 0, -1, 0, SIZE, FPS)
        next(items)
        child = decoder._child
        assert child is not None
        items.close()
        assert child.poll() is not None
        assert number_in(next(iter(decoder.read(clip, 0, -1, 0, SIZE, FPS))).image) == 0


def test_a_slow_caller_is_no_slow_decoder(tmp_path):
    path = str(write_video(tmp_path / "a.mp4", even(6), size=(2048, 2048)))  # 75 MB: more than is read ahead
    with Decoder() as decoder:
        decoder.probe(path)
        items = decoder.read(path, 0, -1, 0, SIZE, FPS, time_limit=1.5)
        next(items)
        time.sleep(1.7)
        assert isinstance([*items][-1], SegmentSummary)


def test_too_little_memory_is_told(tmp_path, monkeypatch):
    path = str(write_video(tmp_path / "a.mkv", even(2), size=(2560, 2560), codec="ffv1"))
    program = tmp_path / "child.py"
    program.write_text(
        textwrap.dedent(f"""
        import runpy
        made = runpy.run_path({CHILD[-1]!r}, run_name="child")
        with open("/proc/self/statm") as file:
            used = int(file.read().split()[0]) * 4096
        made["serve"].__globals__["MEMORY_LIMIT"] = used + 20 * 2**20
        made["serve"]()
        """)
    )
    with Decoder() as decoder:
        assert decoder.probe(path).width == 2560
    monkeypatch.setattr(decoder_module, "CHILD", [*CHILD[:-1], str(program)])
    with Decoder() as decoder:
        with pytest.raises(UnreadableVideoError) as caught:
            decoder.probe(path)
        assert str(caught.value) in (
            "No frame of the video decodes.",
            "Decoding it takes too much memory.",
            CRASHED,
        )


def test_the_child_ends_with_its_parent(clip, tmp_path):
    program = textwrap.dedent(f"""
        from fractions import Fraction
        from transforms.video.decoder import Decoder
        decoder = Decoder()
        items = decoder.read({clip!r}, 0, -1, 0, (64, 32), Fraction(25))
        next(items)
        print(decoder._child.pid, flush=True)
        input()
    """)
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while alive(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ctrl_c_is_left_to_the_parent(clip, decoder):
    decoder.probe(clip)
    os.kill(decoder._child.pid, signal.SIGINT)
    time.sleep(0.05)
    child = decoder._child
    assert decoder.probe(clip).frames == 50
    assert decoder._child is child


def test_the_working_folder_cannot_shadow_modules(clip, tmp_path, monkeypatch):
    for name in ("models", "transforms", "av", "schemas"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('shadowed')")
    for name in ("numpy", "json", "queue"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    with Decoder() as decoder:
        assert decoder.probe(clip).frames == 50


def test_the_log_takes_what_ffmpeg_says_and_nothing_else_does(tmp_path, capfd):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"nonsense" * 100)
    with open(tmp_path / "log", "w+b") as log, Decoder(log) as decoder:
        with pytest.raises(UnreadableVideoError):
            decoder.probe(str(path))
        assert (tmp_path / "log").read_bytes()
    assert capfd.readouterr() == ("", "")


def test_requests_and_answers_are_one_line_of_json(clip):
    """Also when a path holds what might break a line."""
    odd = Path(clip).with_name("a\nb ü.mp4")
    odd.write_bytes(Path(clip).read_bytes())
    assert "\n" not in json.dumps(str(odd))
    with Decoder() as decoder:
        assert decoder.probe(str(odd)).frames == 50
    assert FRAME_LOST.endswith(".")
