"""The progress line: what it expects, how fast it goes, and what is printed where there is no terminal."""

import io
import threading

import pytest

from pipeline.run import progress_line
from pipeline.run.progress_line import ProgressLine, smoothing, watch
from transforms.steps.progress import Events


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """The time that the line sees, in a list of one number."""
    now = [1000.0]
    monkeypatch.setattr(progress_line.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def told(tmp_path):
    """A file of events, and a function that adds to it."""

    def tell(seconds, samples, faces):
        with (tmp_path / "events").open("a") as file:
            file.write(f"{seconds} {samples} {faces}\n")

    tell.events = Events(str(tmp_path / "events"))
    return tell


def test_without_a_terminal_lines_come_at_the_start_each_wave_and_every_half_minute(clock, told):
    out, records = io.StringIO(), []
    progress = ProgressLine(out, told.events, 4, 4_000_000, 2, lambda event, **fields: records.append(fields))
    progress.wave(2, 100, 2_000_000)
    for seconds in (20, 39):  # the first twenty seconds are start-up
        clock[0] = 1000 + seconds
        told(10, 50, 5)
        progress.look()
    clock[0] = 1040
    progress.finished(2)
    assert out.getvalue().splitlines() == [
        "affectline: videos to do: 4, 4 MB, in 2 processes.",
        "affectline: wave 1, videos: 2, about 100 s.",
        "affectline: 20 of about 200 s of video, 0 of 4 videos, 100 samples, 10 faces; about 05:42 left.",
        "affectline: 20 of about 200 s of video, 2 of 4 videos, 100 samples, 10 faces; about 05:42 left.",
    ]
    assert records[0] == {"processes": 2}
    assert records[1] == {
        "video_s": 20,
        "expected_s": 200,
        "videos": 0,
        "samples": 100,
        "faces": 10,
        "left_s": 342,
    }


def test_a_line_on_a_terminal_expects_what_headers_and_sizes_say(told):
    out = Terminal()
    progress = ProgressLine(out, told.events, 2, 3_000_000, 1, lambda *_, **__: None)
    assert out.getvalue() == ""
    with watch(progress):
        progress.wave(1, 10, 1_000_000)
        told(5, 25, 7)
        progress.finished(0)
    assert "0/30 s of video" in out.getvalue()
    assert "5/30 s of video" in out.getvalue()
    assert "0/2 videos, 25 samples, 7 faces" in out.getvalue()
    assert "0/1 s" not in out.getvalue()
    assert "affectline:" not in out.getvalue()


def test_it_moves_by_itself_while_workers_work(told, monkeypatch):
    monkeypatch.setattr(progress_line, "_REFRESH_S", 0.01)
    seen = threading.Event()
    progress = ProgressLine(Terminal(), told.events, 1, 100, 1, lambda *_, **__: None)
    with watch(progress):
        progress.wave(1, 10, 100)
        progress._bar.set_postfix_str = lambda text: seen.set() if "7 samples" in text else None
        told(1, 7, 0)
        assert seen.wait(10)


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_it_leaves_nothing_behind(told, error):
    out = Terminal()
    progress = ProgressLine(out, told.events, 1, 100, 1, lambda *_, **__: None)
    try:
        with watch(progress):
            progress.wave(1, 10, 100)
            if error:
                raise error
    except RuntimeError:
        pass
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert out.getvalue().split("\r")[-1].strip() == ""


def test_more_video_than_was_expected_is_no_error(told):
    out = Terminal()
    progress = ProgressLine(out, told.events, 1, 0, 1, lambda *_, **__: None)
    progress.wave(1, 0, 0)
    told(5, 25, 7)
    progress.look()
    progress.finished(1)
    progress.close()
    assert "left" not in out.getvalue()


def test_smoothing_again_is_told_at_the_start_and_every_half_minute(clock):
    out, records = io.StringIO(), []
    for _ in smoothing(["a", "b", "c", "d"], out, lambda event, **fields: records.append((event, fields))):
        clock[0] += 16
    assert out.getvalue().splitlines() == [
        "affectline: videos to smooth again: 4.",
        "affectline: 2 of 4 videos smoothed again.",
    ]
    assert records == [("progress", {"smoothed": 2, "to_smooth": 4})]


def test_smoothing_again_shows_a_line_on_a_terminal_and_takes_it_away():
    out = Terminal()
    assert list(smoothing(["a", "b"], out, lambda *_, **__: None)) == ["a", "b"]
    assert "0/2" in out.getvalue()
    assert out.getvalue().split("\r")[-1].strip() == ""
