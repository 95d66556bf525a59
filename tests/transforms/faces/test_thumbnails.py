"""Which samples carry small pictures of their faces."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.faces.thumbnails import carries_thumbnails
from transforms.video.clock import Sampling

# From one picture to the next, by the rate: a fifth of a second in whole samples, and one sample at least.
INTERVALS_US = {
    Fraction(5): 200_000,
    Fraction(60): 200_000,
    Fraction(5, 2): 400_000,
    Fraction(30): 200_000,
    Fraction(30000, 1001): 200_200,
}


@given(
    steps=st.lists(st.integers(5_000, 900_000), min_size=1, max_size=60),
    fps=st.sampled_from([*INTERVALS_US]),
)
@example(steps=[5_000] * 4 + [43_464, 136_537, 136_537, 5_000], fps=Fraction(5, 2))
def test_of_all_samples_in_a_second_at_least_one_carries_thumbnails(steps, fps):
    times = np.cumsum([0, *steps]).tolist()
    sampling = Sampling(fps / 1_000_000, Fraction(0))
    numbered = [(sampling.number(before, now), now) for before, now in pairwise([None, *times])]
    pictured = [us for sample, us in numbered if sample is not None and carries_thumbnails(sample, us, fps)]
    assert pictured[0] == 0
    for before, later in pairwise([*pictured, times[-1]]):
        between = [us for us in times if before < us < later]
        # Between two of them lies no more than an interval, and what came after the gap to the first.
        assert not between or between[-1] - before <= INTERVALS_US[fps] + max(steps)


def test_a_video_of_half_the_rate_that_is_asked_for_has_thumbnails_all_along():
    """Its frames serve odd numbers alone."""
    sampling = Sampling(Fraction(60, 1_000_000), Fraction(1, 2))
    times = [round(number * 1_000_000 / 30) for number in range(105)]
    numbers = [sampling.number(before, now) for before, now in pairwise([None, *times])]
    pictured = [
        now
        for sample, now in zip(numbers, times, strict=True)
        if carries_thumbnails(sample, now, Fraction(60))
    ]
    assert pictured == [200_000 * number for number in range(18)]


def test_every_frame_as_a_sample_has_one_in_six():
    pictured = [n for n in range(40) if carries_thumbnails(n, n * 7, Fraction(0))]
    assert pictured == [0, 6, 12, 18, 24, 30, 36]


def test_a_face_seen_once_at_the_usual_rate_has_one():
    assert all(carries_thumbnails(sample, 200_000 * sample, Fraction(5)) for sample in range(20))
