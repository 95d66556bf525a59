"""Reading a video exactly: what a file is, and which of its frames are sampled, when, and which were lost.

The rules are in docs/time.md.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice, pairwise
from typing import Final

from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from schemas.errors import UnreadableVideoError
from schemas.remarks import OTHER_PICTURES
from transforms.video.clock import CLOCK_JUMPS, CLOCK_SET_BACK_S, STRAY_FRAMES, Clock, Sampling
from transforms.video.decoding import (
    KEYFRAMES_BACK,
    Decoding,
    Event,
    events_from_before,
    is_in_decoding_order,
    seek,
)
from transforms.video.files import LateStreamError, demux, holds_others, open_video, packets, time_base
from transforms.video.pixels import display_matrix, display_size, pixel_aspect, rotation, to_rgb
from transforms.video.records import (
    FRAME_LOST,
    DecodingProgress,
    Header,
    LostSample,
    Probe,
    SampledFrame,
    SegmentSummary,
)

# How much of a file's seeking is put to the test before it is cut into segments.
SEEKS_TRIED: Final = 8
PACKETS_COMPARED: Final = 30
MINUTE_US: Final = 60_000_000
# Packets listed between two signs of life.
PACKETS_A_SIGN: Final = 1000
# Without a keyframe for longer than this, each segment would decode more for others than for itself.
LONGEST_GROUP_US: Final = MINUTE_US
# A file may end this much before it says, or by as much as the longest step between its frames.
SHORTFALL_US: Final = 2_000_000
LARGEST_SAMPLE: Final = 2**31 - 1
# Codecs, beside those without any other frames, in which what a keyframe starts owes nothing to what came
# before. Others carry palettes or codebooks over, and are read in one piece.
INDEPENDENT_KEYFRAMES: Final = frozenset((
    "av1", "ffv1", "flv1", "gif", "h263", "h264", "hevc", "mpeg1video", "mpeg2video", "mpeg4",
    "msmpeg4v2", "msmpeg4v3", "png", "rv30", "rv40", "theora", "vc1", "vp6", "vp6f", "vp8", "vp9",
    "vvc", "wmv1", "wmv2", "wmv3",
))  # fmt: skip
NOT_DECODED: Final = "Some frames did not decode."
CUT_SHORT: Final = "The file ends before the video does: it is cut short or still being written."
SIZE_CHANGES: Final = "The picture changes its size; all of it was scaled to the size that it begins with."
BAD_START: Final = "The video begins with frames that do not decode; time starts at the first one that does."
TOO_LONG: Final = "The timestamps span more samples than can be numbered; what lies beyond them was not read."
_PICTURE_FORMATS: Final = ("image2", "webp")


def header(path: str) -> Header:
    """What a file says of itself, in no more time than opening it takes.

    Raises:
        UnreadableVideoError: with a sentence that says why nothing can be read.
    """
    with open_video(path) as (container, stream):
        width, height = stream.codec_context.width, stream.codec_context.height
        return Header(max(0, container.duration or 0), max(0, width), max(0, height))


def probe(path: str, progress: Callable[[DecodingProgress], None] = lambda _: None) -> Probe:
    """Lists the packets of a file and decodes up to the first whole frame.

    Args:
        path: a local file.
        progress: gets a sign of life every PACKETS_A_SIGN packets.

    Raises:
        UnreadableVideoError: with a sentence that says why nothing can be read.
    """
    problems: set[str] = set()
    in_decoding_order = is_in_decoding_order(path)
    listing = _list_packets(path, in_decoding_order, problems, progress)
    with open_video(path) as (container, stream):
        events = Decoding(
            path, packets(path, container, stream, problems), stream, in_decoding_order
        ).events()
        for pts, first in events:  # noqa: B007
            if first is not None:
                break
            problems.add(BAD_START)
        else:
            raise UnreadableVideoError("No frame of the video decodes.")
        clock = Clock(stream, pts or 0, problems)
        aspect = pixel_aspect(stream)
        width, height = display_size(first, aspect)
        to_rgb(first, (width, height))  # pixels that cannot be converted are found out here
        codec = stream.codec_context.codec.canonical_name
        zero_pts = clock.zero
    placed = clock.place((pts, None) for pts in listing.frames)
    times = [clock.us(ticks) for ticks, _ in placed if ticks >= 0]
    steps = [(later - earlier, earlier) for earlier, later in pairwise(times)]
    max_step_us = max(steps, default=(0, 0))[0]
    one_piece = listing.one_piece or not problems.isdisjoint((CLOCK_JUMPS, STRAY_FRAMES))
    if listing.ends_broken or (not one_piece and listing.shortfall_us > max(SHORTFALL_US, max_step_us)):
        problems.add(CUT_SHORT)
    return Probe(
        zero_pts=zero_pts,
        width=width,
        height=height,
        sar=float(aspect),
        rotation=rotation(display_matrix(first)),
        codec=codec,
        duration_us=max(times, default=0) + clock.us(listing.last_duration or clock.frame),
        frames=len(times),
        min_step_us=min(steps, default=(0, 0))[0],
        max_step_us=max_step_us,
        gaps=tuple((at, at + step) for step, at in steps if step > MINUTE_US),
        one_piece=one_piece,
        problems=tuple(sorted(problems)),
    )


@dataclass(frozen=True)
class _Listing:
    """The packets of a stream, not decoded."""

    frames: list[int | None]  # their timestamps in the order shown; None only when no frame has one
    last_duration: int
    shortfall_us: int  # by which the file ends before it says
    ends_broken: bool
    one_piece: bool


def _list_packets(
    path: str, in_decoding_order: bool, problems: set[str], progress: Callable[[DecodingProgress], None]
) -> _Listing:
    """Reads through a file without decoding. Raises UnreadableVideoError."""
    with open_video(path) as (container, stream):
        seen = _Seen(stream, in_decoding_order)
        begins_late = False
        try:
            for number, packet in enumerate(demux(path, container, [], problems), 1):
                seen.add(packet)
                if number % PACKETS_A_SIGN == 0:
                    progress(DecodingProgress(seen.end_us))
        except LateStreamError:
            begins_late = True
        name = container.format.name
        if seen.count <= 1 and (name.endswith("_pipe") or name in _PICTURE_FORMATS):
            raise UnreadableVideoError("The file is a still picture, not a video.")
        if holds_others(path, container, seen.others, begins_late):
            problems.add(OTHER_PICTURES)
        codec = stream.codec_context.codec
        one_piece = (
            in_decoding_order
            or not (codec.intra_only or codec.canonical_name in INDEPENDENT_KEYFRAMES)
            or seen.one_piece
            or not _finds_again(path, container, stream, seen.stretches[0])
        )
        # Matroska states when it ends, others how long they are.
        begin_us = 0 if "matroska" in name else (container.start_time or 0)
        return _Listing(
            frames=seen.frames,
            last_duration=seen.last_duration,
            shortfall_us=begin_us + (container.duration or 0) - seen.end_us,
            ends_broken=seen.last_is_broken,
            one_piece=one_piece,
        )


class _Seen:
    """What the packets of a file, one after the other, tell of one of its streams."""

    def __init__(self, stream: VideoStream, in_decoding_order: bool) -> None:
        self._index = stream.index
        self._in_decoding_order = in_decoding_order
        self._back = CLOCK_SET_BACK_S / time_base(stream)
        self._longest_group = LONGEST_GROUP_US / (time_base(stream) * 1_000_000)
        # Is it a keyframe, by timestamp; a stretch ends where the clock is set back.
        self.stretches: list[dict[int, bool]] = [{}]
        self.count = self.end_us = self.last_duration = 0
        self.last_is_broken = False
        self.others: Counter[int] = Counter()  # packets of other streams
        self._untimed = 0
        self._latest: int | None = None
        self._latest_dts: int | None = None
        self._keyframe: int | None = None
        self._keyframe_before: int | None = None
        self._group_start: int | None = None  # gaps do not count
        self._keyframes = self._with_palette = 0
        self._cannot_be_cut = False

    @property
    def frames(self) -> list[int | None]:
        """Timestamps in the order shown."""
        timed: list[int | None] = [pts for stretch in self.stretches for pts in sorted(stretch)]
        return timed or [None] * self._untimed

    @property
    def one_piece(self) -> bool:
        """Whether frames can be told apart, or decoded, only from the start."""
        return (
            self._cannot_be_cut
            or self._untimed > 0
            or len(self.stretches) > 1
            or 0 < self._with_palette < self._keyframes
        )

    def add(self, packet: Packet) -> None:
        """Take the next packet of the file, of whatever stream."""
        if packet.pts is not None and packet.time_base:
            end_us = int((packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000)
            self.end_us = max(self.end_us, end_us)
        if packet.stream_index != self._index:
            self.others[packet.stream_index] += 1
            return
        self.count += 1
        self.last_is_broken = packet.is_corrupt
        # What is sent once, seeking misses.
        self._with_palette += packet.has_sidedata("palette")
        self._cannot_be_cut |= self.count > 1 and packet.has_sidedata("new_extradata")
        if packet.dts is not None:
            if self._latest_dts is not None and self._latest_dts - packet.dts >= self._back:
                self.stretches.append({})
                self._latest = None
            self._latest_dts = packet.dts
        if packet.is_discard:
            return
        pts = packet.dts if packet.pts is None and self._in_decoding_order else packet.pts
        if pts is None:
            self._untimed += 1
            return
        self.stretches[-1][pts] = packet.is_keyframe
        # What seeking relies on: nothing after a keyframe is shown before the keyframe before it.
        self._cannot_be_cut |= self._keyframe_before is not None and pts <= self._keyframe_before
        step = 0 if self._latest is None else pts - self._latest
        if self._latest is None or step > 0:
            self._latest, self.last_duration = pts, packet.duration or 0
        if packet.is_keyframe:
            self._keyframe_before, self._keyframe = self._keyframe, pts
            self._group_start = pts
            self._keyframes += 1
        elif self._group_start is not None:
            if step > self._longest_group:
                self._group_start += step
            self._cannot_be_cut |= pts - self._group_start > self._longest_group


def _finds_again(
    path: str, container: InputContainer, stream: VideoStream, keyframes: dict[int, bool]
) -> bool:
    """Whether packets have the timestamps after seeking that they have in a row (MXF's do not)."""
    times = sorted(keyframes)
    if not times:
        return True
    longest_group = LONGEST_GROUP_US / (time_base(stream) * 1_000_000)
    for number in range(1, SEEKS_TRIED + 1):
        target = times[(len(times) - 1) * number // SEEKS_TRIED]
        found = seek(path, container, stream, target, set())
        if found is None:
            if target - times[0] > longest_group:
                return False
            continue  # a segment there reads from the start, which is near
        # Program streams misname the first packet after seeking, which no sample is taken from.
        for packet in islice(found[1], PACKETS_COMPARED):
            if packet.pts is None or packet.is_discard:
                continue
            if keyframes.get(packet.pts) != packet.is_keyframe:
                return False
    return True


def read_segment(
    path: str,
    start_us: int,
    end_us: int,
    zero_pts: int,
    size: tuple[int, int],
    fps: Fraction,
    decode: bool = True,
) -> Iterator[SampledFrame | LostSample | DecodingProgress | SegmentSummary]:
    """Samples the frames with start_us <= pts_us < end_us, in order; a SegmentSummary comes last.

    Args:
        path: a local file.
        start_us: microseconds after time zero.
        end_us: the same, or -1 for all that follows.
        zero_pts: timestamp of time zero in the stream's time base, from `probe`.
        size: width and height of the upright pictures, from `probe`.
        fps: samples a second; 0 takes every frame, and then the segment must start at 0.
        decode: False only lists the frames that there are, each as a lost sample.

    Raises:
        UnreadableVideoError: the file cannot be opened.
    """
    if fps == 0 and start_us > 0:
        raise ValueError("Every frame can only be numbered from the start: read the video in one piece.")
    problems: set[str] = set()
    if not decode:
        listed = _list_packets(path, is_in_decoding_order(path), problems, lambda _: None).frames
        with open_video(path) as (_, stream):
            clock = Clock(stream, zero_pts, problems)
        yield from _sample(((pts, None) for pts in listed), clock, start_us, end_us, size, fps)
        return
    for keyframes in KEYFRAMES_BACK if start_us > 0 else ():
        with open_video(path) as (container, stream):
            clock = Clock(stream, zero_pts, problems)
            first_pts = clock.first_at(start_us)
            events = events_from_before(path, container, stream, first_pts, keyframes, problems)
            if events is not None:
                yield from _sample(events, clock, start_us, end_us, size, fps)
                return
    in_decoding_order = is_in_decoding_order(path)
    with open_video(path) as (container, stream):
        clock = Clock(stream, zero_pts, problems)
        events = Decoding(
            path, packets(path, container, stream, problems), stream, in_decoding_order
        ).events()
        yield from _sample(events, clock, start_us, end_us, size, fps)


def _sample(
    events: Iterable[Event],
    clock: Clock,
    start_us: int,
    end_us: int,
    size: tuple[int, int],
    fps: Fraction,
) -> Iterator[SampledFrame | LostSample | DecodingProgress | SegmentSummary]:
    previous: int | None = None
    frames = number = minute = 0
    last_us = -1
    shortest: int | None = None
    longest = 0
    stored: tuple[int, int] | None = None
    sampling = Sampling(fps * clock.tick, clock.tolerance())
    for ticks, frame in clock.place(events):
        if ticks < 0:
            continue
        pts_us = clock.us(ticks)
        if pts_us // MINUTE_US > minute:
            minute = pts_us // MINUTE_US
            yield DecodingProgress(pts_us)
        if 0 <= end_us <= pts_us:
            break
        same_size = frame is None or stored in (None, (frame.width, frame.height))
        stored = stored if frame is None else (frame.width, frame.height)
        if pts_us >= start_us:
            if not same_size:
                clock.problems.add(SIZE_CHANGES)
            if previous is not None:
                step = pts_us - clock.us(previous)
                shortest = step if shortest is None else min(shortest, step)
                longest = max(longest, step)
            sample = number if fps == 0 else sampling.number(previous, ticks)
            if sample is not None and sample > LARGEST_SAMPLE:
                clock.problems.add(TOO_LONG)
                break
            number += 1
            last_us = pts_us
            frames += frame is not None
            if frame is None:
                clock.problems.add(NOT_DECODED)
            if sample is not None:
                if frame is None:
                    yield LostSample(sample, pts_us, FRAME_LOST)
                else:
                    yield SampledFrame(sample, pts_us, to_rgb(frame, size))
        previous = ticks
    yield SegmentSummary(frames, last_us, shortest or 0, longest, tuple(sorted(clock.problems)))
