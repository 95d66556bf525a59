"""Cutting a video into stretches that workers can take."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from schemas.elements import UNREAD, Sample, Segment, Video
from transforms.video.records import Probe


def cut(video: Video, probe: Probe, segment_us: int) -> list[Segment]:
    """Stretches of `segment_us` microseconds that cover a video; an empty one joins the one before it.

    One piece when that is 0, or when the file makes sense only from the start. The file's claim of a
    duration only decides how many pieces there are: the last has no end.
    """
    starts = [0]
    if segment_us and not probe.one_piece:
        begin_us = 0
        for end_us, next_us in [*probe.gaps, (max(0, probe.duration_us - 1), 0)]:
            pieces = range(begin_us // segment_us, end_us // segment_us + 1)
            starts += [piece * segment_us for piece in pieces if piece * segment_us > starts[-1]]
            begin_us = next_us
    return [
        Segment(
            video=video,
            number=number,
            start_us=start_us,
            end_us=end_us,
            zero_pts=probe.zero_pts,
            width=probe.width,
            height=probe.height,
            listed_us=probe.duration_us,
            listed_frames=probe.frames,
        )
        for number, (start_us, end_us) in enumerate(pairwise([*starts, -1]))
    ]


def planned_samples(segment: Segment, fps: Fraction, after: int = -1) -> Iterator[Sample]:
    """The samples of a segment that cannot be fetched, as far as the list of its packets told, in order.

    fps: samples a second; 0 stands for every frame, and then they are spread evenly. after: the last that was
    read of the segment before.
    """
    if fps == 0:
        if segment.listed_us <= 0:
            return
        fps = Fraction(segment.listed_frames * 1_000_000, segment.listed_us)
    end_us = segment.end_us if segment.end_us >= 0 else segment.listed_us
    first = max(after + 1, math.ceil(segment.start_us * fps / 1_000_000))
    for sample in range(first, math.ceil(end_us * fps / 1_000_000)):
        pts_us = math.ceil(sample * 1_000_000 / fps)
        yield Sample(segment.video.video_id, sample, pts_us, UNREAD, 0, b"")
