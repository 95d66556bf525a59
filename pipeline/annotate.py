"""`affectline annotate`: a video with what its tables say drawn into it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Final

import av
import cv2
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from pipeline.drawing import DrawnFace, draw_faces
from pipeline.errors import RunError, UsageError
from pipeline.report.pages import check_tables
from pipeline.report.pictures import is_at_hand
from pipeline.report.summarize import Track, read_tracks, read_video
from transforms.decoder import Decoder
from transforms.video import LostSample, Probe, SampledFrame, Summary, UnreadableVideoError, open_video
from transforms.video_tables import read_rows

_MICROSECOND: Final = Fraction(1, 1_000_000)
_SOUND_BIT_RATE: Final = 192_000
_AAC_RATES: Final = frozenset(
    (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
)
_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1"}


def faces_at(tracks: Sequence[Track], pts_us: int) -> list[DrawnFace]:
    """The faces to draw at a time: between two neighbouring samples of a person, in between.

    Nobody is drawn before the first and after the last sample of a stretch in which each sample
    saw them, so nowhere that no face was found.
    """
    faces = []
    for track in tracks:
        row = int(np.searchsorted(track.pts_us, pts_us, side="right")) - 1
        if row < 0:
            continue
        part = 0.0
        if track.pts_us[row] < pts_us:
            if row + 1 == len(track.pts_us) or track.sample[row + 1] > track.sample[row] + 1:
                continue
            part = float((pts_us - track.pts_us[row]) / (track.pts_us[row + 1] - track.pts_us[row]))
        after = min(row + 1, len(track.pts_us) - 1)
        box = (1 - part) * track.boxes[row] + part * track.boxes[after]
        probabilities = (1 - part) * track.smoothed[row] + part * track.smoothed[after]
        x, y, w, h = box.tolist()
        faces.append(DrawnFace(x, y, w, h, probabilities, f"#{track.track_id}"))
    return faces


def find_video(video: str, out: str) -> str:
    """The id under which the tables below `out` hold this file; UsageError when they do not."""
    path = os.path.realpath(video)
    if not os.path.isfile(path):
        raise UsageError(f"{video} is no file.")
    changed = False
    moved = []
    for video_id in check_tables(out):
        [row] = read_rows(out, "videos", video_id, ["uri", "fingerprint"]).to_pylist()
        same = is_at_hand(path, row["fingerprint"])
        if os.path.realpath(row["uri"]) == path:
            if same:
                return video_id
            changed = True
        elif same and os.path.basename(row["uri"]) == os.path.basename(path):
            moved.append(video_id)
    if changed:
        raise UsageError(f"{video} has changed since {out} was written; run it again first.")
    if len(moved) != 1:
        raise UsageError(f"{out} holds nothing of {video}; run it with `-o {out}` first.")
    return moved[0]


def annotate(
    video: str, out: str, target: str, advance: Callable[[float], None] = lambda seconds: None
) -> None:
    """Write `video` as H.264 in MP4 with boxes, labels and bars drawn from the tables below `out`.

    Every frame that decodes keeps its own timestamp, and the picture its size; since H.264 wants
    even sides, an odd one gets a row or column more. Sound is encoded as AAC. `advance` is told of
    the seconds of video done so far. Raises UsageError when the tables do not hold this file, and
    RunError when nothing of it can be read.
    """
    if not target.lower().endswith(".mp4"):
        raise UsageError(f"{target} does not end in .mp4; the annotated video is an MP4 file.")
    if os.path.exists(target) and os.path.samefile(video, target):
        raise UsageError(f"{target} is the video itself; choose another name.")
    tracks = read_tracks(read_video(out, find_video(video, out)))
    path = os.path.realpath(video)
    part = Path(target).with_name(Path(target).name + ".part")
    try:
        with Decoder() as decoder:
            probe = decoder.probe(path)
            with av.open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as sink:
                _write(decoder, path, probe, tracks, sink, advance)
        part.replace(target)
    except UnreadableVideoError as error:
        raise RunError(f"{video}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _write(
    decoder: Decoder,
    path: str,
    probe: Probe,
    tracks: Sequence[Track],
    sink: OutputContainer,
    advance: Callable[[float], None],
) -> None:
    stream = sink.add_stream("libx264", options={"preset": "medium", "crf": "20"})
    stream.width = probe.width + probe.width % 2
    stream.height = probe.height + probe.height % 2
    stream.pix_fmt = "yuv420p"
    stream.codec_context.time_base = _MICROSECOND
    durations: dict[int, int] = {}
    # The child has read all of this file: what could crash a decoder has done so there.
    with open_video(path) as (source, video):
        sound = _sound(source, probe.zero_pts * _tick(video), sink)
        waiting = next(sound, None)
        for frame, duration_us in _with_durations(
            decoder.read(path, 0, -1, probe.zero_pts, Fraction(0)), probe
        ):
            picture = VideoFrame.from_ndarray(_annotated(frame, tracks, probe), format="rgb24")
            picture.pts, picture.time_base = frame.pts_us, _MICROSECOND
            durations[frame.pts_us] = duration_us
            sink.mux(_timed(stream.encode(picture), durations))
            while waiting is not None and waiting[0] <= frame.pts_us / 1e6:
                sink.mux(waiting[1])
                waiting = next(sound, None)
            advance(frame.pts_us / 1e6)
        sink.mux(_timed(stream.encode(None), durations))
        while waiting is not None:
            sink.mux(waiting[1])
            waiting = next(sound, None)


def _timed(packets: list[Packet], durations: dict[int, int]) -> list[Packet]:
    """The packets with the durations of their frames, which the encoder does not hand on."""
    for packet in packets:
        assert packet.pts is not None
        packet.duration = durations.pop(packet.pts)
    return packets


def _annotated(frame: SampledFrame, tracks: Sequence[Track], probe: Probe) -> np.ndarray:
    image = np.ascontiguousarray(frame.image)
    draw_faces(image, faces_at(tracks, frame.pts_us))
    if image.shape[:2] != (probe.height, probe.width):  # a stream may change its size
        image = cv2.resize(image, (probe.width, probe.height), interpolation=cv2.INTER_AREA)
    return np.pad(image, ((0, probe.height % 2), (0, probe.width % 2), (0, 0)), mode="edge")


def _with_durations(
    items: Iterator[SampledFrame | LostSample | Summary], probe: Probe
) -> Iterator[tuple[SampledFrame, int]]:
    """Every decoded frame with the microseconds until the next; the last one stays to the end."""
    held: SampledFrame | None = None
    for item in items:
        if isinstance(item, SampledFrame):
            if held is not None:
                yield held, item.pts_us - held.pts_us
            held = item
    if held is not None:
        yield held, max(1, probe.duration_us - held.pts_us)


def _sound(source: InputContainer, zero: Fraction, sink: OutputContainer) -> Iterator[tuple[float, Packet]]:
    """The file's main sound as AAC packets with their time in seconds after the first picture.

    Holes are filled with silence, and what comes before the first picture is left out.
    """
    heard = source.streams.best("audio")
    if not isinstance(heard, AudioStream):
        return
    rate = heard.rate if heard.rate in _AAC_RATES else 48_000
    layout = _LAYOUTS.get(heard.channels, "stereo")
    stream = sink.add_stream("aac", rate=rate, layout=layout, bit_rate=_SOUND_BIT_RATE)
    yield from _encoded(source, heard, zero, stream)


def _encoded(
    source: InputContainer, heard: AudioStream, zero: Fraction, stream: AudioStream
) -> Iterator[tuple[float, Packet]]:
    resampler = AudioResampler(
        format="fltp",
        layout=stream.layout,
        rate=stream.rate,
        frame_size=1024,
        options={"async": "1", "first_pts": "0"},
    )
    frames = (_shifted(frame, zero) for frame in _audio_frames(source, heard))
    for frame in chain(frames, [None]):
        for even in resampler.resample(frame):
            for packet in stream.encode(even):
                yield _seconds(packet), packet
    for packet in stream.encode(None):
        yield _seconds(packet), packet


def _seconds(packet: Packet) -> float:
    return float((packet.pts or 0) * _tick(packet))


def _tick(timed: VideoStream | AudioFrame | Packet) -> Fraction:
    assert timed.time_base is not None
    return timed.time_base


def _audio_frames(source: InputContainer, heard: AudioStream) -> Iterator[AudioFrame]:
    for packet in source.demux(heard):
        with suppress(av.FFmpegError):  # a damaged packet leaves a hole
            yield from packet.decode()


def _shifted(frame: AudioFrame, zero: Fraction) -> AudioFrame:
    if frame.pts is not None:
        frame.pts -= round(zero / _tick(frame))
    return frame
