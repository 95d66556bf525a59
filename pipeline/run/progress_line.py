"""What stderr shows while a local run works: a line on a terminal, and lines now and then elsewhere."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, Final, TypeVar

from pipeline.run.bars import LINE, draws, set_total, tqdm
from transforms.steps.progress import Events

TOLD_EVERY_S: Final = 30.0  # where there is no terminal
_REFRESH_S: Final = 0.5
_T = TypeVar("_T")


class _Pace:
    """Seconds of video a second, from the first that were reported: start-up is left out."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self.rate = 0.0  # until it is known

    def report(self, seconds: float, now: float) -> None:
        """Learn that so many seconds are done at this time."""
        if self._first is None:
            if seconds > 0:
                self._first = now, seconds
        elif now > self._first[0]:
            self.rate = (seconds - self._first[1]) / (now - self._first[0])


class _Bar(tqdm):
    """A bar whose rate, and so the time left, is the pace's."""

    def __init__(self, pace: _Pace, file: IO[str], processes: str, total: float) -> None:
        self._pace = pace
        super().__init__(
            file=file, total=total, unit="s", desc=f"video, {processes}", bar_format=LINE, leave=False
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the line is made of."""
        made_of: dict[str, Any] = super().format_dict
        return made_of | {"rate": self._pace.rate}


class ProgressLine:
    """Seconds of video done of those expected, with faces, rate and time left."""

    def __init__(
        self,
        terminal: IO[str],
        events: Events,
        videos: int,
        size_bytes: int,
        workers: int,
        log: Callable[..., None],
    ) -> None:
        """Expect `videos` inputs of `size_bytes` in all; their seconds become known wave by wave.

        workers: processes that read them. log: told now and then as well, as `RunLog.tell`.
        """
        self._terminal, self._events, self._log = terminal, events, log
        self._videos, self._size = videos, size_bytes
        self._known_seconds = 0.0
        self._known_bytes = 0
        self._done = self._waves = 0
        self._pace = _Pace()
        self._bar: _Bar | None = None
        self._told = time.monotonic()
        self._shown = threading.Lock()
        self._processes = f"{workers} process{'es' if workers > 1 else ''}"
        say(self._terminal, f"videos to do: {videos}, {size_bytes / 1e6:,.0f} MB, in {self._processes}.")
        self._log("workers", processes=workers)

    def wave(self, videos: int, seconds: float, size_bytes: int) -> None:
        """Learn of a wave about to run; what is still unknown is guessed from bytes."""
        with self._shown:
            self._waves += 1
            self._known_seconds += seconds
            self._known_bytes += size_bytes
            say(self._terminal, f"wave {self._waves}, videos: {videos}, about {seconds:.0f} s.")
            if self._bar is None and self._expected_s and draws(self._terminal):
                self._bar = _Bar(self._pace, self._terminal, self._processes, round(self._expected_s, 1))
            self._draw()

    def finished(self, videos: int) -> None:
        """Count videos whose tables are complete."""
        with self._shown:
            self._done += videos
            self._events.look()
            self._tell()

    def look(self) -> None:
        """Show what workers have told since the last look, as far as it is time."""
        with self._shown:
            self._events.look()
            self._pace.report(self._events.seconds, time.monotonic())
            if self._waves and time.monotonic() - self._told >= TOLD_EVERY_S:
                self._tell()
            else:
                self._draw()

    def close(self) -> None:
        """Take the line away."""
        with self._shown:
            if self._bar is not None:
                self._bar.close()

    @property
    def _expected_s(self) -> float:
        """Seconds of video in all, as far as they are known or can be guessed; never fewer than are done."""
        guess = self._known_seconds * self._size / self._known_bytes if self._known_bytes else 0.0
        return max(guess, self._events.seconds)

    def _tell(self) -> None:
        self._told = time.monotonic()
        events, expected = self._events, self._expected_s
        left = max(0.0, expected - events.seconds) / self._pace.rate if self._pace.rate else None
        said = (
            f"{events.seconds:.0f} of about {expected:.0f} s of video, "
            f"{self._done} of {self._videos} videos, {events.samples} samples, {events.faces} faces"
        )
        if left is not None and self._done < self._videos:
            said += f"; about {tqdm.format_interval(left)} left"
        say(self._terminal, f"{said}.")
        self._log(
            "progress",
            video_s=round(events.seconds, 1),
            expected_s=round(expected, 1),
            videos=self._done,
            samples=events.samples,
            faces=events.faces,
            left_s=None if left is None else round(left),
        )
        self._draw()

    def _draw(self) -> None:
        if self._bar is not None:
            set_total(self._bar, round(self._expected_s, 1))
            self._bar.n = round(self._events.seconds, 1)
            self._bar.set_postfix_str(
                f"{self._done}/{self._videos} videos, {self._events.samples} samples, "
                f"{self._events.faces} faces"
            )


def say(terminal: IO[str], sentence: str) -> None:
    """One line where no bar is drawn."""
    if not draws(terminal):
        with contextlib.suppress(OSError):  # nobody reads any more
            print(f"affectline: {sentence}", file=terminal, flush=True)


def smoothing(videos: Sequence[_T], terminal: IO[str], log: Callable[..., None]) -> Iterator[_T]:
    """Videos one by one, showing how many have been smoothed again; log: as `ProgressLine`'s."""
    say(terminal, f"videos to smooth again: {len(videos)}.")
    told = time.monotonic()
    bar = tqdm(
        videos, desc="smoothing", unit="video", file=terminal, leave=False, disable=not draws(terminal)
    )
    for number, video in enumerate(bar):
        if time.monotonic() - told >= TOLD_EVERY_S:
            told = time.monotonic()
            say(terminal, f"{number} of {len(videos)} videos smoothed again.")
            log("progress", smoothed=number, to_smooth=len(videos))
        yield video


@contextlib.contextmanager
def watch(progress: ProgressLine) -> Iterator[None]:
    """Show progress until the block ends."""
    stop = threading.Event()

    def refresh() -> None:
        while not stop.wait(_REFRESH_S):
            progress.look()

    thread = threading.Thread(target=refresh, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        progress.close()
