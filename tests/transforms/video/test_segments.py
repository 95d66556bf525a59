"""What is planned for a stretch of video that cannot be fetched, and how it meets what was read beside it."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from schemas.elements import UNREAD, Sample, Segment, Video
from transforms.tables.blocks import make_block, read_samples
from transforms.timelines.gather import _sample_columns
from transforms.video.clock import Sampling
from transforms.video.segments import planned_samples

VIDEO = Video("clip-0123456789", "/videos/clip.mp4", "1-2", 1)


def planned(start_us, end_us, fps, listed_us=10_000_000, frames=250, after=-1):
    segment = Segment(VIDEO, 0, start_us, end_us, 0, 320, 240, listed_us, frames)
    return [(item.sample, item.pts_us) for item in planned_samples(segment, Fraction(fps), after)]


def test_samples_lie_on_the_grid_of_the_stretch():
    assert planned(1_000_000, 2_000_000, 5) == [(k, k * 200_000) for k in range(5, 10)]
    assert planned(9_000_000, -1, 2) == [(18, 9_000_000), (19, 9_500_000)]
    assert planned(0, 1_000_000, 5, after=2) == [(3, 600_000), (4, 800_000)]
    assert planned(0, -1, 0, listed_us=120_000, frames=3) == [(0, 0), (1, 40_000), (2, 80_000)]
    assert planned(0, -1, 0, listed_us=0, frames=0) == []


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    steps=st.lists(st.integers(1, 900_000), min_size=1, max_size=40),
    fps=st.sampled_from([Fraction(5), Fraction(2), Fraction(30_000, 1001)]),
    cuts=st.lists(st.integers(1, 5_000_000), max_size=4, unique=True),
    lost=st.sets(st.integers(0, 4)),
    tolerance=st.sampled_from([0, 500]),
)
def test_each_sample_comes_once_and_in_order_whatever_is_lost(steps, fps, cuts, lost, tolerance):
    sampling = Sampling(fps / 1_000_000, Fraction(tolerance))
    times = np.cumsum([0, *steps]).tolist()
    edges = [0, *sorted(cuts), -1]
    rows = []
    for number, (start, end) in enumerate(pairwise(edges)):
        if number in lost:
            segment = Segment(VIDEO, number, start, end, 0, 320, 240, times[-1] + 1, len(times))
            rows += planned_samples(segment, fps)
            continue
        for before, time in zip([None, *times], times, strict=False):
            if time >= start and (end < 0 or time < end):
                sample = sampling.number(before, time)
                if sample is not None:
                    rows.append(Sample(VIDEO.video_id, sample, time, "no_face", 0, b""))
    if not rows:
        return
    found = _sample_columns(read_samples([make_block(rows, "")]))
    assert (np.diff(found.sample) > 0).all()
    assert (np.diff(found.pts_us) > 0).all()
    assert UNREAD not in found.status
    assert np.count_nonzero(found.status == "no_face") == sum(row.status == "no_face" for row in rows)
