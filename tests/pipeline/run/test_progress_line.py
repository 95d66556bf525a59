"""The progress line: what it counts, where it appears, and that nothing is left of it."""

import io
import os
import threading

import pytest

from pipeline.run import progress_line
from pipeline.run.progress_line import watch
from transforms.steps.progress import PROGRESS_FILE, advance, total


class Terminal(io.StringIO):
    def isatty(self):
        return True

    @property
    def last_line(self):
        return self.getvalue().split("\r")[-1].strip()


@pytest.fixture
def terminal():
    return Terminal()


def refreshed(terminal, bar, words):
    """The line once it says these words; it is drawn by a thread."""
    bar.show(*bar.reported())
    bar._bar.refresh()
    assert words in terminal.last_line
    return terminal.last_line


def test_it_counts_seconds_samples_faces_and_videos(terminal):
    with watch(terminal, videos=3, size_bytes=400) as progress:
        progress.wave(seconds=10.0, size_bytes=100)
        advance(2.5, 12, 7)
        advance(2.5, 13, 1)
        line = refreshed(terminal, progress, "25 samples, 8 faces")
        # Three quarters of the bytes are still unknown: 40 s in all.
        assert "5/40 s of video" in line
        assert "0/3 videos" in line
        progress.finished(2)
        progress.wave(seconds=50.0, size_bytes=300)
        assert "5/60 s of video" in refreshed(terminal, progress, "2/3 videos")


def test_it_never_says_more_than_there_is(terminal):
    with watch(terminal, videos=1, size_bytes=100) as progress:
        progress.wave(seconds=10.0, size_bytes=100)
        advance(11.0, 55, 0)  # the container knew less than the decoder found
        assert "10/10 s of video" in refreshed(terminal, progress, "55 samples")


def test_it_moves_by_itself_while_workers_work(terminal, monkeypatch):
    monkeypatch.setattr(progress_line, "_REFRESH_S", 0.01)
    seen = threading.Event()
    with watch(terminal, videos=1, size_bytes=100) as progress:
        progress._bar.set_postfix_str = lambda text: seen.set() if "7 samples" in text else None
        advance(1.0, 7, 0)
        assert seen.wait(10)


def test_it_is_quiet_where_nobody_sees_it():
    log = io.StringIO()
    with watch(log, videos=1, size_bytes=100) as progress:
        progress.wave(seconds=10.0, size_bytes=100)
        advance(1.0, 5, 2)
        progress.finished(1)
    assert log.getvalue() == ""


@pytest.mark.parametrize("error", [None, RuntimeError])
def test_it_leaves_nothing_behind(terminal, error):
    try:
        with watch(terminal, videos=1, size_bytes=100):
            path = os.environ[PROGRESS_FILE]
            assert os.path.exists(path)
            if error:
                raise error
    except RuntimeError:
        pass
    assert PROGRESS_FILE not in os.environ
    assert not os.path.exists(path)
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]
    assert terminal.last_line == ""
    advance(1.0, 1, 1)  # nobody watches: nothing happens


def test_a_line_that_is_half_written_is_counted_when_whole(tmp_path):
    file = tmp_path / "progress"
    file.write_text("1.500 3 2\n2.0")
    assert total(str(file)) == (1.5, 3, 2)
    file.write_text("1.500 3 2\n2.000 4 1\n")
    assert total(str(file)) == (3.5, 7, 3)
