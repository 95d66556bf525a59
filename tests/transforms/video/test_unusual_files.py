"""Files that players show and that are easy to get nothing from, or the wrong thing: each is made here.

Long, because each kind of file is a case, and writing it is most of its test.
"""

import io
import os
import resource
import struct
import subprocess
import sys
import textwrap
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.elements import Video
from schemas.errors import UnreadableVideoError
from schemas.remarks import OTHER_PICTURES
from tests.helpers.reading import TS, assert_same, read, shown
from tests.helpers.videos import (
    SIZE,
    cut_short,
    even,
    joined,
    number_in,
    picture,
    restamp,
    write_streams,
    write_video,
)
from transforms.video import clock, files, reading
from transforms.video.clock import Sampling
from transforms.video.decoder import CHILD, Decoder
from transforms.video.reading import probe
from transforms.video.records import LostSample, SampledFrame
from transforms.video.segments import cut

VIDEO = Video("a-0123456789", "a.mkv", "1-1", 1)


def numbers(path: Path, fps: Fraction | int = 0) -> list[int | None]:
    return [number for _, _, number in shown(read(path, fps)[0])]


def times_ms(path: Path) -> list[float]:
    return [item.pts_us / 1000 for item in read(path)[0]]


# ------------------------------------------------------------------- what a library has no name for


def jpeg_avi(path: Path, orientation: int) -> Path:
    """Pictures with EXIF data, of which the decoder makes side data that PyAV has no name for."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHH", 0x112, 3, 1, orientation, 0) + b"\0\0\0\0"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuvj420p"
        for number in range(10):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in stream.encode(frame):
                plain = bytes(packet)
                told = av.Packet(plain[:2] + struct.pack(">HH", 0xFFE1, len(exif) + 2) + exif + plain[2:])
                told.pts, told.dts, told.time_base = packet.pts, packet.dts, packet.time_base
                told.stream, told.is_keyframe = stream, True
                container.mux(told)
    return path


def test_frames_with_unknown_side_data_are_read_and_turned_as_they_say(tmp_path):
    upright = jpeg_avi(tmp_path / "a.avi", 1)
    assert numbers(upright) == list(range(10))
    turned = jpeg_avi(tmp_path / "b.avi", 6)
    found = probe(str(turned))
    assert (found.width, found.height, found.rotation) == (SIZE[1], SIZE[0], 90)
    first, other = read(upright)[0][0], read(turned)[0][0]
    assert isinstance(first, SampledFrame)
    assert isinstance(other, SampledFrame)
    np.testing.assert_array_equal(other.image, np.rot90(first.image, -1))


def test_sound_that_begins_late_costs_no_frame(tmp_path):
    """A file without a list of its streams: what begins after the file was opened has no place in PyAV's."""
    sound = list(range(9000, 10000, 64))
    streams = {"libx264": even(300), "libmp3lame": sound}
    path = write_streams(tmp_path / "a.flv", streams, announce_sound=False)
    with av.open(str(path)) as container:
        assert len(container.streams) == 1
        with pytest.raises(IndexError):
            list(container.demux())
    assert numbers(path) == [number % 256 for number in range(300)]
    found = probe(str(path))
    assert found.problems == ()
    assert not found.one_piece


def test_a_picture_that_begins_late_is_found(tmp_path):
    sound = write_streams(tmp_path / "1.ts", {"libmp3lame": list(range(0, 12000, 64))})
    other = {"mpegts_start_pid": "0x300"}
    video = write_video(tmp_path / "2.ts", even(25, 3600, 13 * 90000), tick=TS, container_options=other)
    path = joined(tmp_path / "a.ts", [sound, video])
    assert times_ms(path) == [40 * number for number in range(25)]


def test_a_second_picture_is_told(tmp_path):
    beside = write_streams(tmp_path / "a.mkv", {"libx264": even(20), "mpeg4": even(20)})
    first = write_video(tmp_path / "1.ts", even(400, 3600), tick=TS)
    other = write_video(
        tmp_path / "2.ts",
        even(20, 3600, 400 * 3600),
        tick=TS,
        container_options={"mpegts_start_pid": "0x300"},
    )
    for path in (beside, joined(tmp_path / "a.ts", [first, other])):
        assert OTHER_PICTURES in probe(str(path)).problems
    assert OTHER_PICTURES not in probe(str(first)).problems


# ------------------------------------------------------------------- the process that decodes


def in_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patch: str) -> None:
    program = tmp_path / "child.py"
    program.write_text(
        textwrap.dedent("""
        import resource, runpy, sys
        sys.argv = [{child!r}]
        made = runpy.run_path({child!r}, run_name="child")
        {patch}
        made["serve"]()
        """).format(child=CHILD[-1], patch=patch)
    )
    monkeypatch.setattr("transforms.video.decoder.CHILD", [*CHILD[:-1], str(program)])


@pytest.mark.parametrize(
    "patch",
    [
        "def refuse(*_): raise ValueError('current limit exceeds maximum')\nresource.setrlimit = refuse",
        "def refuse(*_): raise OSError(22, 'Invalid argument')\nresource.setrlimit = refuse",
        "del resource.RLIMIT_AS, resource.RLIMIT_CORE",
        "del resource.setrlimit",
    ],
)
def test_limits_that_the_system_refuses_or_lacks_do_not_matter(patch, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", even(5))
    in_child(tmp_path, monkeypatch, patch)
    with Decoder() as decoder:
        assert decoder.probe(str(path)).frames == 5


def test_a_lower_limit_of_the_system_stays(tmp_path):
    path = write_video(tmp_path / "a.mp4", even(5))
    program = f"from transforms.video.decoder import Decoder; print(Decoder().probe({str(path)!r}).frames)"
    most = 2**32

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (most, most))

    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "5\n"


def test_an_error_of_the_libraries_is_told_in_one_sentence_and_its_place_in_the_log(
    tmp_path, monkeypatch, caplog
):
    path = write_video(tmp_path / "a.mp4", even(5))
    in_child(
        tmp_path,
        monkeypatch,
        "def fail(**_): raise ValueError('29 is not a valid\\nType')\n"
        "made['serve'].__globals__['probe'] = fail",
    )
    with Decoder() as decoder:
        with pytest.raises(UnreadableVideoError) as caught:
            decoder.probe(str(path))
        child = decoder._child
        assert str(caught.value) == "The decoder met an unforeseen ValueError: 29 is not a valid Type."
        assert "Traceback" in caplog.text
        assert "in fail" in caplog.text
        with pytest.raises(UnreadableVideoError):
            decoder.probe(str(path))
        assert decoder._child is child


def test_listing_shows_signs_of_life_and_each_has_the_whole_time_limit(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", even(120))
    slow = "\n".join(
        [
            "import time",
            "reading = made['probe'].__globals__",
            "reading['PACKETS_A_SIGN'] = 10",
            "quick = reading['demux']",
            "def slowly(*args):",
            "    for packet in quick(*args):",
            "        time.sleep(0.02)",
            "        yield packet",
            "reading['demux'] = slowly",
        ]
    )
    in_child(tmp_path, monkeypatch, slow)
    with Decoder() as decoder:
        assert decoder.probe(str(path)).frames == 120
        assert decoder.probe(str(path), time_limit=1.8).frames == 120
        with pytest.raises(UnreadableVideoError, match=r"longer than 0\.1 seconds"):
            decoder.probe(str(path), time_limit=0.1)


# ------------------------------------------------------------------- streams without keyframes


def busy(number: int, size: tuple[int, int]) -> np.ndarray:
    """A picture with its number in it that takes many packets."""
    image = picture(number, size)
    quarter = size[1] // 4
    noise = np.random.default_rng(number).integers(0, 256, (quarter, size[0], 3), np.uint8)
    image[:quarter] = image[-quarter:] = noise
    return image


@pytest.fixture(scope="module")
def refreshed(tmp_path_factory) -> bytes:
    """H.264 that is renewed bit by bit instead of by keyframes."""
    options = {"x264-params": "intra-refresh=1:keyint=20:scenecut=0:bframes=0:log-level=-1", "crf": "30"}
    path = tmp_path_factory.mktemp("refreshed") / "a.ts"
    write_video(path, even(100, 3600), tick=TS, options=options, gop=20, draw=busy, size=(128, 64))
    return path.read_bytes()


def test_a_stream_that_begins_between_refreshes_gives_its_whole_frames(refreshed, tmp_path):
    path = tmp_path / "a.ts"
    path.write_bytes(refreshed[len(refreshed) // 3 // 188 * 188 :])
    found = probe(str(path))
    assert reading.BAD_START in found.problems
    seen = numbers(path)
    assert seen == list(range(100 - len(seen), 100))
    assert 25 < len(seen) < 67
    assert not found.one_piece
    assert_same(read(path, 25, [500_000, 1_000_000])[0], read(path, 25)[0])


def test_a_refreshed_stream_recovers_from_damage(refreshed, tmp_path):
    data = bytearray(refreshed)
    middle = [at for at in range(0, len(data), 188) if not data[at + 1] & 0x40]  # no frame begins there
    for at in middle[len(middle) * 2 // 5 :][:3]:
        data[at + 20 : at + 188] = np.random.default_rng(1).bytes(168)
    path = tmp_path / "a.ts"
    path.write_bytes(data)
    items, _ = read(path, 25)
    lost = [item.sample for item in items if isinstance(item, LostSample)]
    assert 0 < len(lost) < 40
    assert [n for sample, _, n in shown(items) if n not in (sample, None)] == []
    assert [item.sample for item in items] == list(range(100))
    assert max(lost) < 80
    for cuts in ([1_000_000, 3_000_000], [1_500_000], [2_300_000, 2_700_000, 3_900_000]):
        assert_same(read(path, 25, cuts)[0], items)


# ------------------------------------------------------------------- what is sent once


def test_a_palette_that_is_sent_once_colours_every_frame_whatever_the_cut(tmp_path):
    path = tmp_path / "a.avi"
    palette = np.full((256, 4), 255, np.uint8)
    palette[:, 1:] = np.arange(256, dtype=np.uint8)[::-1, None]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("rawvideo", rate=1)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "pal8"
        for number in range(8):
            frame = av.VideoFrame.from_ndarray((255 - picture(number)[..., 0], palette), format="pal8")
            frame.pts, frame.time_base = number, Fraction(1)
            container.mux(stream.encode(frame))
    assert probe(str(path)).one_piece
    assert numbers(path) == list(range(8))


@pytest.mark.parametrize(("codec", "pix_fmt"), [("cinepak", "rgb24"), ("rv20", "yuv420p")])
def test_codecs_whose_keyframes_lean_on_what_came_before_are_read_in_one_piece(codec, pix_fmt, tmp_path):
    size = (176, 144) if codec == "rv20" else SIZE
    name = "a.rm" if codec == "rv20" else "a.avi"
    path = write_video(
        tmp_path / name, even(12, 1), tick=Fraction(1, 25), codec=codec, pix_fmt=pix_fmt, size=size
    )
    assert probe(str(path)).one_piece


@pytest.mark.parametrize(
    ("seconds", "gop", "expected"), [(70, 1000, True), (70, 30, False), (50, 1000, False)]
)
def test_a_file_with_one_keyframe_in_a_long_time_is_read_in_one_piece(seconds, gop, expected, tmp_path):
    path = write_video(tmp_path / "a.mkv", even(seconds, 1000), gop=gop)
    assert probe(str(path)).one_piece is expected


# ------------------------------------------------------------------- clocks


def test_a_clock_that_is_set_forward_by_years_is_carried_on(tmp_path):
    times = [*even(15), *even(15, start=10**12)]
    path = write_video(tmp_path / "a.mkv", times)
    found = probe(str(path))
    assert found.one_piece
    assert found.duration_us == 1_200_000
    assert clock.CLOCK_JUMPS in found.problems
    assert times_ms(path) == [40 * number for number in range(30)]


def test_a_gap_of_hours_stays_and_is_not_cut_into_empty_segments(tmp_path):
    path = write_video(
        tmp_path / "a.mkv", [*even(25), *even(25, start=7_200_000), *even(25, start=7_300_000)]
    )
    found = probe(str(path))
    assert found.gaps == ((960_000, 7_200_000_000), (7_200_960_000, 7_300_000_000))
    segments = cut(VIDEO, found, 60_000_000)
    assert [segment.start_us for segment in segments] == [0, 7_200_000_000, 7_260_000_000]
    whole = read(path, 5)[0]
    assert_same(read(path, 5, [s.start_us for s in segments[1:]])[0], whole)
    assert whole[5].pts_us == 7_200_000_000


@given(
    frames=st.lists(st.integers(1, 500), min_size=1, max_size=30),
    seconds=st.integers(1, 90),
)
def test_segments_cover_a_video_and_each_but_the_last_holds_a_frame(frames, seconds):
    times = np.cumsum([0, *frames]).tolist()
    gaps = tuple((a * 10**6, b * 10**6) for a, b in pairwise(times) if b - a > 60)
    found = probe_of(times[-1] * 10**6 + 40_000, gaps)
    segments = cut(VIDEO, found, seconds * 10**6)
    assert segments[0].start_us == 0
    assert segments[-1].end_us == -1
    assert all(one.end_us == other.start_us for one, other in pairwise(segments))
    if seconds >= 60:
        for segment in segments:
            end = segment.end_us if segment.end_us > 0 else 10**15
            assert any(segment.start_us <= time * 10**6 < end for time in times)


def probe_of(duration_us, gaps):
    return reading.Probe(0, *SIZE, 1.0, 0, "h264", duration_us, 1, 0, 0, gaps, False, ())


@pytest.mark.parametrize("ticks", [90000 * 36000, 90000 * 4, 0])
def test_a_frame_with_a_time_far_from_its_neighbours_is_passed_over(ticks, tmp_path):
    path = write_video(tmp_path / "a.ts", even(60, 3600, 90000 * 9), tick=TS)
    restamp(path, 20, ticks)
    found = probe(str(path))
    assert found.one_piece
    assert clock.STRAY_FRAMES in found.problems
    items, _ = read(path)
    assert [item.pts_us for item in items] == [40_000 * n for n in range(60) if n != 20]
    assert found.frames == 59


def test_of_two_frames_in_one_microsecond_one_is_passed_over(tmp_path):
    times = [*even(10, 400_000), 3_600_004, *even(5, 400_000, 4_000_000)]
    path = write_video(tmp_path / "a.mp4", times, tick=Fraction(1, 10_000_000))
    items, summary = read(path)
    assert [(item.sample, item.pts_us) for item in items] == [(n, 40_000 * n) for n in range(15)]
    assert clock.LATE_FRAMES in summary.problems
    assert probe(str(path)).frames == 15


def test_samples_that_cannot_be_numbered_are_not_read(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", even(30))
    monkeypatch.setattr(reading, "LARGEST_SAMPLE", 19)
    for cuts in ([], [400_000], [1_000_000]):
        items, summary = read(path, 25, cuts)
        assert [item.sample for item in items] == list(range(20))
        assert reading.TOO_LONG in summary.problems


def test_timestamps_in_the_order_of_decoding_are_put_into_the_order_shown(tmp_path):
    path = write_video(tmp_path / "a.avi", even(60, 1), tick=Fraction(1, 25), bframes=2)
    found = probe(str(path))
    assert found.one_piece
    assert found.frames == 60
    items, summary = read(path)
    assert [(number, ms) for _, ms, number in shown(items)] == [(n, 40 * n) for n in range(60)]
    assert summary.problems == ()


@pytest.mark.parametrize(("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265")])
def test_a_raw_stream_runs_at_the_rate_that_it_states(name, codec, tmp_path):
    path = write_video(tmp_path / name, even(31, 1), tick=Fraction(1, 50), rate=50, codec=codec)
    items, _ = read(path)
    assert items[-1].pts_us == 600_000
    assert probe(str(path)).duration_us == 620_000


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.flv", "libx264"), ("a.webm", "libvpx"), ("a.mp4", "libx264")],
)
def test_every_frame_is_a_sample_at_its_own_rate_though_the_container_rounds(name, codec, tmp_path):
    tick = Fraction(1, 30) if name == "a.mp4" else Fraction(1, 1000)
    times = even(60, 1) if name == "a.mp4" else [round(number * 1000 / 30) for number in range(60)]
    path = write_video(tmp_path / name, times, tick=tick, rate=30, codec=codec)
    whole = read(path, 30)[0]
    assert [item.sample for item in whole] == list(range(60))
    assert_same(read(path, 30, [700_000, 1_300_000])[0], whole)


@given(
    rate=st.fractions(Fraction(1, 2), 60, max_denominator=1001),
    steps=st.lists(st.integers(1, 9), min_size=1, max_size=40),
)
def test_a_container_that_rounds_times_changes_no_sample(rate, steps):
    """Frames at whole multiples of 1 / rate, sampled at that rate or a whole part of it."""
    numbers = np.cumsum([0, *steps]).tolist()
    exact = Sampling(Fraction(1), Fraction(0))
    rounded = Sampling(rate / 1000, Fraction(1, 2))
    times = [round(Fraction(number) * 1000 / rate) for number in numbers]
    for (before, now), (early, late) in zip(pairwise(numbers), pairwise(times), strict=True):
        assert exact.number(before, now) == rounded.number(early, late)


def test_a_clock_that_counts_frames_is_not_rounded(tmp_path):
    path = write_video(tmp_path / "a.avi", even(11, 1), tick=Fraction(1, 25), codec="mpeg4")
    items, _ = read(path, 10)
    assert [(item.sample, item.pts_us) for item in items] == [
        (0, 0), (1, 120_000), (2, 200_000), (3, 320_000), (4, 400_000),
    ]  # fmt: skip


# ------------------------------------------------------------------- what a file says of itself


@pytest.mark.parametrize("name", ["a.webm", "a.mkv"])
def test_a_video_that_starts_late_is_no_cut_off_one(name, tmp_path):
    path = write_video(tmp_path / name, even(50, start=10_000), codec="libvpx")
    assert probe(str(path)).problems == ()


def test_a_cut_off_end_is_told_though_it_is_a_small_part(tmp_path):
    path = write_video(tmp_path / "a.mkv", even(600, 100), gop=300)
    whole = probe(str(path))
    assert whole.problems == ()
    found = probe(str(cut_short(path, 0.9)))
    assert 0.85 < found.frames / whole.frames < 0.97
    assert reading.CUT_SHORT in found.problems


def test_a_long_last_picture_is_no_cut_off_end(tmp_path):
    path = write_video(tmp_path / "a.mkv", even(8, 10_000), rate=1)
    assert probe(str(path)).problems == ()


def test_an_animated_webp_is_called_by_its_name(tmp_path):
    path = tmp_path / "a.webp"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libwebp_anim", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableVideoError, match="an animated WebP, which cannot be read; convert it"):
        probe(str(path))


def test_music_with_a_cover_is_called_that(tmp_path):
    sound = io.BytesIO()
    with av.open(sound, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=44100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((2, 1152), np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts, frame.time_base = 44100, number * 1152, Fraction(1, 44100)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt, context.time_base = *SIZE, "rgb24", Fraction(1)
    [cover] = context.encode(av.VideoFrame.from_ndarray(picture(1), "rgb24"))
    content = b"\0image/png\0\x03\0" + bytes(cover)
    tag = b"APIC" + struct.pack(">I", len(content)) + b"\0\0" + content
    size = bytes(len(tag) >> shift & 0x7F for shift in (21, 14, 7, 0))
    path = tmp_path / "a.mp3"
    path.write_bytes(b"ID3\x03\0\0" + size + tag + sound.getvalue())
    with pytest.raises(UnreadableVideoError, match=r"no moving picture, only audio and a cover picture\."):
        probe(str(path))


# ------------------------------------------------------------------- pixels that are not square


@pytest.mark.parametrize(
    ("aspect", "width"), [(Fraction(16, 11), 93), (Fraction(3, 4), 48), (None, 64), (Fraction(1, 200), 64)]
)
def test_pictures_are_as_wide_as_players_show_them(aspect, width, tmp_path):
    path = write_video(tmp_path / "a.mp4", even(30), pixel_aspect=aspect, bframes=2)
    found = probe(str(path))
    assert (found.width, found.height) == (width, 32)
    assert found.sar == pytest.approx(width / 64, abs=0.01)
    items, _ = read(path, 25)
    assert {item.image.shape for item in items if isinstance(item, SampledFrame)} == {(32, width, 3)}
    assert [number_in(item.image) for item in items if isinstance(item, SampledFrame)] == list(range(30))
    assert_same(read(path, 25, [500_000])[0], items)


def test_a_decoder_takes_names_that_are_not_utf_8(tmp_path):
    path = write_video(tmp_path / "a.mp4", even(3))
    name = os.fsencode(tmp_path) + b"/\xe9t\xe9.mp4"
    os.rename(path, name)
    with Decoder() as decoder:
        assert decoder.probe(os.fsdecode(name)).frames == 3
        assert decoder.probe(f"file://{tmp_path}/%E9t%E9.mp4").frames == 3


def test_a_file_without_a_decoder_for_its_best_stream_gives_the_other(monkeypatch, tmp_path):
    path = write_streams(tmp_path / "a.mkv", {"libx264": even(5), "mpeg4": even(5)})
    can_decode = files._can_decode
    monkeypatch.setattr(files, "_can_decode", lambda s: can_decode(s) and s.codec_context.name == "mpeg4")
    assert probe(str(path)).codec == "mpeg4"
