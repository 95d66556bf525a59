"""A run that is being stopped: steps in this process's threads give up before their next piece of work.

Worker processes are simply killed, so there nobody is ever told.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_asked = threading.Event()


class StoppingError(Exception):
    """The run is being stopped; what is at work shall end without writing anything more."""


def check_stopping() -> None:
    """StoppingError when the run is being stopped; each step calls it before a piece of work."""
    if _asked.is_set():
        raise StoppingError("The run is being stopped.")


@contextmanager
def stopping() -> Iterator[None]:
    """While the block lasts, every step that starts a piece of work in this process raises."""
    _asked.set()
    try:
        yield
    finally:
        _asked.clear()
