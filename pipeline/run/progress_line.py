"""The progress line on stderr while a local run works."""

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

from tqdm import tqdm

from transforms.steps.progress import PROGRESS_FILE, total

_REFRESH_S = 0.5
_LINE = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of video [{elapsed}<{remaining}, {rate_noinv_fmt}] {postfix}"


class Progress:
    """Seconds of video done of those expected, with faces, rate and time left."""

    def __init__(self, bar: tqdm, videos: int, size_bytes: int) -> None:
        """Expect `videos` inputs of `size_bytes` in all; their seconds become known wave by wave."""
        self._bar = bar
        self._videos, self._size = videos, size_bytes
        self._known_seconds = 0.0
        self._known_bytes = 0
        self._done = 0

    def wave(self, seconds: float, size_bytes: int) -> None:
        """Learn of a wave about to run; what is still unknown is guessed from bytes."""
        self._known_seconds += seconds
        self._known_bytes += size_bytes
        if self._known_bytes:
            self._bar.total = round(self._known_seconds * self._size / self._known_bytes, 1)

    def finished(self, videos: int) -> None:
        """Count videos whose tables are complete."""
        self._done += videos
        self.show(*self.reported())

    def reported(self) -> tuple[float, int, int]:
        """Seconds, samples and faces that workers told of so far."""
        return total(os.environ[PROGRESS_FILE])

    def show(self, seconds: float, samples: int, faces: int) -> None:
        """Draw the line."""
        self._bar.n = round(min(seconds, self._bar.total or seconds), 1)
        self._bar.set_postfix_str(f"{self._done}/{self._videos} videos, {samples} samples, {faces} faces")


@contextlib.contextmanager
def watch(stderr: IO[str], videos: int, size_bytes: int) -> Iterator[Progress]:
    """Show progress until the block ends; quiet when `stderr` is not a terminal."""
    stop = threading.Event()
    with (
        tempfile.NamedTemporaryFile(prefix="affectline-progress-") as file,
        tqdm(
            file=stderr,
            disable=not stderr.isatty(),
            unit="s",
            desc="video",
            bar_format=_LINE,
            total=1,
            leave=False,
        ) as bar,
    ):
        os.environ[PROGRESS_FILE] = file.name
        progress = Progress(bar, videos, size_bytes)

        def refresh() -> None:
            while not stop.wait(_REFRESH_S):
                progress.show(*progress.reported())

        thread = threading.Thread(target=refresh, name="progress", daemon=True)
        thread.start()
        try:
            yield progress
        finally:
            stop.set()
            thread.join()
            del os.environ[PROGRESS_FILE]
