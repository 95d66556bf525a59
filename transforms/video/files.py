"""Opening a file as a video, and its packets in the order they are stored."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import Final

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream

from schemas.errors import UnreadableVideoError

# Larger pictures are refused: one frame of this size is 200 MB as RGB. 8K is half of it.
MAX_PIXELS: Final = 2**26
# Consecutive read errors without a packet between them after which the file is given up.
MAX_READ_ERRORS: Final = 100
READ_ERRORS: Final = "Parts of the file could not be read."
# Demuxers that open the files and addresses that a file names, before anybody can look: they are not there.
_READ_OTHER_FILES: Final = frozenset(("concat", "dash", "hls", "imf", "rtp", "rtsp", "sap", "sdp", "vobsub"))
_DEMUXERS: Final = ",".join(sorted(av.formats_available - _READ_OTHER_FILES))
# Demuxers that make pictures out of text.
_NOT_VIDEO_FORMATS: Final = frozenset(("adf", "bin", "ffmetadata", "idf", "lrc", "tty", "xbin"))


@contextmanager
def open_video(path: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and the stream to read. Raises UnreadableVideoError."""
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableVideoError("The file is empty.")
        # "file:" and the whitelists: neither a name nor a playlist may reach for anything else.
        allowed = {"protocol_whitelist": "file", "format_whitelist": _DEMUXERS}
        container = av.open(f"file:{path}", options=allowed, metadata_errors="replace")
    except av.ArgumentError as error:
        raise UnreadableVideoError(
            "The file cannot be opened as a video: it names other files, as a playlist does, or is damaged."
        ) from error
    except (av.FFmpegError, OSError) as error:
        raise UnreadableVideoError(f"The file cannot be opened as a video: {plain_words(error)}.") from error
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


def plain_words(error: Exception) -> str:
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


def packets(container: InputContainer, stream: VideoStream | None, problems: set[str]) -> Iterator[Packet]:
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


def time_base(stream: VideoStream) -> Fraction:
    assert stream.time_base is not None
    return stream.time_base
