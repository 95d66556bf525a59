"""Where libraries' chatter goes while a command works."""

import contextlib
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import IO


@contextlib.contextmanager
def chatter_to(path: str) -> Iterator[IO[str]]:
    """Send all that is written to stderr, C libraries' included, to a log file; give the real stderr.

    Progress goes to the file object this yields, so that no library can garble it. The log is held in
    memory and appended to `path` at the end: on a full disk writing to it would fail inside Beam's
    threads, and the run would hang instead of saying so.
    """
    sys.stderr.flush()
    with (
        os.fdopen(os.memfd_create("log"), "w+b") if sys.platform == "linux" else TemporaryFile() as log,
        open(log.fileno(), "w", encoding="utf-8", errors="replace", closefd=False) as text,
        open(os.dup(2), "w", encoding="utf-8", errors="replace") as terminal,
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
            log.seek(0)
            with contextlib.suppress(OSError), open(path, "ab") as file:
                shutil.copyfileobj(log, file)
