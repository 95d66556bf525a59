"""Makes small test videos. Every frame carries its own number as white bars, one for each bit."""

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags

BITS = 8
BAR = 8
SIZE = (BITS * BAR, 32)


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """uint8 RGB [height, width, 3] with the lowest bit of the number at the left."""
    width, height = size
    bits = [(number >> bit) & 1 for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 200 + 20, -(-width // BITS))[:width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def number_in(image: np.ndarray) -> int:
    """The number that a picture shows."""
    width = image.shape[1] // BITS
    middle = image[image.shape[0] // 4 : -image.shape[0] // 4].mean(axis=(0, 2))
    return sum(
        int(middle[bit * width + 2 : (bit + 1) * width - 2].mean() > 120) << bit for bit in range(BITS)
    )


def write_video(
    path: Path,
    times: Iterable[int],
    *,
    tick: Fraction = Fraction(1, 1000),
    rate: int = 25,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    gop: int = 6,
    bframes: int = 0,
    options: dict[str, str] | None = None,
    interlaced: bool = False,
    draw: Callable[[int, tuple[int, int]], np.ndarray] = picture,
    container_options: dict[str, str] | None = None,
    pixel_aspect: Fraction | None = None,
) -> Path:
    """Writes one frame for each timestamp, given in ticks."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=_options(codec, bframes) | (options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = tick
        stream.codec_context.gop_size = gop
        if codec not in ("libvpx", "libvpx-vp9", "gif", "png", "ffv1", "mjpeg"):
            stream.codec_context.max_b_frames = bframes
        stream.codec_context.thread_count = 1
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if interlaced:
            stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(number, size), format="rgb24")
            frame = frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, tick
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _options(codec: str, bframes: int) -> dict[str, str]:
    if codec == "libx264":
        return {
            "preset": "ultrafast",
            "crf": "12",
            "x264-params": f"scenecut=0:bframes={bframes}:b-adapt=0:log-level=-1",
        }
    if codec == "libx265":
        return {"preset": "ultrafast", "x265-params": "log-level=none:pools=none:frame-threads=1"}
    if codec.startswith("libvpx"):
        return {"deadline": "realtime", "cpu-used": "8", "b": "300k"}
    if codec in ("mpeg4", "mpeg2video", "mpeg1video"):
        return {"qscale": "2", "b": "2000000"}
    return {}


def even(count: int, step: int = 40, start: int = 0) -> list[int]:
    """Timestamps at a constant rate."""
    return [start + number * step for number in range(count)]


def damage(path: Path, start: float, stop: float, seed: int = 1) -> Path:
    """Overwrites a stretch of the frames, given as shares of their bytes, with noise."""
    data = bytearray(path.read_bytes())
    begin, end = 0, len(data)
    if path.suffix == ".mp4":  # the index is left alone
        begin = data.index(b"mdat") + 4
        end = begin - 8 + struct.unpack_from(">I", data, begin - 8)[0]
    first, last = (begin + int((end - begin) * share) for share in (start, stop))
    data[first:last] = np.random.default_rng(seed).integers(0, 256, last - first, np.uint8).tobytes()
    path.write_bytes(data)
    return path


def cut_short(path: Path, share: float) -> Path:
    """Keeps only the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def restamp(path: Path, number: int, ticks: int) -> Path:
    """Writes another time of showing into one frame of a transport stream without B-frames."""
    data = bytearray(path.read_bytes())
    seen = -1
    for packet in range(0, len(data), 188):
        at = data.find(b"\0\0\1\xe0", packet, packet + 188) if data[packet + 1] & 0x40 else -1
        seen += at >= 0
        if at >= 0 and seen == number:
            top, middle, low = ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
            flag = data[at + 9] & 0xF0
            data[at + 9 : at + 14] = struct.pack(
                ">BHH", flag | top << 1 & 0xE | 1, middle << 1 | 1, low << 1 | 1
            )
    path.write_bytes(data)
    return path


def write_streams(path: Path, streams: Mapping[str, Sequence[int]], announce_sound: bool = True) -> Path:
    """Writes streams beside each other, in order of time: codec to timestamps in milliseconds.

    announce_sound: False takes it out of what an FLV says of the streams that it holds.
    """
    packets: list[av.Packet] = []
    with av.open(str(path), "w") as container:
        for codec, times in streams.items():
            rate = 44100 if codec == "libmp3lame" else 25
            stream: Any = container.add_stream(codec, rate=rate, options=_options(codec, 0))
            if codec == "libmp3lame":
                stream.layout = "mono"
            else:
                stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
                stream.codec_context.time_base = Fraction(1, 1000)
                stream.codec_context.max_b_frames = 0
            for number, time in enumerate(times):
                frame = _silence(rate) if codec == "libmp3lame" else _yuv(picture(number))
                frame.pts, frame.time_base = time, Fraction(1, 1000)
                packets += stream.encode(frame)
            packets += stream.encode()
        packets.sort(key=lambda packet: (packet.dts or 0) * packet.time_base)
        for packet in packets:
            container.mux(packet)
    if not announce_sound:
        data = bytearray(path.read_bytes().replace(b"audiocodecid", b"audiocodecno"))
        data[4] = 1  # video only
        path.write_bytes(data)
    return path


def _silence(rate: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), format="fltp", layout="mono")
    frame.sample_rate = rate
    return frame


def _yuv(image: np.ndarray) -> av.VideoFrame:
    return av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")


def joined(path: Path, parts: Sequence[Path]) -> Path:
    """One file after the other, as a recorder does that is restarted; for transport streams."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def set_display_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Writes a display matrix into the track header of an MP4."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    values = [round(value * one) for value in (a, b, 0, c, d, 0, 0, 0)]
    data[at : at + 36] = struct.pack(">9i", *values, 1 << 30)
    path.write_bytes(data)
    return path


def start_edit_later(path: Path, seconds: Fraction) -> Path:
    """Moves the start of an MP4's only edit: what lies before it is in the file, but is not shown."""
    data = bytearray(path.read_bytes())
    scale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 12)[0]
    at = data.index(b"elst") + 4 + 8 + 4
    media_time = struct.unpack_from(">i", data, at)[0]
    struct.pack_into(">i", data, at, media_time + round(seconds * scale))
    path.write_bytes(data)
    return path
