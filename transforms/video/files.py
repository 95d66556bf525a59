"""Opening a file as a video, and its packets in the order they are stored."""

import errno
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from fractions import Fraction
from typing import Final

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from schemas.errors import UnavailableError, UnreadableVideoError

# Larger pictures are refused: one frame of this size is 200 MB as RGB. 8K is half of it.
MAX_PIXELS: Final = 2**26
# Consecutive read errors without a packet between them after which the file is given up.
MAX_READ_ERRORS: Final = 100
READ_ERRORS: Final = "Parts of the file could not be read."
# Bytes looked at, where FFmpeg gives up and at the file's end, to tell a failing disk from a damaged file.
_LOOKED_AT: Final = 2**27
# Bytes and microseconds to look at for streams that begin late.
_LOOK_FURTHER: Final = {"probesize": str(2**28), "analyzeduration": str(10**13)}
# What the system refuses, whatever the file holds. Others of its errors FFmpeg uses for its own opinions.
_WORLDS_FAULTS: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ESTALE, errno.ETIMEDOUT))
# Demuxers that open the files and addresses that a file names, before anybody can look: they are not there.
_READ_OTHER_FILES: Final = frozenset(("concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub"))
_DEMUXERS: Final = ",".join(sorted(av.formats_available - _READ_OTHER_FILES))
_NAMES_OTHERS: Final = "it names other files, as a playlist does, or is damaged"
# Demuxers that make pictures out of text.
_NOT_VIDEO_FORMATS: Final = frozenset(("adf", "bin", "ffmetadata", "idf", "lrc", "tty", "xbin"))


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and the stream to read. Raises UnreadableVideoError, of which UnavailableError is one."""
    try:
        with open(path, "rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise _unavailable(error) from error
    if empty:
        raise UnreadableVideoError("The file is empty.")
    try:
        container = _open(path)
        if not _moving_pictures(container):  # they may begin late in a file that has no header
            container.close()
            container = _open(path, **_LOOK_FURTHER)
    except (av.FFmpegError, OSError) as error:
        if getattr(error, "errno", None) in _WORLDS_FAULTS:
            raise _unavailable(error) from error
        _require_bytes(path)
        why = _NAMES_OTHERS if isinstance(error, av.ArgumentError) else plain_words(error)
        raise UnreadableVideoError(f"The file cannot be opened as a video: {why}.") from error
    with container:
        if not _moving_pictures(container):
            _require_bytes(path)
        names = set(container.format.name.split(","))
        if names & _NOT_VIDEO_FORMATS:
            raise UnreadableVideoError(f"The file is not a video but {container.format.long_name}.")
        if "webp_pipe" in names and _is_animated_webp(path):
            raise UnreadableVideoError(
                "The file is an animated WebP, which cannot be read; convert it to MP4."
            )
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


def _open(path: str, **options: str) -> InputContainer:
    # "file:" and the whitelists: neither a name nor a playlist may reach for anything else.
    allowed = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
    return av.open(f"file:{path}", options=allowed | options, metadata_errors="replace")


def plain_words(error: Exception) -> str:
    """FFmpeg's words without errno, path and log."""
    return getattr(error, "strerror", None) or str(error)


def _unavailable(error: Exception) -> UnavailableError:
    return UnavailableError(f"The file cannot be read now: {plain_words(error)}.")


def _require_bytes(path: str, start: int = 0) -> None:
    """UnavailableError when the system cannot read the bytes of a file from `start` on, or its last ones.

    FFmpeg says much the same of a disk that fails and of a file that makes no sense.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            for at in (start, max(start, end - _LOOKED_AT)):
                file.seek(at)
                while file.tell() < at + _LOOKED_AT and file.read(2**20):
                    pass
    except OSError as error:
        raise _unavailable(error) from error


def _is_animated_webp(path: str) -> bool:
    with open(path, "rb") as file:
        header = file.read(21)
    return header[12:16] == b"VP8X" and bool(header[20] & 2)


def _moving_pictures(container: InputContainer) -> list[VideoStream]:
    aside = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.dependent
    return [stream for stream in container.streams.video if not stream.disposition & aside]


def _best_stream(container: InputContainer) -> VideoStream:
    videos = _moving_pictures(container)
    if not videos:
        kinds = {"a cover picture" if s.type == "video" else s.type or "unknown" for s in container.streams}
        holds = " and ".join(sorted(kinds, reverse=True)) or "nothing"
        raise UnreadableVideoError(f"The file holds no moving picture, only {holds}.")
    decodable = [stream for stream in videos if _can_decode(stream)]
    if not decodable:
        raise UnreadableVideoError("No decoder for this kind of video is installed.")
    timed = [stream for stream in decodable if stream.time_base]
    if not timed:
        raise UnreadableVideoError("The video stream has no time base.")
    best = container.streams.best("video")
    return best if best in timed else max(timed, key=lambda stream: stream.width * stream.height)


def _can_decode(stream: VideoStream) -> bool:
    try:
        return bool(stream.codec_context.codec)
    except (av.FFmpegError, ValueError, AttributeError):
        return False


def holds_others(path: str, container: InputContainer, others: Mapping[int, int], begins_late: bool) -> bool:
    """Whether there are moving pictures beside the one that is read.

    Args:
        path: of the file.
        container: the same, open.
        others: packets by stream, without the one that is read.
        begins_late: whether there are streams that `container` does not know.
    """
    known = _moving_pictures(container)
    # One packet is a still picture, none an empty track.
    if any(others.get(stream.index, 0) > 1 for stream in known):
        return True
    if begins_late:
        # Without what it reads ahead the file may be looked through in flat memory.
        with suppress(av.FFmpegError, OSError), _open(path, **_LOOK_FURTHER, fflags="nobuffer") as whole:
            return len(_moving_pictures(whole)) > len(known)
    return False


class LateStreamError(Exception):
    """All packets came, and some were of a stream that was not there when the file was opened."""


def packets(
    path: str, container: InputContainer, stream: VideoStream, problems: set[str]
) -> Iterator[Packet]:
    """Packets of one stream to the end of the file, past what cannot be read; see `demux`."""
    with suppress(LateStreamError):
        yield from demux(path, container, [stream], problems)


def demux(
    path: str, container: InputContainer, streams: list[VideoStream], problems: set[str]
) -> Iterator[Packet]:
    """Packets of these streams, or of all; LateStreamError may be raised after the last.

    Raises UnavailableError where it is the system that cannot read the file.
    """
    errors = reached = 0
    while errors < MAX_READ_ERRORS:
        try:
            for packet in container.demux(*streams):
                if packet.size:
                    errors, reached = 0, packet.pos or reached
                    yield packet
            return
        except IndexError as error:  # how PyAV ends when a stream has no place in its list
            raise LateStreamError from error
        except (av.FFmpegError, OSError):
            errors += 1
            if READ_ERRORS not in problems or errors == MAX_READ_ERRORS:
                _require_bytes(path, reached)
            problems.add(READ_ERRORS)


def time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base
