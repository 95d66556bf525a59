"""Reading a video exactly: which frames are sampled, when they were shown, which were lost.

The rules are in docs/time.md. This file also runs as a program, in a process of its own (see
transforms/decoder.py), so it imports nothing but PyAV and numpy: a child starts in 0.2 s.
"""

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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import chain, pairwise
from typing import BinaryIO, Final

import av
import numpy as np
import numpy.typing as npt
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
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


def _decode(packets: Iterator[Packet], stream: VideoStream) -> Iterator[Event]:
    """Decodes packets, and tells of each frame that is in the file but did not come out whole.

    A frame is lost when its packet does not decode, when the demuxer or the decoder flags it as
    corrupt, or when it is dropped silently after such damage. A packet that yields no frame with
    no damage before it is a hidden one (VP8 has them) and no loss.
    """
    waiting: list[tuple[int, bool]] = []  # (pts, suspicious) of packets whose frame has not come out
    corrupt: set[int] = set()
    damaged = False

    def settle(frames: list[VideoFrame]) -> Iterator[Event]:
        nonlocal damaged
        for frame in frames:
            pts = frame.pts
            if pts is not None:
                while waiting and waiting[0][0] <= pts:
                    earlier, suspicious = heapq.heappop(waiting)
                    if earlier < pts and suspicious:
                        yield earlier, None
            if frame.is_corrupt or pts in corrupt:
                damaged = True
                yield pts, None
            else:
                yield pts, frame

    for packet in packets:
        failed = False
        try:
            frames = stream.codec_context.decode(packet)
        except (av.FFmpegError, OSError):
            frames, failed = [], True
        damaged = failed or packet.is_corrupt or (damaged and not packet.is_keyframe)
        if packet.pts is not None and not packet.is_discard:
            heapq.heappush(waiting, (packet.pts, damaged))
            if packet.is_corrupt:
                corrupt.add(packet.pts)
        elif failed and not packet.is_discard:
            yield None, None
        yield from settle(frames)
    try:
        frames = stream.codec_context.decode(None)
    except (av.FFmpegError, OSError):
        frames = []
    yield from settle(frames)
    while waiting:
        pts, suspicious = heapq.heappop(waiting)
        if suspicious:
            yield pts, None


def _from_before(
    container: InputContainer, stream: VideoStream, pts: int, problems: set[str]
) -> Iterator[Event] | None:
    """Events that provably begin before `pts`, or None when seeking does not lead there.

    Decoding starts one keyframe earlier than needed: frames shown just before a keyframe may be
    built on the group of pictures before it.
    """
    target = pts
    packets: Iterator[Packet] = iter(())
    first: Packet | None = None
    for _ in range(2):
        try:
            container.seek(target, stream=stream)
        except (av.FFmpegError, OSError):
            return None
        packets = _packets(container, stream, problems)
        first = next(packets, None)
        if first is None or not first.is_keyframe or first.pts is None or first.pts > target:
            return None
        target = first.pts - 1
    stream.codec_context.flush_buffers()
    events = _decode(chain(filter(None, [first]), packets), stream)
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
        return (2 * ticks * self.tick.numerator * 1_000_000 + self.tick.denominator) // (
            2 * self.tick.denominator
        )


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
    return upright(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), display_matrix(frame))


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d): a step right in the stored picture goes (a, b) on screen, one down (c, d).

    Raises:
        UnreadableVideoError: the picture is to be turned by something else than quarter turns.
    """
    matrix = next((data for data in frame.side_data if data.type is SideData.DISPLAYMATRIX), None)
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
        events = _decode(_packets(container, stream, problems), stream)
        for pts, first in events:  # noqa: B007
            if first is not None:
                break
            problems.add(BAD_START)
        else:
            raise UnreadableVideoError("No frame of the video decodes.")
        clock = _Clock(stream, pts or 0, problems)
        image = to_rgb(first)
        codec = stream.codec_context.codec.canonical_name
    times = [clock.us(pts - clock.zero) for pts in listing.pts if pts >= clock.zero]
    steps = [later - earlier for earlier, later in pairwise(times)]
    if listing.untimed:
        duration_us = clock.us(listing.untimed * clock.frame)
    else:
        duration_us = times[-1] + clock.us(listing.last_duration or clock.frame)
    return Probe(
        zero_pts=clock.zero,
        width=image.shape[1],
        height=image.shape[0],
        rotation=rotation(display_matrix(first)),
        codec=codec,
        duration_us=duration_us,
        frames=len(times) or listing.untimed,
        min_step_us=min(steps, default=0),
        max_step_us=max(steps, default=0),
        one_piece=listing.one_piece,
        problems=tuple(sorted(problems)),
    )


@dataclass(frozen=True)
class _Listing:
    """The packets of a stream, not decoded."""

    pts: list[int]  # sorted, no two alike
    untimed: int  # how many have no timestamp
    last_duration: int
    one_piece: bool


def _list_packets(path: str, problems: set[str]) -> _Listing:
    """Reads through a file without decoding. Raises UnreadableVideoError."""
    with open_video(path) as (container, stream):
        tick = _time_base(stream)
        shown: set[int] = set()
        untimed = end = packets = 0
        latest = keyframe = before = None
        last_duration = 0
        jumps = False
        for packet in _packets(container, None, problems):
            if packet.pts is not None and packet.time_base is not None:
                end_us = int((packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000)
                end = max(end, end_us)
            if packet.stream_index != stream.index:
                continue
            packets += 1
            if packet.is_corrupt:
                problems.add(CUT_SHORT)
            if packet.is_discard:
                continue
            pts = packet.pts
            if pts is None:
                untimed += 1
                continue
            shown.add(pts)
            # What seeking relies on: nothing after a keyframe is shown before the keyframe before it.
            jumps |= before is not None and pts <= before
            jumps |= latest is not None and (latest - pts) * tick >= CLOCK_SET_BACK_S
            if latest is None or pts > latest:
                latest, last_duration = pts, packet.duration or 0
            if packet.is_keyframe:
                keyframe, before = pts, keyframe
        name = container.format.name
        if packets <= 1 and (name.endswith("_pipe") or name in _PICTURE_FORMATS):
            raise UnreadableVideoError("The file is a still picture, not a video.")
        claimed = (container.duration or 0) + (container.start_time or 0)
        if not untimed and not jumps and claimed - end > max(2_000_000, claimed // 10):
            problems.add(CUT_SHORT)
    return _Listing(sorted(shown), untimed, last_duration, bool(untimed) or jumps)


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
        listed: list[Event] = [(pts, None) for pts in _list_packets(path, problems).pts]
        with open_video(path) as (_, stream):
            clock = _Clock(stream, zero_pts, problems)
        yield from _sample(iter(listed), clock, start_us, end_us, fps)
        return
    if start_us > 0:
        with open_video(path) as (container, stream):
            clock = _Clock(stream, zero_pts, problems)
            events = _from_before(container, stream, clock.first_at(start_us), problems)
            if events is not None:
                yield from _sample(events, clock, start_us, end_us, fps)
                return
    with open_video(path) as (container, stream):
        clock = _Clock(stream, zero_pts, problems)
        events = _decode(_packets(container, stream, problems), stream)
        yield from _sample(events, clock, start_us, end_us, fps)


def _sample(
    events: Iterator[Event], clock: _Clock, start_us: int, end_us: int, fps: Fraction
) -> Iterator[SampledFrame | LostSample | Progress | Summary]:
    previous: int | None = None
    frames = number = minute = 0
    last_us = -1
    shortest: int | None = None
    longest = 0
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
        if pts_us >= start_us:
            if previous is not None:
                step = pts_us - clock.us(previous)
                shortest = step if shortest is None else min(shortest, step)
                longest = max(longest, step)
            sample = number if fps == 0 else sample_number(previous, ticks, fps * clock.tick)
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
