"""Whether files are opened, by whatever process, told by the kernel."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_IN_OPEN = 0x20
_EVENT = struct.Struct("iIII")  # and then the name


@contextmanager
def openings(folder: Path) -> Iterator[list[str]]:
    """Names in a folder that were opened within the block, once it has ended."""
    libc = ctypes.CDLL(None, use_errno=True)
    queue = libc.inotify_init1(os.O_NONBLOCK)
    if queue < 0 or libc.inotify_add_watch(queue, os.fsencode(folder), _IN_OPEN) < 0:
        raise OSError(ctypes.get_errno(), "inotify")
    opened: list[str] = []
    try:
        yield opened
        try:
            events = os.read(queue, 1 << 20)
        except BlockingIOError:
            return
        at = 0
        while at < len(events):
            *_, length = _EVENT.unpack_from(events, at)
            at += _EVENT.size
            opened.append(os.fsdecode(events[at : at + length].rstrip(b"\0")))
            at += length
    finally:
        os.close(queue)
