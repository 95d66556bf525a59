"""What is known of videos before they are opened: waves of them, and how many processes pay."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from functools import cache
from typing import Final, NamedTuple

from schemas.elements import Video
from schemas.errors import UnreadableVideoError
from transforms.remote import is_remote
from transforms.video.decoder import Decoder

# What a file's length is guessed from where its header does not say it: 1 Mbit/s.
_BYTES_PER_SECOND: Final = 125_000
# Fewer, and the header is not believed.
_LEAST_BYTES_PER_SECOND: Final = 100
_LOOKED_AT: Final = 8  # videos that all others are judged by

# By `python -m benchmarks.workers`: processor time for a sample, and so much of it that another worker's
# start does not outweigh it; memory of a worker with small pictures, and for each pixel of large ones.
_SAMPLE_S: Final = 0.015
_WORTH_A_WORKER_S: Final = 12.0
_WORKER_BYTES: Final = 400e6
_BYTES_A_PIXEL: Final = 100
_FRAME_RATE: Final = 25  # where every frame is a sample


class Expected(NamedTuple):
    """What a video seems to be."""

    seconds: float
    pixels: int  # of a picture; 0 where that is not known


Look = Callable[[Video], Expected]


@contextmanager
def headers() -> Iterator[Look]:
    """While it lasts, what a video seems to be, each file opened once."""
    with Decoder() as decoder:
        yield cache(lambda video: expected(video, decoder))


def expected(video: Video, decoder: Decoder) -> Expected:
    """What the header says; a remote file would have to be copied for that, and is guessed by its size."""
    by_size = video.size_bytes / _BYTES_PER_SECOND
    if is_remote(video.uri):
        return Expected(by_size, 0)
    try:
        header = decoder.header(video.uri)
    except UnreadableVideoError:
        return Expected(0.0, 0)  # the pipeline meets the same error and writes it down
    seconds = header.duration_us / 1e6
    believed = 0 < seconds <= video.size_bytes / _LEAST_BYTES_PER_SECOND
    return Expected(seconds if believed else by_size, header.width * header.height)


def waves(videos: Iterable[Video], wave_seconds: float, look: Look) -> Iterator[tuple[list[Video], float]]:
    """Cut a list of videos into waves of at most `wave_seconds`, each with its seconds of video.

    A longer video is a wave of its own. Videos are looked at as they are needed.
    """
    wave: list[Video] = []
    total = 0.0
    for video in videos:
        seconds = look(video).seconds
        if wave and total + seconds > wave_seconds:
            yield wave, total
            wave, total = [], 0.0
        wave.append(video)
        total += seconds
    if wave:
        yield wave, total


def workers_that_pay(
    videos: Sequence[Video],
    sampling_rate: Fraction,
    segment_seconds: float,
    look: Look,
    cores: int,
    memory: float,
) -> int:
    """How many processes read these videos soonest, judged by the headers of a few of them.

    sampling_rate: samples a second, 0 for every frame. segment_seconds: of the pieces that videos are read
    in; 0: each whole. memory: bytes that are free.
    """
    if not videos or cores == 1:
        return 1
    chosen = videos[:: max(1, len(videos) // _LOOKED_AT)]
    looks = [look(video) for video in chosen]
    share = sum(video.size_bytes for video in chosen) / max(1, sum(video.size_bytes for video in videos))
    seconds = sum(each.seconds for each in looks) / max(share, 1e-9)
    worth = seconds * float(sampling_rate or _FRAME_RATE) * _SAMPLE_S / _WORTH_A_WORKER_S
    pieces = len(videos)
    if segment_seconds and sampling_rate:
        pieces = max(pieces, int(seconds / segment_seconds))
    held = _WORKER_BYTES + _BYTES_A_PIXEL * max(each.pixels for each in looks)
    return max(1, int(min(cores, pieces, worth, memory / held)))
