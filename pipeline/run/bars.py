"""Progress bars, on terminals and in notebooks, and whether anybody sees them."""

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import IO, Any, Final

from tqdm import TqdmWarning

with warnings.catch_warnings():
    # In a notebook without ipywidgets it remarks on that, and draws with letters.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm as tqdm

LINE: Final = (
    "{l_bar}{bar}| {n:.0f}/{total:.0f} s of video [{elapsed}<{remaining}, {rate_noinv_fmt}] {postfix}"
)


def in_notebook() -> bool:
    """Whether this process is a notebook's."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def is_watched() -> bool:
    """Whether somebody sees what is written to stderr: on a terminal or in a notebook."""
    return in_notebook() or (sys.stderr is not None and sys.stderr.isatty())


def draws(terminal: IO[str]) -> bool:
    """Whether a bar can be drawn there: on a terminal, or on the stderr of a notebook."""
    return terminal.isatty() or (terminal is sys.stderr and in_notebook())


@contextlib.contextmanager
def bar_of_seconds(shown: bool | None) -> Iterator[Callable[[float, float], None]]:
    """Show how many seconds of a video are done, of how many, as the function that this yields is told.

    shown: None for where somebody watches.
    """
    shown = is_watched() if shown is None else shown
    bar: Any = None

    def watch(done_s: float, of_s: float) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=of_s, unit="s", desc="video", bar_format=LINE, leave=False, disable=not shown)
        bar.update(done_s - bar.n)

    try:
        yield watch
    finally:
        if bar is not None:
            bar.close()


def set_total(bar: Any, total: float) -> None:
    """Let a bar expect another total."""
    bar.total = total
    if container := getattr(bar, "container", None):  # a notebook's, which has a copy
        container.children[1].max = total
