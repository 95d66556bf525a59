"""A process that has everything loaded and turns into workers when it is asked to.

Loading Beam takes two seconds of processor time and 220 MB: here that is spent once a run, not once a worker
and wave, and workers share the memory until they write to it. Linux only: elsewhere a fork of a process with
loaded libraries is not safe, and workers start by themselves.

The server ends, and its workers with it, when the process that started it does. Where the server is killed,
the system ends its workers.
"""

import contextlib
import ctypes
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

from pipeline.run import fork_client

WORKER_NAME: Final = "affectline-work"  # of the processes, as `ps` shows them: 15 letters at most
_PR_SET_PDEATHSIG: Final = 1  # of Linux's prctl
# All that a worker needs: what is loaded here it finds loaded.
_LOADED: Final = (
    "apache_beam.runners.worker.sdk_worker_main",
    "pipeline.build",
    "models.litert",
    "ai_edge_litert.interpreter",
)


@contextlib.contextmanager
def fork_server(folder: str) -> Iterator[str | None]:
    """While it lasts, the command that starts a worker; None where there can be no such server.

    folder: for its socket.
    """
    if not sys.platform.startswith("linux"):
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(fork_client.address(descriptor))
        os.close(descriptor)
        listener.listen(socket.SOMAXCONN)
        server = subprocess.Popen(
            [sys.executable, "-P", "-m", "pipeline.run.fork_server", str(listener.fileno())],
            stdin=subprocess.PIPE,  # whose end is this process's end
            pass_fds=[listener.fileno()],
        )
    with server:
        try:
            yield subprocess.list2cmdline(
                [sys.executable, "-I", "-S", str(Path(fork_client.__file__)), folder]
            )
        finally:
            server.kill()  # it may still be loading what nobody needed


def serve(listener: socket.socket, until: int) -> None:
    """Fork a worker for each that asks, tell it the worker's exit code, until `until` can be read from."""
    server = os.getpid()
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    selector.register(until, selectors.EVENT_READ)
    asked: dict[
        int, tuple[int, socket.socket]
    ] = {}  # by the worker's process descriptor: its number, who asked
    while True:
        for key, _ in selector.select():
            if key.fileobj == until:
                for worker, _ in asked.values():
                    os.kill(worker, signal.SIGKILL)
                return
            if key.fileobj is listener:
                client, _ = listener.accept()
                with client.makefile() as lines:
                    wanted = lines.readline()
                if not wanted:  # ended before it could ask
                    client.close()
                    continue
                worker = os.fork()
                if not worker:
                    _end_with(server)
                    selector.close()
                    for open_here in (listener, client, *(other for _, other in asked.values())):
                        open_here.close()
                    _become_worker(json.loads(wanted))
                process = os.pidfd_open(worker)
                asked[process] = worker, client
                selector.register(process, selectors.EVENT_READ)
                selector.register(client, selectors.EVENT_READ, process)
            elif key.data is not None and key.data in asked:  # who asked is gone, and wants no worker
                os.kill(asked[key.data][0], signal.SIGKILL)
                selector.unregister(key.fileobj)
            elif key.fd in asked:
                worker, client = asked.pop(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1])
                selector.unregister(key.fd)
                os.close(key.fd)
                with contextlib.suppress(KeyError):
                    selector.unregister(client)
                with contextlib.suppress(OSError):
                    client.sendall(f"{code if code >= 0 else 128 - code}\n".encode())
                client.close()


def _end_with(parent: int) -> None:
    """Have the system kill this process with its parent, which, itself killed, could not."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _become_worker(environment: dict[str, str]) -> NoReturn:
    from apache_beam.runners.worker import sdk_worker_main

    Path("/proc/self/comm").write_text(WORKER_NAME, encoding="ascii")
    os.environ.update(environment)
    code = 1
    try:
        sdk_worker_main.main([])
        code = 0
    except BaseException:  # noqa: BLE001 - the process ends with it, here and with this code
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Load everything, and serve until standard input ends."""
    for name in _LOADED:
        importlib.import_module(name)
    # Ctrl-C reaches the whole group; what it ends is for the process that started this one to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        serve(listener, sys.stdin.fileno())


if __name__ == "__main__":
    main()
