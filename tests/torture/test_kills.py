"""Whatever ends a run, and whenever: one more run gives the tables of a run that nothing ended."""

import signal
import time

import numpy as np
import psutil
import pytest

from pipeline.run.fork_server import WORKER_NAME
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, assert_same_tables, start
from tests.torture.scale import scaled

MOMENTS = scaled(100)
KINDS = ("main", "server", "worker", "decoder", "largest")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(4):
        astronaut_clip(folder / f"clip-{number}.mp4", seconds=2 + number)
    return folder


@pytest.fixture(scope="module")
def command(videos):
    """A run of four waves in two processes, less its output folder."""
    return ["run", videos, *FAST, "--workers", "2", "--wave-minutes", "0.01", "--segment-seconds", "1"]


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """The tables of a run that nothing ended, and its seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    process = start(*command, "-o", folder / "out", cwd=folder)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, output + errors
    return folder / "out", time.monotonic() - started


def processes_of(run, kind):
    """The processes of a run: `main`, the `server` that forks workers, each of these, decoders, the largest.

    The largest is what the kernel kills when there is no memory left.
    """
    launcher = psutil.Process(run.pid)
    if kind == "main":
        return [launcher]
    if kind == "largest":
        family = [launcher, *launcher.children(recursive=True)]
        return [max(family, key=lambda process: process.memory_info().rss)]

    def is_of_kind(process):
        if kind == "worker":
            return process.name() == WORKER_NAME
        if kind == "server":
            return "pipeline.run.fork_server" in process.cmdline() and process.name() != WORKER_NAME
        return any("child.py" in part for part in process.cmdline())

    found = []
    for process in launcher.children(recursive=True):
        try:
            if is_of_kind(process):
                found.append(process)
        except psutil.Error:  # it ended meanwhile
            continue
    return found


def strike(run, kind, seconds, sign):
    """Send a signal to a process of this kind, at the moment or as soon after it as there is one."""
    time.sleep(seconds)
    while run.poll() is None:
        try:
            family = [run.pid, *(child.pid for child in psutil.Process(run.pid).children(recursive=True))]
            victims = processes_of(run, kind)
            if victims:
                victims[-1].send_signal(sign)
                return family
        except psutil.Error:
            pass
        time.sleep(0.05)
    return []


def assert_gone(family):
    """No process of the run outlives it."""
    deadline = time.monotonic() + 20
    left = []
    while time.monotonic() < deadline:
        left = [pid for pid in family if psutil.pid_exists(pid)]
        left = [pid for pid in left if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]
        if not left:
            return
        time.sleep(0.1)
    raise AssertionError([psutil.Process(pid).cmdline() for pid in left])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("number", range(-(-MOMENTS // len(KINDS))))
def test_a_process_is_killed(command, undisturbed, tmp_path, kind, number):
    tables, seconds = undisturbed
    moment = np.random.default_rng((number, len(kind))).uniform(0, seconds)
    out = tmp_path / "out"
    run = start(*command, "-o", out, cwd=tmp_path)
    family = strike(run, kind, moment, signal.SIGKILL)
    _, errors = run.communicate(timeout=300)
    if kind == "decoder":
        assert run.returncode in (0, 3), errors
    elif kind in ("server", "worker"):
        assert run.returncode in (0, 1), errors
    elif kind == "largest":
        assert run.returncode in (-signal.SIGKILL, 0, 1, 3), errors
    assert "Traceback" not in errors
    assert_gone(family)
    again = affectline(*command, "-o", out)
    assert again.exit_code == 0, again.output
    assert_same_tables(tables, out)


@pytest.fixture
def interruptible():
    """What a shell starts in the background ignores SIGINT, and so would all that is started from there."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("sign", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_asked_to_stop_it_stops_in_order(command, undisturbed, tmp_path, sign, code, part):
    tables, seconds = undisturbed
    out = tmp_path / "out"
    run = start(*command, "-o", out, cwd=tmp_path)
    family = strike(run, "main", part * seconds, sign)
    _, errors = run.communicate(timeout=60)
    assert run.returncode in ((code, 0) if part == 0.9 else (code,)), errors
    assert "Traceback" not in errors
    assert_gone(family)
    again = affectline(*command, "-o", out)
    assert again.exit_code == 0, again.output
    assert_same_tables(tables, out)
