"""Writing an MP4 in which every frame keeps its own time, with another file's sound beside it."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from schemas.errors import UsageError
from transforms.remote import is_remote
from transforms.video.clock import CLOCK_SET_BACK_S

_SECOND_US = 1_000_000
_LONGEST_TICKS = 2**31 - 1  # that MP4 lets a frame last
# Says whose a file is, so that no other is ever overwritten.
_COMMENT = "Annotated by affectline"
# Visually lossless, and faster than the faces are drawn. Without B frames, since MP4 takes a track's
# length from the order of decoding: with them an irregular video would lose its end.
_X264 = {"crf": "18", "preset": "veryfast", "bf": "0"}
_BT709, _LIMITED_RANGE = 1, 1  # as H.264 numbers them
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_AAC_BITS_PER_CHANNEL = 96_000
_AUDIO_BLOCK = 1024
# Sound that is this much early or late is moved; less is a container's rounding.
_DRIFT_S = Fraction(1, 25)


@contextmanager
def open_mp4(
    path: str, size: tuple[int, int], frame_rate: Fraction, longest_step_us: int, sound: "Sound | None"
) -> Iterator["Mp4Writer"]:
    """A writer of an H.264 file that gets its name only when nothing was raised.

    Args:
        path: of the file; replaced when it exists.
        size: width and height in pixels. Odd ones are kept, at the price of 4:4:4 colour.
        frame_rate: about how many frames a second will come.
        longest_step_us: microseconds that a frame may be shown; from 36 minutes on the clock is coarser.
        sound: what to put beside the pictures, if anything.
    """
    temp = Path(path).with_name(f".{uuid.uuid4().hex}.mp4")
    try:
        with av.open(str(temp), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            container.metadata["comment"] = _COMMENT
            yield Mp4Writer(container, size, frame_rate, longest_step_us, sound)
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def check_output(output: str, source: str) -> None:
    """UsageError when `output` cannot be written, or is a file of the user's.

    source: what is to be annotated.
    """
    folder = os.path.dirname(os.path.abspath(output))
    if is_remote(output) or not os.path.isdir(folder) or not os.access(folder, os.W_OK):
        raise UsageError(f"{output} cannot be written; give a file in a folder of this machine.")
    if os.path.isdir(output):
        raise UsageError(f"{output} is a folder; give the name of the file to write.")
    if not os.path.exists(output):
        return
    if os.path.exists(source) and os.path.samefile(output, source):
        raise UsageError(f"{output} is the video itself; give another name.")
    if not _is_ours(output):
        raise UsageError(f"{output} is there already and was not written by affectline; give another name.")


def _is_ours(path: str) -> bool:
    try:
        with av.open(path, metadata_errors="replace") as container:
            return container.metadata.get("comment") == _COMMENT
    except (av.FFmpegError, OSError):
        return False


class Mp4Writer:
    """Encodes frames at their own times into an open container."""

    def __init__(
        self,
        container: OutputContainer,
        size: tuple[int, int],
        frame_rate: Fraction,
        longest_step_us: int,
        sound: "Sound | None",
    ) -> None:
        """Take what `open_mp4` takes."""
        self._container = container
        per_second = _SECOND_US
        while longest_step_us * per_second > _LONGEST_TICKS * _SECOND_US:
            per_second //= 10
        self._tick = Fraction(1, per_second)
        self._last = -1  # tick of the last frame
        self._video = self._add_video(size, frame_rate)
        self._sound = sound.packets(container) if sound else iter(())
        self._next_sound: Packet | None = None
        self._durations: dict[int, int] = {}
        self._waiting: tuple[int, np.ndarray] | None = None

    def _add_video(self, size: tuple[int, int], frame_rate: Fraction) -> VideoStream:
        stream = self._container.add_stream("libx264", rate=frame_rate, options=_X264)
        context = stream.codec_context
        context.width, context.height = size
        context.pix_fmt = "yuv444p" if size[0] % 2 or size[1] % 2 else "yuv420p"
        context.time_base = self._tick
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        return stream

    def write(self, pts_us: int, image: np.ndarray) -> None:
        """Add a frame: uint8 RGB [H, W, 3], shown from `pts_us` on, later than the last.

        One of another size, as streams that change theirs have, is scaled to the file's.
        """
        if self._waiting is not None:
            self._encode(*self._waiting, until_us=pts_us)
        self._waiting = pts_us, image

    def finish(self, end_us: int) -> None:
        """Show the last frame until `end_us`, and write the sound up to there."""
        if self._waiting is not None:
            self._encode(*self._waiting, until_us=max(end_us, self._waiting[0] + 1))
            self._waiting = None
        self._mux_video(self._video.encode())
        self._mux_sound(end_us)

    def _encode(self, pts_us: int, image: np.ndarray, until_us: int) -> None:
        context = self._video.codec_context
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
            context.width, context.height, context.pix_fmt, dst_colorspace="ITU709"
        )
        self._last = max(self._last + 1, self._ticks(pts_us))
        frame.pts, frame.time_base = self._last, self._tick
        self._durations[self._last] = max(1, self._ticks(until_us) - self._last)
        self._mux_video(self._video.encode(frame))
        self._mux_sound(pts_us)

    def _ticks(self, us: int) -> int:
        return round(us / (self._tick * _SECOND_US))

    def _mux_video(self, packets: list[Packet]) -> None:
        for packet in packets:
            assert packet.pts is not None
            # The encoder leaves this out, and the last frame would have no length.
            packet.duration = self._durations.pop(packet.pts)
            self._container.mux_one(packet)

    def _mux_sound(self, until_us: int) -> None:
        while packet := self._next_sound or next(self._sound, None):
            assert packet.pts is not None
            if packet.pts * packet.time_base >= Fraction(until_us, _SECOND_US):
                self._next_sound = packet
                return
            self._container.mux_one(packet)
            self._next_sound = None


class Sound:
    """The sound of an open file, as AAC in step with pictures that begin at `zero`.

    Args:
        container: of the file.
        stream: one of its streams.
        zero: seconds on the file's own clock at which the pictures begin; sound before it is cut off.
    """

    def __init__(self, container: InputContainer, stream: AudioStream, zero: Fraction) -> None:
        self._container, self._stream, self._zero = container, stream, zero
        self._rate = min(_AAC_RATES, key=lambda rate: abs(rate - stream.rate))
        self._layout = "mono" if stream.channels == 1 else "stereo"

    def packets(self, output: OutputContainer) -> Iterator[Packet]:
        """Add a stream to `output` and give its packets, encoded as they are asked for."""
        encoder = output.add_stream("aac", rate=self._rate, layout=self._layout)
        encoder.bit_rate = _AAC_BITS_PER_CHANNEL * encoder.channels
        return self._encode(encoder)

    def _encode(self, encoder: AudioStream) -> Iterator[Packet]:
        done = 0
        waiting = np.zeros((encoder.channels, 0), np.float32)
        for block in self._blocks(encoder.channels):
            waiting = np.concatenate([waiting, block], axis=1)
            while waiting.shape[1] >= _AUDIO_BLOCK:
                yield from encoder.encode(self._frame(waiting[:, :_AUDIO_BLOCK], done))
                waiting = waiting[:, _AUDIO_BLOCK:]
                done += _AUDIO_BLOCK
        if waiting.shape[1]:
            yield from encoder.encode(self._frame(waiting, done))
        yield from encoder.encode()

    def _frame(self, samples: np.ndarray, at: int) -> av.AudioFrame:
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, at, Fraction(1, self._rate)
        return frame

    def _blocks(self, channels: int) -> Iterator[np.ndarray]:
        """Samples without holes from `zero` on, float32 [channels, n]; silence where the file has none."""
        written = 0
        zero = self._zero
        drift, set_back = round(_DRIFT_S * self._rate), CLOCK_SET_BACK_S * self._rate
        for time, block in self._decoded():
            at = written if time is None else round((time - zero) * self._rate)
            if at + set_back <= written and written > 0:
                # The clock was set back: carry on, as the pictures do.
                zero = time - Fraction(written, self._rate) if time is not None else zero
                at = written
            if at < written - drift or at < 0:
                block = block[:, written - at :]
            elif at > written + drift:
                while written < at:  # in pieces: a broken clock may leap by hours
                    silence = min(self._rate, at - written)
                    yield np.zeros((channels, silence), np.float32)
                    written += silence
            if block.shape[1]:
                yield block
                written += block.shape[1]

    def _decoded(self) -> Iterator[tuple[Fraction | None, np.ndarray]]:
        """What decodes: seconds on the file's clock, and float32 [channels, n]."""
        resampler = AudioResampler("fltp", self._layout, self._rate)
        for packet in _demux(self._container, self._stream):
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError:
                continue  # silence takes its place
            for frame in frames:
                time = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
                for part in resampler.resample(frame):
                    yield time, part.to_ndarray()
                    time = None


def _demux(container: InputContainer, stream: AudioStream) -> Iterator[Packet]:
    try:
        yield from container.demux(stream)
    except av.FFmpegError:
        return  # the sound ends where the file cannot be read further
