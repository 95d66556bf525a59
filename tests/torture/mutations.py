"""Ways to damage a file, each by chance."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

# What a file says of itself lies near these, and near its start.
_TAGS: Final = (
    b"mvhd", b"tkhd", b"mdhd", b"stsd", b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"elst", b"avcC",
    b"avih", b"strh", b"strf", b"idx1", b"movi", b"LIST", b"RIFF",
    b"\x1a\x45\xdf\xa3", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75", b"\x2a\xd7\xb1",
    b"onMetaData", b"duration", b"OggS", b"DKIF", b"YUV4MPEG2", b"fcTL", b"IHDR", b".RMF", b"MDPR",
    b"\x00\x00\x01\xb3", b"\x00\x00\x01\xba", b"\x00\x00\x00\x01",
)  # fmt: skip
_EXTREMES: Final = (0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
_NEAR: Final = 64

Rng = np.random.Generator
Mutation = Callable[[bytes, bytes, Rng], bytes]


def _place(data: bytes, rng: Rng) -> int:
    return int(rng.integers(0, len(data)))


def flip_bits(data: bytes, other: bytes, rng: Rng) -> bytes:
    """From one bit to a thousand, anywhere."""
    damaged = np.frombuffer(data, np.uint8).copy()
    count = int(2 ** rng.integers(0, 11))
    places = rng.integers(0, len(damaged), count)
    np.bitwise_xor.at(damaged, places, np.uint8(1) << rng.integers(0, 8, count, np.uint8))
    return damaged.tobytes()


def flip_header_bits(data: bytes, other: bytes, rng: Rng) -> bytes:
    """A few bits of the first kilobyte."""
    return flip_bits(data[:1024], other, rng) + data[1024:]


def truncate(data: bytes, other: bytes, rng: Rng) -> bytes:
    """The end is missing, or the start, or a piece within."""
    first, last = sorted((_place(data, rng), _place(data, rng)))
    return (data[:last], data[first:], data[:first] + data[last:])[rng.integers(0, 3)]


def blank(data: bytes, other: bytes, rng: Rng) -> bytes:
    """A stretch is zeros, or noise."""
    first, last = sorted((_place(data, rng), _place(data, rng)))
    filling = (bytes, rng.bytes)[rng.integers(0, 2)]
    return data[:first] + filling(last - first) + data[last:]


def splice(data: bytes, other: bytes, rng: Rng) -> bytes:
    """Two files of any kinds in one: head and tail, one within the other, or one after the other."""
    at, at_other = _place(data, rng), _place(other, rng)
    return (data[:at] + other[at_other:], data[:at] + other + data[at:], data + other)[rng.integers(0, 3)]


def lie(data: bytes, other: bytes, rng: Rng) -> bytes:
    """One to four numbers of a header are what no file can hold."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        tags = [place for tag in _TAGS if (place := data.find(tag)) >= 0]
        near = int(rng.choice([0, *tags]))
        at = max(0, near + int(rng.integers(-4, _NEAR)))
        width = int(rng.choice([1, 2, 4, 8]))
        number = int(rng.choice(_EXTREMES)) % 256**width
        lied = number.to_bytes(width, str(rng.choice(["big", "little"])))  # type: ignore[arg-type]
        damaged[at : at + width] = lied
    return bytes(damaged)


def rename(data: bytes, other: bytes, rng: Rng) -> bytes:
    """Nothing is wrong but the ending, which `damaged_files` takes from the other file."""
    return data


MUTATIONS: Final[dict[str, Mutation]] = {
    "bits": flip_bits,
    "header bits": flip_header_bits,
    "truncated": truncate,
    "blanked": blank,
    "spliced": splice,
    "header lies": lie,
    "wrong ending": rename,
}


def write_damaged(sources: Sequence[Path], folder: Path, count: int, seed: int) -> dict[Path, str]:
    """Write so many damaged files, the same for the same seed; each with the kind of its damage."""
    written: dict[Path, str] = {}
    kinds = list(MUTATIONS)
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        # Every source and every kind has its turn, and each kind meets each source.
        source = sources[number % len(sources)]
        kind = kinds[(number + number // len(sources)) % len(kinds)]
        other = sources[rng.integers(0, len(sources))]
        content = MUTATIONS[kind](source.read_bytes(), other.read_bytes(), rng)
        ending = other.suffix if kind == "wrong ending" else source.suffix
        path = folder / f"{number:04}-{kind.replace(' ', '-')}-{source.stem}{ending}"
        path.write_bytes(content)
        written[path] = kind
    return written
