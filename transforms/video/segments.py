"""Cutting a video into stretches that workers can take."""

from schemas.elements import Segment, Video
from transforms.video.records import Probe


def cut(video: Video, probe: Probe, segment_us: int) -> list[Segment]:
    """Stretches of `segment_us` microseconds that cover a video.

    One piece when that is 0, or when the file's timestamps make sense only from the start. The
    file's claim of a duration only decides how many pieces there are: the last has no end.
    """
    whole = not segment_us or probe.one_piece
    count = 1 if whole else max(1, -(-probe.duration_us // segment_us))
    return [
        Segment(
            video=video,
            number=number,
            start_us=number * segment_us,
            end_us=(number + 1) * segment_us if number + 1 < count else -1,
            zero_pts=probe.zero_pts,
        )
        for number in range(count)
    ]
