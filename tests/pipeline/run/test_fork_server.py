"""Workers that are forks of a process which has loaded everything."""

import os
import signal
import socket
import subprocess
import sys
import time

import psutil
import pytest

from pipeline.run import fork_client, fork_server
from tests.helpers.commands import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks are for Linux")
ASKED = dict.fromkeys(fork_client.NAMES, "x")


# Workers that sleep, or end with the code that is their id.
SERVER = """
import os, socket, sys, time
from pipeline.run import fork_client, fork_server

def work(environment):
    if environment["WORKER_ID"] == "sleep":
        time.sleep(60)
    os._exit(int(environment["WORKER_ID"]))

fork_server._become_worker = work
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(fork_client.address(os.open(sys.argv[1], os.O_RDONLY)))
    listener.listen()
    print("ready", flush=True)
    fork_server.serve(listener, sys.stdin.fileno())
"""


@pytest.fixture
def server(tmp_path):
    """The folder of a server's socket, and the server's number."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, tmp_path], stdin=pipe, stdout=pipe, cwd=ROOT
    ) as process:
        assert process.stdout.readline() == b"ready\n"
        yield tmp_path, process.pid


def ask(folder, worker):
    command = [sys.executable, "-I", "-S", fork_client.__file__, str(folder)]
    return subprocess.Popen(command, env=ASKED | {"WORKER_ID": worker})


def worker_of(server_pid):
    deadline = time.monotonic() + 20
    while not (found := psutil.Process(server_pid).children()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found[0]


def test_who_asks_ends_as_the_worker_ends(server):
    folder, _ = server
    asked = [ask(folder, code) for code in ("0", "7", "0")]
    assert [process.wait(20) for process in asked] == [0, 7, 0]


def test_a_worker_that_is_killed_is_told_by_its_signal(server):
    folder, pid = server
    process = ask(folder, "sleep")
    worker_of(pid).kill()
    assert process.wait(20) == 128 + signal.SIGKILL


def test_a_worker_goes_with_who_asked_for_it(server):
    folder, pid = server
    process = ask(folder, "sleep")
    worker = worker_of(pid)
    process.kill()
    process.wait()
    worker.wait(20)
    assert ask(folder, "3").wait(20) == 3


def test_what_ends_before_it_asks_gets_nothing(server):
    folder, pid = server
    descriptor = os.open(folder, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(fork_client.address(descriptor))
    os.close(descriptor)
    assert ask(folder, "5").wait(20) == 5
    assert psutil.Process(pid).children() == []


def test_a_server_that_is_killed_takes_its_workers_and_who_asked_along(server):
    folder, pid = server
    process = ask(folder, "sleep")
    worker = worker_of(pid)
    os.kill(pid, signal.SIGKILL)
    worker.wait(20)
    assert process.wait(20) == 1


def test_the_server_ends_with_the_process_that_started_it(tmp_path):
    """And the real one's workers have loaded what they need."""
    with fork_server.fork_server(str(tmp_path)) as command:
        assert fork_client.SOCKET_NAME in os.listdir(tmp_path)
        assert str(tmp_path) in command
        [process] = [
            child for child in psutil.Process().children() if "pipeline.run.fork_server" in child.cmdline()
        ]
    assert not process.is_running()
