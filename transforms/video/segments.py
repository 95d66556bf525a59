"""Cutting a video into stretches that workers can take."""

from itertools import pairwise

from schemas.elements import Segment, Video
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
        )
        for number, (start_us, end_us) in enumerate(pairwise([*starts, -1]))
    ]
