"""From packets to frames in order of time, with every frame that was lost told of."""

import heapq
import math
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain, islice, pairwise
from typing import Final, NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from transforms.video.files import open_video, packets, time_base

# Pictures decoded this long after damage, and before a keyframe, are not trusted.
DOUBT_S: Final = 1
# From how many keyframes before a segment decoding may start, until a whole frame comes out before it: one
# more than needed, since what is shown near a keyframe may be built on the group of pictures before it.
KEYFRAMES_BACK: Final = (2, 4, 8, 16, 32)
# Packets that show whether timestamps are in the order of decoding.
PACKETS_LOOKED_AT: Final = 60
# A frame of the file in order of time: its timestamp, and the picture unless that was lost.
Event = tuple[int | None, VideoFrame | None]


class _Packet(NamedTuple):
    """What is remembered of a packet until its frame comes out."""

    pts: int
    number: int
    group: int  # of packets from one keyframe to the next
    leading: bool  # shown before its group's keyframe: may be built on the group before


class _Held(NamedTuple):
    """A frame that came out, or a packet that none came out of."""

    packet: _Packet | None  # None: it had no timestamp
    frame: VideoFrame | None
    is_lost: bool = False  # for sure, whatever else is damaged


class Decoding:
    """Decodes packets, and tells of each frame that is in the file but did not come out whole.

    A frame is lost when its packet does not decode or when the demuxer or the decoder flags it as
    corrupt. So is what is decoded after such a one, up to the next keyframe but for no more than
    DOUBT_S: decoders put old pictures in the place of what is missing and build on them without a
    word. A packet that yields no frame, with no damage near, is a hidden one (VP8 has them).
    """

    def __init__(
        self, path: str, packets: Iterator[Packet], stream: VideoStream, in_decoding_order: bool = False
    ) -> None:
        """Take what `open_video`, `packets` and `is_in_decoding_order` say of the file."""
        self._path = path
        self._packets = packets
        self._in_decoding_order = in_decoding_order
        self._entered = False  # has the decoder said of a frame that it owes nothing to earlier ones?
        self._context = stream.codec_context
        self._number = self._group = 0  # of the packet last decoded
        self._group_pts: int | None = None
        self._waiting: list[_Packet] = []  # a heap: those whose frames have not come out
        # Frames are held until all that was decoded before them has shown whether it is whole.
        self._held: deque[_Held] = deque()
        self._doubt = math.ceil(DOUBT_S / time_base(stream))
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
                        self._entered = False
                    self._group += 1
                    self._group_pts = packet.pts
                self._number += 1
                pts = packet.dts if packet.pts is None and self._in_decoding_order else packet.pts
                known = self._known(pts)
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
                        self._held.append(_Held(None, None))
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
        self._held.extend(_Held(heapq.heappop(self._waiting), None) for _ in range(len(self._waiting)))
        yield from self._release()

    def _settle(self, frames: list[VideoFrame]) -> Iterator[Event]:
        for frame in frames:
            pts = frame.pts
            if self._in_decoding_order and self._waiting:
                pts = self._waiting[0].pts  # frames come in the order shown, and this is the next time
            if pts in self._gone:  # damage may bring frames out of order
                continue
            packet = self._known(pts)
            while pts is not None and self._waiting and self._waiting[0].pts <= pts:
                earlier = heapq.heappop(self._waiting)
                if earlier.pts == pts:
                    packet = earlier
                else:
                    self._held.append(_Held(earlier, None))
            # In a stream that is refreshed bit by bit the first frames are not whole yet, which is no damage.
            is_partial = frame.is_corrupt and not self._entered and not frame.key_frame
            self._entered |= frame.key_frame or not frame.is_corrupt
            if frame.is_corrupt and not is_partial:
                self._damaged(packet)
            self._held.append(_Held(packet, None if is_partial else frame, is_partial))
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
        if not self._held:
            return
        oldest = min((packet.number for packet in self._waiting), default=math.inf)
        while self._held and (self._held[0].packet is None or self._held[0].packet.number < oldest):
            packet, frame, is_lost = self._held.popleft()
            if frame is not None:
                yield packet.pts if packet else None, None if self._doubtful(packet, True) else frame
            elif packet is None:
                yield None, None
            elif is_lost or self._doubtful(packet, False):
                self._gone.add(packet.pts)
                yield packet.pts, None


def seek(
    path: str, container: InputContainer, stream: VideoStream, pts: int, problems: set[str]
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
        following = packets(path, container, stream, problems)
        first = next((packet for packet in following if packet.is_keyframe), None)
        if first is not None and first.pts is not None and first.pts <= pts:
            return first, following
        start = stream.start_time or 0
        if pts - back <= start:
            return None
        back = min(2 * back + round(1 / time_base(stream)), pts - start)


def events_from_before(
    path: str, container: InputContainer, stream: VideoStream, pts: int, keyframes: int, problems: set[str]
) -> Iterator[Event] | None:
    """Events that provably begin before `pts`, or None when none are found.

    keyframes: from which keyframe before `pts` on to decode; 1 is the nearest.
    """
    found: tuple[Packet, Iterator[Packet]] | None = None
    target = pts
    for _ in range(keyframes):
        further = seek(path, container, stream, target, problems)
        if further is None:
            return None
        assert further[0].pts is not None
        found, target = further, further[0].pts - 1
    assert found is not None
    first, packets = found
    events = Decoding(path, chain([first], packets), stream).events()
    head: list[Event] = []
    for event in events:
        head.append(event)
        if event[1] is not None:
            break
    if not head or head[-1][0] is None or head[-1][0] >= pts:
        return None
    return chain(head, events)


def is_in_decoding_order(path: str) -> bool:
    """Whether timestamps tell when frames are decoded and not when they are shown (AVI has no others).

    Raises UnreadableVideoError.
    """
    with open_video(path) as (container, stream):
        if not stream.codec_context.has_b_frames:
            return False
        first = list(islice(packets(path, container, stream, set()), PACKETS_LOOKED_AT))
        times = [packet.pts for packet in first if packet.pts is not None]
        if not times:
            return all(packet.dts is not None for packet in first)
        if len(times) < len(first) or any(later < earlier for earlier, later in pairwise(times)):
            return False
        shown = []
        for packet in first:
            with suppress(av.FFmpegError, OSError):
                shown += [frame.pts for frame in stream.codec_context.decode(packet) if frame.pts is not None]
        return any(later < earlier for earlier, later in pairwise(shown))
