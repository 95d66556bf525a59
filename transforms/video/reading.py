"""Reading a video exactly: what a file is, and which of its frames are sampled, when, and which were lost.

The rules are in docs/time.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from typing import Final

from av.container import InputContainer
from av.video.stream import VideoStream

from schemas.errors import UnreadableVideoError
from transforms.video.clock import CLOCK_SET_BACK_S, Clock, sample_number
from transforms.video.decoding import Decoding, Event, events_from_before, seek
from transforms.video.files import open_video, packets, time_base
from transforms.video.pixels import display_matrix, rotation, to_rgb
from transforms.video.records import (
    FRAME_LOST,
    DecodingProgress,
    LostSample,
    Probe,
    SampledFrame,
    SegmentSummary,
)

# What counts as a video when a folder is searched. A file that is named is always tried.
VIDEO_EXTENSIONS: Final = frozenset(
    (
        ".264",
        ".265",
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".h264",
        ".hevc",
        ".ivf",
        ".m2t",
        ".m2ts",
        ".m2v",
        ".m4v",
        ".mj2",
        ".mjpeg",
        ".mjpg",
        ".mkv",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mpv",
        ".mts",
        ".mxf",
        ".nut",
        ".ogm",
        ".ogv",
        ".ps",
        ".qt",
        ".rm",
        ".rmvb",
        ".ts",
        ".vob",
        ".webm",
        ".wmv",
        ".y4m",
    )
)
# How much of a file's seeking is put to the test before it is cut into segments.
SEEKS_TRIED: Final = 8
PACKETS_COMPARED: Final = 30
MINUTE_US: Final = 60_000_000
NOT_DECODED: Final = "Some frames did not decode."
CUT_SHORT: Final = "The file ends before the video does: it is cut short or still being written."
SIZE_CHANGES: Final = "The picture changes its size; boxes are in pixels of the frame they were found in."
BAD_START: Final = "The video begins with frames that do not decode; time starts at the first one that does."
_PICTURE_FORMATS: Final = ("image2", "webp")


def probe(path: str) -> Probe:
    """Lists the packets of a file and decodes up to the first whole frame.

    Raises:
        UnreadableVideoError: with a sentence that says why nothing can be read.
    """
    problems: set[str] = set()
    listing = _list_packets(path, problems)
    with open_video(path) as (container, stream):
        events = Decoding(path, packets(container, stream, problems), stream).events()
        for pts, first in events:  # noqa: B007
            if first is not None:
                break
            problems.add(BAD_START)
        else:
            raise UnreadableVideoError("No frame of the video decodes.")
        clock = Clock(stream, pts or 0, problems)
        image = to_rgb(first)
        codec = stream.codec_context.codec.canonical_name
        zero_pts = clock.zero
    placed = [clock.place(pts) for pts in listing.frames]
    times = [clock.us(ticks) for ticks in placed if ticks is not None and ticks >= 0]
    steps = [later - earlier for earlier, later in pairwise(times)]
    return Probe(
        zero_pts=zero_pts,
        width=image.shape[1],
        height=image.shape[0],
        rotation=rotation(display_matrix(first)),
        codec=codec,
        duration_us=max(times, default=0) + clock.us(listing.last_duration or clock.frame),
        frames=len(times),
        min_step_us=min(steps, default=0),
        max_step_us=max(steps, default=0),
        one_piece=listing.one_piece,
        problems=tuple(sorted(problems)),
    )


@dataclass(frozen=True)
class _Listing:
    """The packets of a stream, not decoded."""

    frames: list[int | None]  # their timestamps in the order shown; None only when no frame has one
    last_duration: int
    one_piece: bool


def _list_packets(path: str, problems: set[str]) -> _Listing:
    """Reads through a file without decoding. Raises UnreadableVideoError."""
    with open_video(path) as (container, stream):
        tick = time_base(stream)
        # Is it a keyframe, by timestamp; a stretch ends where the clock is set back.
        stretches: list[dict[int, bool]] = [{}]
        untimed = end = listed = 0
        latest = latest_dts = keyframe = before = None
        last_duration = 0
        one_piece = last_is_broken = False
        for packet in packets(container, None, problems):
            if packet.pts is not None and packet.time_base is not None:
                end_us = int((packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000)
                end = max(end, end_us)
            if packet.stream_index != stream.index:
                continue
            listed += 1
            last_is_broken = packet.is_corrupt
            if packet.dts is not None:
                if latest_dts is not None and (latest_dts - packet.dts) * tick >= CLOCK_SET_BACK_S:
                    stretches.append({})
                    latest = None
                latest_dts = packet.dts
            if packet.is_discard:
                continue
            pts = packet.pts
            if pts is None:
                untimed += 1
                continue
            stretches[-1][pts] = packet.is_keyframe
            # What seeking relies on: nothing after a keyframe is shown before the keyframe before it.
            one_piece |= before is not None and pts <= before
            if latest is None or pts > latest:
                latest, last_duration = pts, packet.duration or 0
            if packet.is_keyframe:
                keyframe, before = pts, keyframe
        name = container.format.name
        if listed <= 1 and (name.endswith("_pipe") or name in _PICTURE_FORMATS):
            raise UnreadableVideoError("The file is a still picture, not a video.")
        one_piece |= untimed > 0 or len(stretches) > 1 or not _finds_again(container, stream, stretches[0])
        claimed = (container.duration or 0) + (container.start_time or 0)
        if last_is_broken or (not one_piece and claimed - end > max(2_000_000, claimed // 10)):
            problems.add(CUT_SHORT)
    frames: list[int | None] = [pts for stretch in stretches for pts in sorted(stretch)]
    return _Listing(frames or [None] * untimed, last_duration, one_piece)


def _finds_again(container: InputContainer, stream: VideoStream, keyframes: dict[int, bool]) -> bool:
    """Whether packets have the timestamps after seeking that they have in a row (MXF's do not)."""
    times = sorted(keyframes)
    for number in range(1, SEEKS_TRIED + 1):
        target = times[(len(times) - 1) * number // SEEKS_TRIED] if times else 0
        found = seek(container, stream, target, set())
        if found is None:
            continue  # a segment will find out the same, and read from the start
        # Program streams misname the first packet after seeking, which no sample is taken from.
        for packet in islice(found[1], PACKETS_COMPARED):
            if packet.pts is None or packet.is_discard:
                continue
            if keyframes.get(packet.pts) != packet.is_keyframe:
                return False
    return True


def read_segment(
    path: str, start_us: int, end_us: int, zero_pts: int, fps: Fraction, decode: bool = True
) -> Iterator[SampledFrame | LostSample | DecodingProgress | SegmentSummary]:
    """Samples the frames with start_us <= pts_us < end_us, in order; a SegmentSummary comes last.

    Args:
        path: a local file.
        start_us: microseconds after time zero.
        end_us: the same, or -1 for all that follows.
        zero_pts: timestamp of time zero in the stream's time base, from `probe`.
        fps: samples a second; 0 takes every frame, and then the segment must start at 0.
        decode: False only lists the frames that there are, each as a lost sample.

    Raises:
        UnreadableVideoError: the file cannot be opened.
    """
    if fps == 0 and start_us > 0:
        raise ValueError("Every frame can only be numbered from the start: read the video in one piece.")
    problems: set[str] = set()
    if not decode:
        listed: list[Event] = [(pts, None) for pts in _list_packets(path, problems).frames]
        with open_video(path) as (_, stream):
            clock = Clock(stream, zero_pts, problems)
        yield from _sample(iter(listed), clock, start_us, end_us, fps)
        return
    if start_us > 0:
        with open_video(path) as (container, stream):
            clock = Clock(stream, zero_pts, problems)
            events = events_from_before(path, container, stream, clock.first_at(start_us), problems)
            if events is not None:
                yield from _sample(events, clock, start_us, end_us, fps)
                return
    with open_video(path) as (container, stream):
        clock = Clock(stream, zero_pts, problems)
        events = Decoding(path, packets(container, stream, problems), stream).events()
        yield from _sample(events, clock, start_us, end_us, fps)


def _sample(
    events: Iterator[Event], clock: Clock, start_us: int, end_us: int, fps: Fraction
) -> Iterator[SampledFrame | LostSample | DecodingProgress | SegmentSummary]:
    previous: int | None = None
    frames = number = minute = 0
    last_us = -1
    shortest: int | None = None
    longest = 0
    size: tuple[int, int] | None = None
    rate = fps * clock.tick
    for pts, frame in events:
        ticks = clock.place(pts)
        if ticks is None or ticks < 0:
            continue
        pts_us = clock.us(ticks)
        if pts_us // MINUTE_US > minute:
            minute = pts_us // MINUTE_US
            yield DecodingProgress(pts_us)
        if 0 <= end_us <= pts_us:
            break
        same_size = frame is None or size in (None, (frame.width, frame.height))
        size = size if frame is None else (frame.width, frame.height)
        if pts_us >= start_us:
            if not same_size:
                clock.problems.add(SIZE_CHANGES)
            if previous is not None:
                step = pts_us - clock.us(previous)
                shortest = step if shortest is None else min(shortest, step)
                longest = max(longest, step)
            sample = number if fps == 0 else sample_number(previous, ticks, rate)
            number += 1
            last_us = pts_us
            frames += frame is not None
            if frame is None:
                clock.problems.add(NOT_DECODED)
            if sample is not None:
                if frame is None:
                    yield LostSample(sample, pts_us, FRAME_LOST)
                else:
                    yield SampledFrame(sample, pts_us, to_rgb(frame))
        previous = ticks
    yield SegmentSummary(frames, last_us, shortest or 0, longest, tuple(sorted(clock.problems)))
