"""From a stream's timestamps to time since the first frame that decodes, and to samples."""

import math
from fractions import Fraction
from typing import Final

from av.video.stream import VideoStream

from transforms.video.files import time_base

# A timestamp this much or more before its predecessor means that the clock was set back.
CLOCK_SET_BACK_S: Final = 1
NO_TIMESTAMPS: Final = "Frames without a timestamp were placed one frame after the one before."
CLOCK_JUMPS: Final = "The timestamps jump back; the clock was carried on from the frame before."
LATE_FRAMES: Final = "Frames that are not later than the one before were passed over."


class Clock:
    """Turns raw timestamps into ticks since time zero that only go forward."""

    def __init__(self, stream: VideoStream, zero_pts: int, problems: set[str]) -> None:
        self.tick = time_base(stream)
        self.zero = zero_pts
        self.problems = problems
        self.last: int | None = None
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self.frame = max(1, round(1 / (rate * self.tick)))
        self.back = -(-CLOCK_SET_BACK_S // self.tick)
        # A Fraction works out its parts anew each time it is asked, and this is asked for every frame.
        self._twice_us, self._ticks = 2_000_000 * self.tick.numerator, self.tick.denominator

    def place(self, pts: int | None) -> int | None:
        """Ticks since time zero, or None for a frame that is passed over."""
        if pts is None:
            self.problems.add(NO_TIMESTAMPS)
            ticks = 0 if self.last is None else self.last + self.frame
        else:
            ticks = pts - self.zero
            if self.last is not None and ticks <= self.last:
                if self.last - ticks < self.back:
                    self.problems.add(LATE_FRAMES)
                    return None
                self.problems.add(CLOCK_JUMPS)
                self.zero = pts - self.last - self.frame
                ticks = self.last + self.frame
        self.last = ticks
        return ticks

    def first_at(self, start_us: int) -> int:
        """The smallest timestamp that is `start_us` after time zero once rounded."""
        return self.zero + math.ceil((start_us - Fraction(1, 2)) / (self.tick * 1_000_000))

    def us(self, ticks: int) -> int:
        """Microseconds, rounded half up."""
        return (ticks * self._twice_us + self._ticks) // (2 * self._ticks)


def sample_number(previous: int | None, ticks: int, rate: Fraction) -> int | None:
    """The sample that a frame serves, if any.

    Args:
        previous: ticks of the frame before it, None when it is the first.
        ticks: the frame's own.
        rate: samples per tick.

    Returns:
        The smallest k with previous < k / rate <= ticks, None when there is none.
    """
    first = 0 if previous is None else max(0, previous * rate.numerator // rate.denominator + 1)
    return first if first <= ticks * rate.numerator // rate.denominator else None
