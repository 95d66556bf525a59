"""Which frames come out of a video, and at what time: videos made here, each frame showing its number."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.errors import UnreadableVideoError
from tests.helpers.reading import TS, read, shown
from tests.helpers.videos import (
    cut_short,
    damage,
    even,
    joined,
    picture,
    set_display_matrix,
    start_edit_later,
    write_video,
)
from transforms.video import clock, files, reading, records
from transforms.video.clock import Sampling
from transforms.video.reading import probe
from transforms.video.records import LostSample, Probe, SampledFrame

# ------------------------------------------------------------------------------------ which frames


@given(
    steps=st.lists(st.integers(1, 400), min_size=1, max_size=40),
    fps=st.fractions(Fraction(1, 10), 120, max_denominator=20),
)
@settings(deadline=None)
def test_sample_k_is_the_first_frame_at_or_after_k_over_fps(steps, fps):
    tick = Fraction(1, 100)
    times = np.cumsum([0, *steps]).tolist()
    sampling = Sampling(fps * tick, Fraction(0))
    got = {}
    for before, now in zip([None, *times], times, strict=False):
        k = sampling.number(before, now)
        if k is not None:
            assert k not in got
            got[k] = now
    expected: dict[int, int] = {}  # by the words of the rule; a frame keeps the lowest number it serves
    for k in range(int(times[-1] * tick * fps) + 1):
        now = next(time for time in times if time * tick >= k / fps)
        if now not in expected.values():
            expected[k] = now
    assert got == expected


CASES = {
    # kind: (how it is written, fps, expected (sample, ms, number))
    "constant rate": (
        lambda p: write_video(p / "a.mp4", even(20)),
        5,
        [(0, 0, 0), (1, 200, 5), (2, 400, 10), (3, 600, 15)],
    ),
    "every frame": (
        lambda p: write_video(p / "a.mp4", even(5)),
        0,
        [(n, 40 * n, n) for n in range(5)],
    ),
    "no whole number of frames between samples": (
        lambda p: write_video(p / "a.mp4", even(11)),
        10,
        [(0, 0, 0), (1, 120, 3), (2, 200, 5), (3, 320, 8), (4, 400, 10)],
    ),
    "B-frames": (
        lambda p: write_video(p / "a.mp4", even(20), bframes=3, gop=8),
        5,
        [(0, 0, 0), (1, 200, 5), (2, 400, 10), (3, 600, 15)],
    ),
    "variable rate, a gap of more than a second": (
        lambda p: write_video(p / "a.mkv", [0, 10, 199, 200, 201, 1500, 1510, 1650]),
        5,
        [(0, 0, 0), (1, 200, 3), (2, 1500, 5), (8, 1650, 7)],
    ),
    "one frame a second, five samples asked for": (
        lambda p: write_video(p / "a.mp4", even(3, 1), tick=Fraction(1), rate=1),
        5,
        [(0, 0, 0), (1, 1000, 1), (6, 2000, 2)],
    ),
    "120 frames a second": (
        lambda p: write_video(p / "a.mp4", even(61, 1), tick=Fraction(1, 120), rate=120),
        5,
        [(0, 0, 0), (1, 200, 24), (2, 400, 48)],
    ),
    "one frame": (lambda p: write_video(p / "a.mp4", [0]), 5, [(0, 0, 0)]),
    "a start that is not zero": (
        lambda p: write_video(p / "a.mkv", even(11, start=5000)),
        5,
        [(0, 0, 0), (1, 200, 5), (2, 400, 10)],
    ),
    "a transport stream": (
        lambda p: write_video(p / "a.ts", even(11, 3600, 99000), tick=TS, bframes=2),
        5,
        [(0, 0, 0), (1, 200, 5), (2, 400, 10)],
    ),
    "an edit list that hides the first three frames": (
        lambda p: start_edit_later(write_video(p / "a.mp4", even(14), bframes=2, gop=8), Fraction(3, 25)),
        5,
        [(0, 0, 3), (1, 200, 8), (2, 400, 13)],
    ),
    "no timestamps at all": (
        lambda p: write_video(p / "a.264", even(11, 1), tick=Fraction(1, 25), bframes=2),
        5,
        [(0, 0, 0), (1, 200, 5), (2, 400, 10)],
    ),
    "VP8": (
        lambda p: write_video(p / "a.webm", even(6), codec="libvpx"),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "VP9": (
        lambda p: write_video(p / "a.webm", even(6), codec="libvpx-vp9"),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "HEVC, 10 bits": (
        lambda p: write_video(p / "a.mp4", even(6), codec="libx265", pix_fmt="yuv420p10le", bframes=2),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "MPEG-4 in AVI": (
        lambda p: write_video(p / "a.avi", even(6, 1), tick=Fraction(1, 25), codec="mpeg4", bframes=2),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "MPEG-2 program stream, interlaced": (
        lambda p: write_video(
            p / "a.mpg", even(6, 1), tick=Fraction(1, 25), codec="mpeg2video", bframes=2, interlaced=True
        ),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "interlaced H.264 as camcorders write it": (
        lambda p: write_video(p / "a.mts", even(11, 3600), tick=TS, bframes=2, interlaced=True),
        0,
        [(n, 40 * n, n) for n in range(11)],
    ),
    "animated GIF": (
        lambda p: write_video(p / "a.gif", even(6, 4), tick=Fraction(1, 100), codec="gif", pix_fmt="rgb8"),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "alpha": (
        lambda p: write_video(p / "a.mov", even(6), codec="png", pix_fmt="rgba"),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
    "odd size": (
        lambda p: write_video(p / "a.mkv", even(6), codec="ffv1", size=(67, 33)),
        5,
        [(0, 0, 0), (1, 200, 5)],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_the_very_frame_comes_out(kind, tmp_path):
    make, fps, expected = CASES[kind]
    path = make(tmp_path)
    items, summary = read(path, fps)
    assert shown(items) == expected
    assert summary.problems == ((clock.NO_TIMESTAMPS,) if kind == "no timestamps at all" else ())


def test_the_clock_is_carried_on_when_timestamps_jump_back(tmp_path):
    first = write_video(tmp_path / "1.ts", even(60, 3600, 900000), tick=TS)
    second = write_video(tmp_path / "2.ts", even(10, 3600, 900000), tick=TS)
    path = joined(tmp_path / "a.ts", [first, second])
    assert probe(str(path)).one_piece
    items, summary = read(path)
    assert [(i.sample, i.pts_us) for i in items] == [(n, 40_000 * n) for n in range(len(items))]
    assert clock.CLOCK_JUMPS in summary.problems
    numbers = [number for _, _, number in shown(items) if number is not None]
    # The recorder's restart may cost the frame at the joint, nothing else.
    assert [n for n in [*range(60), *range(10)] if n not in (58, 59, 0)] == [
        n for n in numbers if n not in (58, 59, 0)
    ]


def test_frames_that_are_not_later_than_the_one_before_are_passed_over(tmp_path):
    first = write_video(tmp_path / "1.ts", even(50, 3600, 90000), tick=TS, gop=1)
    second = write_video(tmp_path / "2.ts", even(10, 3600, 90000 + 47 * 3600), tick=TS)
    path = joined(tmp_path / "a.ts", [first, second])
    items, summary = read(path)
    assert [i.pts_us for i in items] == [40_000 * n for n in range(57)]
    assert clock.LATE_FRAMES in summary.problems


# ------------------------------------------------------------------------------------ probe


def test_a_probe_tells_what_the_file_is(tmp_path):
    path = write_video(tmp_path / "a.mp4", even(10), bframes=2)
    assert probe(str(path)) == Probe(0, 64, 32, 1.0, 0, "h264", 400_000, 10, 40_000, 40_000, (), False, ())


def test_a_probe_sees_a_variable_rate(tmp_path):
    found = probe(str(write_video(tmp_path / "a.mkv", [0, 10, 50, 1200])))
    assert (found.min_step_us, found.max_step_us) == (10_000, 1_150_000)


# ------------------------------------------------------------------------------------ picture

# Where the stored picture's top left corner and its right neighbour go: display matrix, expected picture.
TURNS = {
    "as stored": ((1, 0, 0, 1), lambda p: p, 0),
    "90": ((0, 1, -1, 0), lambda p: np.rot90(p, -1), 90),
    "180": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2), 180),
    "270": ((0, -1, 1, 0), lambda p: np.rot90(p, 1), 270),
    "left to right": ((-1, 0, 0, 1), lambda p: p[:, ::-1], 0),
    "upside down": ((1, 0, 0, -1), lambda p: p[::-1], 180),
    "along the diagonal": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1), 90),
    "along the other": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1), 270),
}


@pytest.mark.parametrize("turn", TURNS)
def test_pictures_come_upright(turn, tmp_path):
    matrix, expected, degrees = TURNS[turn]

    def corner(number, size):
        image = np.full((size[1], size[0], 3), 30, np.uint8)
        image[: size[1] // 2, : size[0] // 2] = 220
        image[: size[1] // 4, : size[0] // 4] = 120
        return image

    plain = write_video(tmp_path / "plain.mp4", even(2), draw=corner)
    stored = read(plain)[0][0]
    assert isinstance(stored, SampledFrame)
    path = set_display_matrix(write_video(tmp_path / "a.mp4", even(2), draw=corner), *matrix)
    found = probe(str(path))
    for item in read(path)[0]:
        assert isinstance(item, SampledFrame)
        if item.sample == 0:
            np.testing.assert_array_equal(item.image, expected(stored.image))
        assert item.image.shape == (found.height, found.width, 3)
        assert item.image.flags.c_contiguous
    assert found.rotation == degrees


def test_a_picture_at_an_angle_is_refused(tmp_path):
    path = set_display_matrix(write_video(tmp_path / "a.mp4", even(2)), 0.7, 0.7, -0.7, 0.7)
    with pytest.raises(UnreadableVideoError, match="no quarter turn"):
        probe(str(path))


def test_colours_are_red_green_blue(tmp_path):
    def red(number, size):
        return np.broadcast_to(np.array([200, 40, 20], np.uint8), (size[1], size[0], 3)).copy()

    items, _ = read(write_video(tmp_path / "a.mp4", even(1), draw=red))
    assert isinstance(items[0], SampledFrame)
    np.testing.assert_allclose(items[0].image.mean(axis=(0, 1)), [200, 40, 20], atol=6)


def test_one_pixel(tmp_path):
    items, _ = read(write_video(tmp_path / "a.mkv", even(2), size=(1, 1), codec="ffv1"))
    assert [i.image.shape for i in items if isinstance(i, SampledFrame)] == [(1, 1, 3)] * 2


def test_a_picture_that_claims_too_many_pixels_is_refused(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", even(2))
    monkeypatch.setattr(files, "MAX_PIXELS", 64 * 32 - 1)
    with pytest.raises(UnreadableVideoError, match="64 x 32 pixels"):
        probe(str(path))


def test_a_picture_that_changes_its_size_is_scaled_to_the_first_and_told(tmp_path):
    small = write_video(tmp_path / "1.ts", even(12, 3600), tick=TS)
    large = write_video(tmp_path / "2.ts", even(12, 3600, 12 * 3600), tick=TS, size=(128, 64))
    path = joined(tmp_path / "a.ts", [small, large])
    for cuts in ([], [480_000], [300_000, 700_000]):
        items, summary = read(path, 0 if not cuts else 25, cuts)
        shapes = [i.image.shape[:2] for i in items if isinstance(i, SampledFrame)]
        assert shapes == [(32, 64)] * len(shapes)
        assert len(shapes) >= 22
        assert [n for _, _, n in shown(items[-10:])] == list(range(2, 12))
        assert reading.SIZE_CHANGES in summary.problems


# ------------------------------------------------------------------------------------ damage


def test_frames_before_and_after_damage_are_used_and_those_between_are_lost(tmp_path):
    path = damage(write_video(tmp_path / "a.mp4", even(60), bframes=2), 0.45, 0.5)
    items, summary = read(path)
    assert [i.sample for i in items] == list(range(60))
    assert [i.pts_us for i in items] == [40_000 * n for n in range(60)]
    lost = [i for i in items if isinstance(i, LostSample)]
    assert 0 < len(lost) <= 18
    assert {i.reason for i in lost} == {records.FRAME_LOST}
    for sample, _, number in shown(items):
        assert number in (sample, None)
    assert summary.problems == (reading.NOT_DECODED,)
    assert summary.frames_read == 60 - len(lost)


@pytest.mark.parametrize(
    ("name", "options"), [("a.mkv", {}), ("a.mp4", {"movflags": "faststart"}), ("a.ts", {})]
)
def test_a_file_that_is_cut_short_gives_what_it_holds(name, options, tmp_path):
    times, tick = (even(100, 3600), TS) if name.endswith("ts") else (even(100), Fraction(1, 1000))
    path = cut_short(write_video(tmp_path / name, times, tick=tick, container_options=options), 0.5)
    found = probe(str(path))
    items, _ = read(path)
    assert 20 < len(items) < 80
    for sample, ms, number in shown(items):
        assert ms == 40 * sample
        assert number in (sample, None)
    if not name.endswith("ts"):  # a stream makes no claim of its length
        assert reading.CUT_SHORT in found.problems


UNREADABLE = {
    "empty": (b"", "The file is empty."),
    "text": (b"no video at all\n" * 50, "cannot be opened|no moving picture"),
    "noise": (np.random.default_rng(3).bytes(5000), "cannot be opened|not a video|decodes"),
    "header only": (
        bytes.fromhex("0000001c667479706d703432000000006d70343269736f6d61766331"),
        "cannot be opened|no moving picture",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_video_is_refused_in_one_sentence(kind, tmp_path):
    content, words = UNREADABLE[kind]
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableVideoError, match=words) as caught:
        probe(str(path))
    assert str(caught.value).endswith(".")
    assert str(path) not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UnreadableVideoError, match="No such file"):
        probe(str(tmp_path / "gone.mp4"))


def test_audio_only(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(UnreadableVideoError, match="no moving picture, only audio"):
        probe(str(path))


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_still_picture_is_no_video(name, tmp_path):
    codec, pix_fmt = ("png", "rgb24") if name == "a.png" else ("mjpeg", "yuvj420p")
    context = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt, context.time_base = 64, 32, pix_fmt, Fraction(1, 25)
    frame = av.VideoFrame.from_ndarray(picture(1), format="rgb24").reformat(format=pix_fmt)
    path = tmp_path / name
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    with pytest.raises(UnreadableVideoError, match="still picture"):
        probe(str(path))


def test_a_playlist_may_not_reach_for_other_files(tmp_path):
    write_video(tmp_path / "a.ts", even(5, 3600), tick=TS)
    for name, text in {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.2,\n{tmp_path}/a.ts\n#EXT-X-ENDLIST\n",
        "a.txt": "ffconcat version 1.0\nfile a.ts\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(UnreadableVideoError):
            probe(str(tmp_path / name))
