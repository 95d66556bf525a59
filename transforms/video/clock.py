"""From a stream's timestamps to time since the first frame that decodes, and to samples."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Final, TypeVar

from av.video.stream import VideoStream

from transforms.video.files import time_base

# A timestamp this much or more before its predecessor means that the clock was set back.
CLOCK_SET_BACK_S: Final = 1
# One this much later means that it was set forward: no recorder waits that long between two frames.
LONGEST_GAP_S: Final = 24 * 3600
# A timestamp further away than this from its predecessor is believed once the next ones do not contradict it.
LEAP_S: Final = 1
STRAYS: Final = 2  # frames in a row that may be contradicted
# Ticks up to this long are rounded time; in longer ones, as AVI's, frames are counted.
ROUNDED_TICK_S: Final = Fraction(1, 100)

NO_TIMESTAMPS: Final = "Frames without a timestamp were placed one frame after the one before."
CLOCK_JUMPS: Final = "The timestamps jump; the clock was carried on from the frame before."
LATE_FRAMES: Final = "Frames that are not later than the one before were passed over."
STRAY_FRAMES: Final = "Frames with a timestamp far from those around them were passed over."
_T = TypeVar("_T")


class Clock:
    """Turns raw timestamps into ticks since time zero that only go forward, no two in one microsecond."""

    def __init__(self, stream: VideoStream, zero_pts: int, problems: set[str]) -> None:
        self.tick = time_base(stream)
        self.zero = zero_pts
        self.problems = problems
        self.last: int | None = None
        # What the stream itself states comes before what its demuxer assumes.
        rate = stream.guessed_rate or stream.average_rate or Fraction(25)
        self.frame = max(1, round(1 / (rate * self.tick)))
        self._back = math.ceil(CLOCK_SET_BACK_S / self.tick)
        self._leap = math.ceil(LEAP_S / self.tick)
        self._longest_gap = math.ceil(LONGEST_GAP_S / self.tick)
        # A Fraction works out its parts anew each time it is asked, and this is asked for every frame.
        self._twice_us, self._ticks = 2_000_000 * self.tick.numerator, self.tick.denominator

    def place(self, frames: Iterable[tuple[int | None, _T]]) -> Iterator[tuple[int, _T]]:
        """Frames by ticks since time zero, without those that are passed over; a few are read ahead."""
        ahead: deque[tuple[int | None, _T]] = deque()
        for frame in frames:
            ahead.append(frame)
            yield from self._settled(ahead, STRAYS)
        yield from self._settled(ahead, 0)

    def _settled(self, ahead: deque[tuple[int | None, _T]], wait: int) -> Iterator[tuple[int, _T]]:
        """Takes from `ahead` what can be decided, with up to `wait` frames left for more to come."""
        while ahead:
            if self._leaps(ahead[0][0]):
                contradicted = next((n for n, (pts, _) in enumerate(ahead) if self._follows(pts)), 0)
                if contradicted:
                    self.problems.add(STRAY_FRAMES)
                    for _ in range(contradicted):
                        ahead.popleft()
                elif len(ahead) <= wait:
                    return
            pts, item = ahead.popleft()
            ticks = self._carry_on(pts)
            if ticks is not None:
                yield ticks, item

    def _leaps(self, pts: int | None) -> bool:
        if pts is None or self.last is None:
            return False
        step = pts - self.zero - self.last
        return step > self._leap or step <= -self._back

    def _follows(self, pts: int | None) -> bool:
        return pts is not None and self.last is not None and 0 < pts - self.zero - self.last <= self._leap

    def _carry_on(self, pts: int | None) -> int | None:
        if pts is None:
            self.problems.add(NO_TIMESTAMPS)
            ticks = 0 if self.last is None else self.last + self.frame
        else:
            ticks = pts - self.zero
            if self.last is not None:
                if not -self._back < ticks - self.last <= self._longest_gap:
                    self.problems.add(CLOCK_JUMPS)
                    self.zero = pts - self.last - self.frame
                    ticks = self.last + self.frame
                elif self.us(ticks) <= self.us(self.last):
                    self.problems.add(LATE_FRAMES)
                    return None
        self.last = ticks
        return ticks

    def first_at(self, start_us: int) -> int:
        """The smallest timestamp that is `start_us` after time zero once rounded."""
        return self.zero + math.ceil((start_us - Fraction(1, 2)) / (self.tick * 1_000_000))

    def us(self, ticks: int) -> int:
        """Microseconds, rounded half up."""
        return (ticks * self._twice_us + self._ticks) // (2 * self._ticks)

    def tolerance(self) -> Fraction:
        """Ticks by which a timestamp may have been rounded down."""
        return Fraction(1, 2) if self.tick <= ROUNDED_TICK_S else Fraction(0)


class Sampling:
    """Which frames are samples.

    Args:
        rate: samples per tick.
        tolerance: ticks by which a frame may come before the instant that it serves.
    """

    def __init__(self, rate: Fraction, tolerance: Fraction) -> None:
        # k / rate <= ticks + tolerance, in whole numbers: this is asked for every frame.
        self._numerator = rate.numerator * tolerance.denominator
        self._denominator = rate.denominator * tolerance.denominator
        self._shift = rate.numerator * tolerance.numerator

    def number(self, previous: int | None, ticks: int) -> int | None:
        """The sample that a frame serves, if any.

        Args:
            previous: ticks of the frame before it, None when it is the first.
            ticks: the frame's own.

        Returns:
            The smallest k with previous + tolerance < k / rate <= ticks + tolerance, None when there is none.
        """
        first = 0 if previous is None else max(0, self._last(previous) + 1)
        return first if first <= self._last(ticks) else None

    def _last(self, ticks: int) -> int:
        return (ticks * self._numerator + self._shift) // self._denominator
