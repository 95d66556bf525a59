"""One command at a time in an output folder."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from typing import IO

from schemas.errors import UsageError
from transforms.remote import is_remote
from transforms.tables.files import claim_private_folder, private_folder


def _lock_file(out: str) -> IO[str]:
    claim_private_folder(out)
    return open(os.path.join(private_folder(out), "lock"), "w", encoding="ascii")


@contextlib.contextmanager
def locked(out: str) -> Iterator[None]:
    """Hold a local output folder for this run alone; UsageError when another run has it."""
    if is_remote(out):
        yield
        return
    with _lock_file(out) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another run is writing to {out}; wait for it to end or choose another output folder."
            ) from error
        yield
