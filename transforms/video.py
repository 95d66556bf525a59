"""Reading a video exactly: which frames are sampled, when they were shown, which were lost.

The rules are in docs/time.md. This file also runs as a program, in a process of its own (see
transforms/decoder.py), so it imports nothing but PyAV and numpy: a child starts in 0.2 s.
"""

import gc
import heapq
import json
import math
import os
import queue
import resource
import signal
import struct
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, islice, pairwise
from typing import BinaryIO, Final, NamedTuple, cast

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

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
# Larger pictures are refused: one frame of this size is 200 MB as RGB. 8K is half of it.
MAX_PIXELS: Final = 2**26
# A timestamp this much or more before its predecessor means that the clock was set back.
CLOCK_SET_BACK_S: Final = 1
# Pictures decoded this long after damage, and before a keyframe, are not trusted.
DOUBT_S: Final = 1
# How much of a file's seeking is put to the test before it is cut into segments.
SEEKS_TRIED: Final = 8
PACKETS_COMPARED: Final = 30
MINUTE_US: Final = 60_000_000
# Address space of a decoding process; an 8K stream needs 1 to 2 GB of it.
MEMORY_LIMIT: Final = 8 * 2**30
# Consecutive read errors without a packet between them after which the file is given up.
MAX_READ_ERRORS: Final = 100

NOT_DECODED: Final = "Some frames did not decode."
CUT_SHORT: Final = "The file ends before the video does: it is cut short or still being written."
READ_ERRORS: Final = "Parts of the file could not be read."
NO_TIMESTAMPS: Final = "Frames without a timestamp were placed one frame after the one before."
CLOCK_JUMPS: Final = "The timestamps jump back; the clock was carried on from the frame before."
LATE_FRAMES: Final = "Frames that are not later than the one before were passed over."
SIZE_CHANGES: Final = "The picture changes its size; boxes are in pixels of the frame they were found in."
BAD_START: Final = "The video begins with frames that do not decode; time starts at the first one that does."

FRAME_LOST: Final = "The frame did not decode."

# Demuxers that read other files, make pictures out of text, or show a still picture.
_NOT_VIDEO_FORMATS: Final = frozenset(
    (
        "adf",
        "bin",
        "concat",
        "dash",
        "ffmetadata",
        "hls",
        "idf",
        "lrc",
        "rtsp",
        "sdp",
        "tty",
        "vobsub",
        "xbin",
    )
)

_PICTURE_FORMATS: Final = ("image2", "webp")

RgbImage = npt.NDArray[np.uint8]


class UnreadableVideoError(ValueError):
    """No frame of the file can be used; the reason is a sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


@dataclass(frozen=True)
class Probe:
    """What a file is, from listing all its packets and decoding the first frame."""

    zero_pts: int  # of the first frame that decodes, in the stream's time base
    width: int  # upright pixels
    height: int
    rotation: int  # clockwise degrees applied to make the picture upright
    codec: str
    duration_us: int  # from time zero to the end of the last frame listed in the file
    frames: int  # frames listed in the file from time zero on; some may turn out not to decode
    min_step_us: int  # shortest and longest time from one frame to the next; 0 when unknown
    max_step_us: int
    one_piece: bool  # timestamps jump back or are missing: only reading from the start gives them
    problems: tuple[str, ...]  # one sentence each


@dataclass(frozen=True)
class SampledFrame:
    """A sampled frame: upright uint8 RGB, [height, width, 3]."""

    sample: int
    pts_us: int
    image: RgbImage


@dataclass(frozen=True)
class LostSample:
    """A sample whose frame is in the file but did not decode."""

    sample: int
    pts_us: int
    reason: str


@dataclass(frozen=True)
class Summary:
    """What reading one segment amounted to. The sentences do not depend on the cut."""

    frames_read: int
    last_pts_us: int  # of the last frame in the segment, decoded or lost; -1 when it has none
    min_step_us: int  # between frames, the step into the segment included; 0 when unknown
    max_step_us: int
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Progress:
    """Decoding got to this time; sent at least once per minute of video."""

    pts_us: int


# --------------------------------------------------------------------------------------- files


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and the stream to read. Raises UnreadableVideoError."""
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableVideoError("The file is empty.")
        # "file:" and the whitelist: neither a name nor a playlist may reach for anything else.
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideoError(f"The file cannot be opened as a video: {_plain(error)}.") from error
    with container:
        names = set(container.format.name.split(","))
        if names & _NOT_VIDEO_FORMATS:
            raise UnreadableVideoError(f"The file is not a video but {container.format.long_name}.")
        stream = _best_stream(container)
        context = stream.codec_context
        if context.width * context.height > MAX_PIXELS:
            raise UnreadableVideoError(
                f"The picture claims {context.width} x {context.height} pixels; the limit is {MAX_PIXELS}."
            )
        # Threads shift errors to other frames; frames that cannot be right come out, but flagged.
        context.thread_count = 1
        context.flags |= Flags.output_corrupt
        context.options = {"max_pixels": str(MAX_PIXELS)}
        yield container, stream


def _plain(error: Exception) -> str:
    """FFmpeg's words without errno, path and log."""
    return getattr(error, "strerror", None) or str(error)


def _best_stream(container: InputContainer) -> VideoStream:
    aside = Disposition.attached_pic | Disposition.timed_thumbnails
    videos = [stream for stream in container.streams.video if not stream.disposition & aside]
    if not videos:
        kinds = sorted({stream.type or "unknown" for stream in container.streams})
        holds = " and ".join(kinds) if kinds else "nothing"
        raise UnreadableVideoError(f"The file holds no moving picture, only {holds}.")
    best = container.streams.best("video")
    stream = best if best in videos else max(videos, key=lambda s: s.width * s.height)
    if stream.time_base is None:
        raise UnreadableVideoError("The video stream has no time base.")
    try:
        stream.codec_context.codec  # noqa: B018
    except (av.FFmpegError, ValueError, AttributeError) as error:
        raise UnreadableVideoError("No decoder for this kind of video is installed.") from error
    return stream


def _packets(container: InputContainer, stream: VideoStream | None, problems: set[str]) -> Iterator[Packet]:
    """Packets of one stream, or of all, to the end of the file and past what cannot be read."""
    errors = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(*filter(None, [stream])):
                if packet.size:
                    errors = 0
                    yield packet
            return
        except (av.FFmpegError, OSError):
            errors += 1
            problems.add(READ_ERRORS)


# --------------------------------------------------------------------------------------- frames

# A frame of the file in order of time: its timestamp, and the picture unless that was lost.
Event = tuple[int | None, VideoFrame | None]


class _Packet(NamedTuple):
    """What is remembered of a packet until its frame comes out."""

    pts: int
    number: int
    group: int  # of packets from one keyframe to the next
    leading: bool  # shown before its group's keyframe: may be built on the group before


class _Decoding:
    """Decodes packets, and tells of each frame that is in the file but did not come out whole.

    A frame is lost when its packet does not decode or when the demuxer or the decoder flags it as
    corrupt. So is what is decoded after such a one, up to the next keyframe but for no more than
    DOUBT_S: decoders put old pictures in the place of what is missing and build on them without a
    word. A packet that yields no frame, with no damage near, is a hidden one (VP8 has them).
    """

    def __init__(self, path: str, packets: Iterator[Packet], stream: VideoStream) -> None:
        self._path = path
        self._packets = packets
        self._context = stream.codec_context
        self._number = self._group = 0  # of the packet last decoded
        self._group_pts: int | None = None
        self._waiting: list[_Packet] = []  # a heap: those whose frames have not come out
        # Frames are held until all that was decoded before them has shown whether it is whole.
        self._held: deque[tuple[_Packet | None, VideoFrame | None]] = deque()
        self._doubt = math.ceil(DOUBT_S / _time_base(stream))
        # (group, leading) to the damage there: number of the first packet, pts at which doubt ends.
        self._damage: dict[tuple[int, bool], tuple[int, float]] = {}
        self._gone: set[int] = set()  # pts of frames already told to be lost

    def events(self) -> Iterator[Event]:
        """The frames in order of time."""
        with ExitStack() as reopened:
            for packet in self._packets:
                if packet.is_keyframe:
                    if (self._group, False) in self._damage:
                        yield from self._drain()
                        # Damage may leave old pictures behind, and headers made of noise.
                        reopened.close()
                        _, stream = reopened.enter_context(open_video(self._path))
                        self._context = stream.codec_context
                    self._group += 1
                    self._group_pts = packet.pts
                self._number += 1
                known = self._known(packet.pts)
                if known is not None and not packet.is_discard:
                    heapq.heappush(self._waiting, known)
                if packet.is_corrupt:
                    self._damaged(known)
                try:
                    frames = self._context.decode(packet)
                except (av.FFmpegError, OSError):
                    frames = []
                    self._damaged(known)
                    if known is None and not packet.is_discard:
                        self._held.append((None, None))
                yield from self._settle(frames)
            yield from self._drain()

    def _known(self, pts: int | None) -> _Packet | None:
        if pts is None:
            return None
        leading = self._group_pts is not None and pts < self._group_pts
        return _Packet(pts, self._number, self._group, leading)

    def _drain(self) -> Iterator[Event]:
        """What the decoder still holds back."""
        try:
            frames = self._context.decode(None)
        except (av.FFmpegError, OSError):
            frames = []
            for packet in self._waiting:
                self._damaged(packet)
        yield from self._settle(frames)
        self._held.extend((heapq.heappop(self._waiting), None) for _ in range(len(self._waiting)))
        yield from self._release()

    def _settle(self, frames: list[VideoFrame]) -> Iterator[Event]:
        for frame in frames:
            if frame.pts in self._gone:  # damage may bring frames out of order
                continue
            packet = self._known(frame.pts)
            while frame.pts is not None and self._waiting and self._waiting[0].pts <= frame.pts:
                earlier = heapq.heappop(self._waiting)
                if earlier.pts == frame.pts:
                    packet = earlier
                else:
                    self._held.append((earlier, None))
            if frame.is_corrupt:
                self._damaged(packet)
            self._held.append((packet, frame))
        yield from self._release()

    def _damaged(self, packet: _Packet | None) -> None:
        if packet is None:
            self._damage.setdefault((self._group, False), (self._number, math.inf))
            return
        place = packet.group, packet.leading
        number, end = self._damage.get(place, (packet.number, packet.pts))
        if packet.pts > end:
            number = packet.number
        self._damage[place] = min(number, packet.number), max(end, packet.pts + self._doubt)

    def _doubtful(self, packet: _Packet | None, has_frame: bool) -> bool:
        """Whether damage may show in a packet's frame, or may be why it has none."""
        if packet is None:
            return (self._group, False) in self._damage
        if packet.leading and (packet.group - 1, False) in self._damage:
            return True
        for leading in {False, packet.leading}:
            number, end = self._damage.get((packet.group, leading), (0, -math.inf))
            if packet.pts < end and (number <= packet.number or not has_frame):
                return True
        return False

    def _release(self) -> Iterator[Event]:
        oldest = min((packet.number for packet in self._waiting), default=math.inf)
        while self._held and (self._held[0][0] is None or self._held[0][0].number < oldest):
            packet, frame = self._held.popleft()
            if frame is not None:
                yield frame.pts, None if self._doubtful(packet, True) else frame
            elif packet is None:
                yield None, None
            elif self._doubtful(packet, False):
                self._gone.add(packet.pts)
                yield packet.pts, None


def _seek(
    container: InputContainer, stream: VideoStream, pts: int, problems: set[str]
) -> tuple[Packet, Iterator[Packet]] | None:
    """A keyframe packet at or before `pts` and the packets after it; None when none is found.

    Transport streams are sought by position and may land between keyframes: then from further back.
    """
    back = 0
    while True:
        try:
            container.seek(pts - back, stream=stream)
        except (av.FFmpegError, OSError):
            return None
        packets = _packets(container, stream, problems)
        first = next((packet for packet in packets if packet.is_keyframe), None)
        if first is None or first.pts is None:
            return None
        if first.pts <= pts:
            return first, packets
        start = stream.start_time or 0
        if pts - back <= start:
            return None
        back = min(2 * back + round(1 / _time_base(stream)), pts - start)


def _from_before(
    path: str, container: InputContainer, stream: VideoStream, pts: int, problems: set[str]
) -> Iterator[Event] | None:
    """Events that provably begin before `pts`, or None when seeking does not lead there.

    Decoding starts one keyframe earlier than needed: what is shown near a keyframe may be built on
    the group of pictures before it.
    """
    found: tuple[Packet, Iterator[Packet]] | None = None
    target = pts
    for _ in range(2):
        found = _seek(container, stream, target, problems)
        if found is None:
            return None
        assert found[0].pts is not None
        target = found[0].pts - 1
    assert found is not None
    first, packets = found
    events = _Decoding(path, chain([first], packets), stream).events()
    head: list[Event] = []
    for event in events:
        head.append(event)
        if event[1] is not None:
            break
    if not head or head[-1][0] is None or head[-1][0] >= pts:
        return None
    return chain(head, events)


# --------------------------------------------------------------------------------------- time


class _Clock:
    """Turns raw timestamps into ticks since time zero that only go forward."""

    def __init__(self, stream: VideoStream, zero_pts: int, problems: set[str]) -> None:
        self.tick = _time_base(stream)
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


def _time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base


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


# --------------------------------------------------------------------------------------- picture


def to_rgb(frame: VideoFrame) -> RgbImage:
    """The upright picture, uint8 RGB [height, width, 3]. Raises UnreadableVideoError."""
    try:
        # One thread: waking others for a picture costs more than they bring.
        stored = frame.to_ndarray(format="rgb24", threads=1)
    except (av.FFmpegError, ValueError) as error:
        raise UnreadableVideoError(f"Pixels of the kind {frame.format.name} cannot be converted.") from error
    return upright(np.asarray(stored, np.uint8), display_matrix(frame))


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d): a step right in the stored picture goes (a, b) on screen, one down (c, d).

    Raises:
        UnreadableVideoError: the picture is to be turned by something else than quarter turns.
    """
    # PyAV's stub calls the container of side data a dict of motion vectors.
    found = cast(SideDataContainer, frame.side_data)
    matrix = next((data for data in found if data.type is SideData.DISPLAYMATRIX), None)
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=9i", bytes(matrix))[:5]
    small = max(map(abs, (a, b, c, d))) / 100
    a, b, c, d = ((value > small) - (value < -small) for value in (a, b, c, d))
    if (a * d != 0) == (b * c != 0):
        raise UnreadableVideoError("The picture is to be shown at an angle that is no quarter turn.")
    return a, b, c, d


def upright(image: RgbImage, matrix: tuple[int, int, int, int]) -> RgbImage:
    """Turns and mirrors a stored picture as its display matrix says."""
    a, b, c, d = matrix
    if a == 0:
        image, right, down = image.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(image[::down, ::right])


def rotation(matrix: tuple[int, int, int, int]) -> int:
    """Clockwise degrees; a mirrored picture is first turned, then mirrored left to right."""
    a, b, c, d = matrix
    if a * d - b * c < 0:
        a, c = -a, -c
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]


# --------------------------------------------------------------------------------------- reading


def probe(path: str) -> Probe:
    """Lists the packets of a file and decodes up to the first whole frame.

    Raises:
        UnreadableVideoError: with a sentence that says why nothing can be read.
    """
    problems: set[str] = set()
    listing = _list_packets(path, problems)
    with open_video(path) as (container, stream):
        events = _Decoding(path, _packets(container, stream, problems), stream).events()
        for pts, first in events:  # noqa: B007
            if first is not None:
                break
            problems.add(BAD_START)
        else:
            raise UnreadableVideoError("No frame of the video decodes.")
        clock = _Clock(stream, pts or 0, problems)
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
        tick = _time_base(stream)
        # Is it a keyframe, by timestamp; a stretch ends where the clock is set back.
        stretches: list[dict[int, bool]] = [{}]
        untimed = end = packets = 0
        latest = latest_dts = keyframe = before = None
        last_duration = 0
        one_piece = last_is_broken = False
        for packet in _packets(container, None, problems):
            if packet.pts is not None and packet.time_base is not None:
                end_us = int((packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000)
                end = max(end, end_us)
            if packet.stream_index != stream.index:
                continue
            packets += 1
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
        if packets <= 1 and (name.endswith("_pipe") or name in _PICTURE_FORMATS):
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
        found = _seek(container, stream, target, set())
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
) -> Iterator[SampledFrame | LostSample | Progress | Summary]:
    """Samples the frames with start_us <= pts_us < end_us, in order; a Summary comes last.

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
            clock = _Clock(stream, zero_pts, problems)
        yield from _sample(iter(listed), clock, start_us, end_us, fps)
        return
    if start_us > 0:
        with open_video(path) as (container, stream):
            clock = _Clock(stream, zero_pts, problems)
            events = _from_before(path, container, stream, clock.first_at(start_us), problems)
            if events is not None:
                yield from _sample(events, clock, start_us, end_us, fps)
                return
    with open_video(path) as (container, stream):
        clock = _Clock(stream, zero_pts, problems)
        events = _Decoding(path, _packets(container, stream, problems), stream).events()
        yield from _sample(events, clock, start_us, end_us, fps)


def _sample(
    events: Iterator[Event], clock: _Clock, start_us: int, end_us: int, fps: Fraction
) -> Iterator[SampledFrame | LostSample | Progress | Summary]:
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
            yield Progress(pts_us)
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
    yield Summary(frames, last_us, shortest or 0, longest, tuple(sorted(clock.problems)))


# --------------------------------------------------------------------------------------- program

# A message: length of a JSON object, the object, and for a frame its pixels.
HEADER: Final = struct.Struct("=I")


def serve() -> None:
    """Answers requests, one JSON object a line on stdin, with messages on stdout, until stdin ends."""
    gc.freeze()  # what is loaded by now stays, and needs no look at each collection
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    if "--log" in sys.argv:
        av.logging.set_level(av.logging.WARNING)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    # Nothing but messages may reach the pipe.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the parent is gone or done, whatever the decoder is at

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            if request.pop("op") == "probe":
                _send(out, probe(**request))
            else:
                fps = Fraction(request.pop("fps"))
                for item in read_segment(fps=fps, **request):
                    _send(out, item)
                    # PyAV ties a frame and its side data into a cycle; left alone, frames pile up.
                    gc.collect()
        except UnreadableVideoError as error:
            _send(out, error)
        except MemoryError:
            _send(out, UnreadableVideoError("Decoding it takes too much memory."))


def _send(out: BinaryIO, item: object) -> None:
    pixels: RgbImage | None = None
    if isinstance(item, SampledFrame):
        pixels = item.image
        fields = {"sample": item.sample, "pts_us": item.pts_us, "shape": pixels.shape}
    elif isinstance(item, UnreadableVideoError):
        fields = {"reason": str(item)}
    else:
        fields = asdict(item)  # type: ignore[call-overload]
    text = json.dumps({"kind": type(item).__name__, **fields}).encode()
    _write(out, HEADER.pack(len(text)) + text)
    if pixels is not None:
        _write(out, pixels.data.cast("B"))


def _write(out: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


if __name__ == "__main__":
    serve()
