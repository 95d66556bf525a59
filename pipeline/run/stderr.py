"""Where libraries' chatter goes while a command works."""

import contextlib
import fcntl
import logging
import os
import sys
import threading
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO, Final

CHATTER_BYTES: Final = 16 << 20  # held at most; the oldest goes first
_LOOK_S: Final = 1.0


@contextlib.contextmanager
def redirect_stderr(path: str) -> Iterator[IO[str]]:
    """Send all that is written to stderr, C libraries' included, to a file; give the real stderr.

    What is for the user goes to the file object this yields, so that no library can garble it. Chatter
    is held in memory, the last CHATTER_BYTES of it, and appended to `path` at the end: on a full disk
    writing to it would fail inside Beam's threads, and the run would hang instead of saying so.
    """
    sys.stderr.flush()
    with (
        os.fdopen(os.memfd_create("log"), "w+b") if sys.platform == "linux" else TemporaryFile() as log,
        open(log.fileno(), "w", encoding="utf-8", errors="replace", closefd=False) as text,
        open(
            os.dup(2), "w", encoding=getattr(sys.stderr, "encoding", None) or "utf-8", errors="replace"
        ) as terminal,
        _bounded(log),
    ):
        handler = logging.StreamHandler(text)
        logging.getLogger().addHandler(handler)
        os.dup2(log.fileno(), 2)
        try:
            yield terminal
        finally:
            logging.getLogger().removeHandler(handler)
            sys.stderr.flush()
            os.dup2(terminal.fileno(), 2)
            with contextlib.suppress(OSError), open(path, "ab") as file:
                file.write(_content(log))


@contextlib.contextmanager
def quiet_libraries(path: str = os.devnull) -> Iterator[None]:
    """Send what C libraries write to stderr to a file, or to nobody; what Python prints there still shows."""
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(redirect_stderr(path))
        if sys.stderr is sys.__stderr__:  # else somebody has put another in its place already
            stack.enter_context(contextlib.redirect_stderr(terminal))
        yield


@contextlib.contextmanager
def _bounded(log: IO[bytes]) -> Iterator[None]:
    """Keep the file's size near CHATTER_BYTES while the block lasts.

    A pipe with a reader would do so exactly, but a library that writes while it holds Python's lock
    would wait for ever for a reader that wants the lock.
    """
    # After a cut all writers, in whatever process, go on at the new end.
    fcntl.fcntl(log.fileno(), fcntl.F_SETFL, fcntl.fcntl(log.fileno(), fcntl.F_GETFL) | os.O_APPEND)
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(_LOOK_S):
            if os.fstat(log.fileno()).st_size > CHATTER_BYTES:
                kept = _content(log)[-CHATTER_BYTES // 2 :]
                os.ftruncate(log.fileno(), 0)
                os.write(log.fileno(), b"[...]\n" + kept)

    thread = threading.Thread(target=look, name="chatter", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _content(log: IO[bytes]) -> bytes:
    return os.pread(log.fileno(), os.fstat(log.fileno()).st_size, 0)
