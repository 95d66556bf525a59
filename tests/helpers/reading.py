"""Reading a video here as the pipeline's segments read it, and saying what came out."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np

from tests.helpers.videos import number_in
from transforms.video.reading import probe, read_segment
from transforms.video.records import DecodingProgress, LostSample, SampledFrame, SegmentSummary

TS = Fraction(1, 90000)


def read(
    path: Path, fps: Fraction | int = 0, cuts: Sequence[int] = ()
) -> tuple[list[SampledFrame | LostSample], SegmentSummary]:
    """All samples of a video and the sum of its segments' summaries."""
    found = probe(str(path))
    edges = [0, *cuts, -1]
    items: list[SampledFrame | LostSample] = []
    ends = []
    for start, end in pairwise(edges):
        *body, summary = read_segment(
            str(path), start, end, found.zero_pts, (found.width, found.height), Fraction(fps)
        )
        assert isinstance(summary, SegmentSummary)
        ends.append(summary)
        for item in body:
            assert isinstance(item, SampledFrame | LostSample | DecodingProgress)
            if not isinstance(item, DecodingProgress):
                items.append(item)
    return items, total(ends)


def total(ends: Sequence[SegmentSummary]) -> SegmentSummary:
    """What the segments of one video amount to together."""
    return SegmentSummary(
        frames_read=sum(end.frames_read for end in ends),
        last_pts_us=max(end.last_pts_us for end in ends),
        min_step_us=min((end.min_step_us for end in ends if end.min_step_us), default=0),
        max_step_us=max(end.max_step_us for end in ends),
        problems=tuple(sorted({problem for end in ends for problem in end.problems})),
    )


def shown(items: Sequence[SampledFrame | LostSample]) -> list[tuple[int, int, int | None]]:
    """(sample, milliseconds, number in the picture or None when it is lost)."""
    return [
        (i.sample, i.pts_us // 1000, number_in(i.image) if isinstance(i, SampledFrame) else None)
        for i in items
    ]


def assert_same(one: Sequence[SampledFrame | LostSample], other: Sequence[SampledFrame | LostSample]) -> None:
    assert [(type(i), i.sample, i.pts_us) for i in one] == [(type(i), i.sample, i.pts_us) for i in other]
    for left, right in zip(one, other, strict=True):
        if isinstance(left, SampledFrame) and isinstance(right, SampledFrame):
            np.testing.assert_array_equal(left.image, right.image)
