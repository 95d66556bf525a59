"""A video read in pieces gives what it gives whole, wherever it is cut."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.reading import TS, assert_same, read
from tests.helpers.videos import cut_short, damage, even, start_edit_later, write_video
from transforms.video import decoding, reading
from transforms.video.reading import probe


@pytest.fixture(scope="module")
def practice(tmp_path_factory) -> dict[str, Path]:
    """Videos for cutting, by kind."""
    d = tmp_path_factory.mktemp("practice")
    rng = np.random.default_rng(7)
    vfr = np.cumsum(rng.choice([1, 7, 33, 40, 250, 1300], 60, p=[0.1, 0.2, 0.3, 0.3, 0.08, 0.02])).tolist()
    open_gop = {"x264-params": "open-gop=1:scenecut=0:bframes=3:b-adapt=0:log-level=-1"}
    refresh = {"x264-params": "intra-refresh=1:keyint=8:scenecut=0:bframes=0:log-level=-1"}
    made = {
        "constant": write_video(d / "constant.mp4", even(60)),
        "vfr": write_video(d / "vfr.mkv", vfr, bframes=2, gop=7),
        "edit list": start_edit_later(
            write_video(d / "edit.mp4", even(60), bframes=2, gop=8), Fraction(10, 25)
        ),
        "open gop": write_video(d / "open.mp4", even(60), bframes=3, gop=10, options=open_gop),
        "open gop ts": write_video(d / "open.ts", even(60, 3600), tick=TS, bframes=3, options=open_gop),
        "intra refresh": write_video(d / "refresh.ts", even(60, 3600), tick=TS, options=refresh),
        "hevc": write_video(d / "hevc.mp4", even(40), codec="libx265", bframes=3, gop=8),
        "interlaced": write_video(
            d / "interlaced.mts", even(60, 3600), tick=TS, bframes=2, gop=9, interlaced=True
        ),
        "mpeg2": write_video(
            d / "mpeg2.mpg", even(60, 1), tick=Fraction(1, 25), codec="mpeg2video", bframes=2
        ),
        "avi": write_video(d / "a.avi", even(60, 1), tick=Fraction(1, 25), codec="mpeg4", bframes=2),
        "vp9": write_video(d / "vp9.webm", even(40), codec="libvpx-vp9", gop=9),
        "gif": write_video(d / "a.gif", even(30, 4), tick=Fraction(1, 100), codec="gif", pix_fmt="rgb8"),
    }
    for kind, source, start, stop in (
        ("damaged", "constant", 0.4, 0.45),
        ("much damaged", "constant", 0.3, 0.7),
        ("damaged open gop", "open gop", 0.5, 0.55),
        ("damaged ts", "open gop ts", 0.4, 0.5),
        ("damaged vfr", "vfr", 0.4, 0.45),
        ("damaged hevc", "hevc", 0.4, 0.5),
        ("damaged mpeg2", "mpeg2", 0.4, 0.5),
        ("damaged avi", "avi", 0.4, 0.5),
        ("damaged vp9", "vp9", 0.4, 0.5),
    ):
        copy = d / f"{kind}{made[source].suffix}"
        copy.write_bytes(made[source].read_bytes())
        made[kind] = damage(copy, start, stop)
    for kind, source in (("cut short", "vfr"), ("cut short ts", "open gop ts")):
        copy = d / f"{kind}{made[source].suffix}"
        copy.write_bytes(made[source].read_bytes())
        made[kind] = cut_short(copy, 0.7)
    return made


KINDS = [
    "constant", "vfr", "edit list", "open gop", "open gop ts", "intra refresh", "hevc", "interlaced", "mpeg2",
    "avi", "vp9", "gif", "damaged", "much damaged", "damaged open gop", "damaged ts", "damaged vfr",
    "damaged hevc", "damaged mpeg2", "damaged avi", "damaged vp9", "cut short", "cut short ts",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_gives_the_same(kind, practice):
    path = practice[kind]
    assert not probe(str(path)).one_piece
    whole = {fps: read(path, fps) for fps in (Fraction(17, 2), Fraction(100))}
    end = whole[Fraction(100)][1].last_pts_us

    @settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        fps=st.sampled_from(sorted(whole)),
        cuts=st.lists(
            st.integers(1, end + 100_000) | st.integers(1, 60).map(lambda n: n * 40_000), max_size=4
        ),
    )
    def check(fps, cuts):
        items, summary = read(path, fps, sorted(set(cuts)))
        assert_same(items, whole[fps][0])
        assert summary == whole[fps][1]

    check()


def test_a_file_whose_timestamps_change_after_seeking_is_read_in_one_piece(tmp_path, monkeypatch):
    """As one MXF file does; here the seeking is falsified."""
    path = write_video(tmp_path / "a.mp4", even(60), bframes=2)
    assert not probe(str(path)).one_piece
    seek = decoding.seek

    def later(packets):
        for packet in packets:
            packet.pts += 512
            yield packet

    def falsified(*args):
        found = seek(*args)
        return found and (found[0], later(found[1]))

    monkeypatch.setattr(reading, "seek", falsified)
    assert probe(str(path)).one_piece
