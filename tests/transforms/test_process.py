"""The way through a video without Beam gives the rows that a run writes."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from skimage import data

from pipeline.run.options import SettingsOptions
from pipeline.run.settings import check_settings
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.helpers import videos as made
from tests.helpers.commands import ROOT, affectline, assert_same_tables, load
from tests.helpers.needs import SHARED
from transforms.faces.analyzer import Analyzer
from transforms.process import process_video
from transforms.tables import blocks
from transforms.tables.write import write_video
from transforms.timelines.tabulate import tabulate

SIZE = (160, 160)

_FACE = np.ascontiguousarray(data.astronaut()[:240:2, 100:340:2])
_WALL = np.random.default_rng(5).integers(0, 120, (8, 8, 3), np.uint8).repeat(20, 0).repeat(20, 1)


def draw(number, size):
    """A face that drifts, is away for a while, and has another wall behind it from frame 40 on."""
    width, height = size
    image = np.resize(_WALL if number < 40 else 255 - _WALL, (160, 160, 3))
    image = np.ascontiguousarray(np.tile(image, (2, 2, 1))[:height, :width])
    if number % 50 < 32 and min(size) >= 150:
        left = min(10 + number // 2, width - 120)
        image[20:140, left : left + 120] = _FACE
    return image


def nobody(number, size):
    return draw(32 + number % 18, size)


def a_glimpse(number, size):
    return draw(10 if 20 <= number < 24 else 35, size)


def two(number, size):
    """Two faces, the right one mirrored and only now and then there."""
    image = draw(number % 30, size)
    if number % 7 < 5:
        image[20:140, 180:300] = _FACE[:, ::-1]
    return image


def irregular(count, seed):
    """Milliseconds of frames as a phone records them: 10 to 140 apart, with a gap of a second."""
    steps = np.random.default_rng(seed).integers(10, 140, count)
    steps[count // 2] = 1000
    return np.cumsum(steps).tolist()


def write(path, times=None, **options):
    return made.write_video(path, times or made.even(60), **{"size": SIZE, "draw": draw, "gop": 12} | options)


def turned(path, a, b, c, d):
    return made.set_display_matrix(write(path), a, b, c, d)


def text(path):
    path.write_text("This is no video.\n" * 50)


def generated(folder):
    """Some thirty small videos: rates, gaps, damage, turns, cuts, sizes, containers and no faces at all."""
    folder.mkdir()
    for seed in range(6):
        write(folder / f"irregular-{seed}.mp4", irregular(40 + 5 * seed, seed), bframes=seed % 3)
    for rate, step in ((10, 100), (24, 42), (50, 20)):
        write(folder / f"even-{rate}.mkv", made.even(2 * rate, step), rate=rate)
    write(folder / "late-start.mkv", made.even(60, start=3000))
    write(folder / "one-frame.mp4", [0])
    write(folder / "two-frames-far-apart.mp4", [0, 3000])
    write(folder / "ntsc.mp4", made.even(60, 1001), tick=Fraction(1, 30000), rate=30)
    write(folder / "nobody.mp4", draw=nobody)
    write(folder / "a-glimpse.mp4", draw=a_glimpse)
    write(folder / "two.mp4", size=(320, 160), draw=two)
    write(folder / "tiny.mp4", size=(32, 32))
    write(folder / "odd-size.mkv", size=(161, 163), codec="ffv1", pix_fmt="bgr0")
    write(folder / "vp8.webm", codec="libvpx")
    write(folder / "mpeg4.avi", codec="mpeg4", tick=Fraction(1, 25), times=list(range(60)))
    write(folder / "transport.ts", bframes=2)
    turned(folder / "turned-90.mp4", 0, 1, -1, 0)
    turned(folder / "turned-180.mp4", -1, 0, 0, -1)
    turned(folder / "turned-270.mp4", 0, -1, 1, 0)
    for seed, (start, stop) in enumerate(((0.3, 0.5), (0.6, 0.65), (0.0, 0.1), (0.1, 0.9))):
        made.damage(write(folder / f"damaged-{seed}.mp4"), start, stop, seed)
    made.cut_short(write(folder / "cut-short.ts"), 0.6)
    made.cut_short(write(folder / "no-index.mp4"), 0.5)
    parts = [write(folder / f"part-{number}.ts", made.even(30)) for number in range(2)]
    made.joined(folder / "clock-set-back.ts", parts)
    text(folder / "text.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    return folder


def run(videos, out, model, *options):
    result = affectline("run", *videos, "-o", out, "--detector", "haar", "--model", model, *options)
    assert result.exit_code in (0, 3), result.output
    return out


def process(videos, out, analyzer, model, fps="5"):
    """What `process_video` makes of them, written as a run writes it."""
    settings, _ = check_settings(SettingsOptions(fps=fps, detector="haar", model=str(model)))
    for video in videos:
        timeline = process_video(str(video), analyzer, settings)
        write_video(tabulate(timeline, settings), timeline.video.video_id, str(out))
    return out


def assert_same_rows(a, b):
    """Everything equal but the clock, and probabilities within 1e-4."""
    assert_same_tables(a, b)
    for table in TABLES:
        inexact = ["processed_at", "seconds", "confidence", "mean_confidence"]
        inexact += [prefix + emotion for prefix in ("", "raw_", "share_") for emotion in EMOTIONS]
        first, second = (load(out, table).drop(columns=inexact, errors="ignore") for out in (a, b))
        pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.fixture(scope="module")
def analyzer(untrained_model):
    return Analyzer.load(str(untrained_model), "haar")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return sorted(generated(tmp_path_factory.mktemp("generated") / "videos").iterdir())


@pytest.mark.slow
def test_thirty_videos_give_the_rows_of_a_run_that_cuts_them(videos, untrained_model, analyzer, tmp_path):
    ran = run(videos, tmp_path / "ran", untrained_model, "--segment-seconds", "0.7")
    assert_same_rows(process(videos, tmp_path / "processed", analyzer, untrained_model), ran)
    # Else little was compared.
    rows, failures = load(ran, "videos"), load(ran, "failures")
    assert len(rows) >= 30
    assert set(rows["status"]) == {"ok", "partial", "failed"}
    assert rows["faces"].sum() > 200
    assert rows["is_vfr"].nunique() == 2
    assert set(rows["rotation"].dropna()) == {0, 90, 180, 270}
    kinds = {"DecodeError", "Damage", "ShortTrack", "UnreadableVideoError"}
    assert kinds <= set(failures["error_type"])
    assert load(ran, "samples")["shot"].max() > 0
    assert load(ran, "tracks")["thumbnail"].notna().any()


def test_every_frame_gives_the_rows_of_a_run(videos, untrained_model, analyzer, tmp_path):
    few = [video for video in videos if video.stem in ("irregular-1", "damaged-0", "turned-90")]
    ran = run(few, tmp_path / "ran", untrained_model, "--fps", "0")
    assert_same_rows(process(few, tmp_path / "processed", analyzer, untrained_model, fps="0"), ran)


def test_packing_and_batching_change_nothing(videos, untrained_model, analyzer, tmp_path, monkeypatch):
    few = [video for video in videos if video.stem in ("two", "irregular-3")]
    usual = process(few, tmp_path / "usual", analyzer, untrained_model)
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 3)
    monkeypatch.setattr("transforms.process._FACES_AT_ONCE", 1)
    assert_same_rows(process(few, tmp_path / "small", analyzer, untrained_model), usual)


@pytest.mark.slow
@pytest.mark.needs_shared
def test_every_practice_clip_gives_the_rows_of_a_run(untrained_model, analyzer, tmp_path):
    clips = sorted(path for path in (SHARED / "videos").rglob("*") if path.is_file())
    ran = run(clips, tmp_path / "ran", untrained_model, "--fps", "1/2", "--segment-seconds", "10")
    assert len(load(ran, "videos")) == len(clips)
    assert_same_rows(process(clips, tmp_path / "processed", analyzer, untrained_model, fps="1/2"), ran)


def test_a_path_that_names_no_one_video_is_refused(videos, analyzer, tmp_path):
    with pytest.raises(UsageError, match=r"holds \d+ videos; name one\.$"):
        process_video(str(videos[0].parent), analyzer, Settings())
    with pytest.raises(UsageError, match="does not exist"):
        process_video(str(tmp_path / "absent.mp4"), analyzer, Settings())


def test_it_needs_no_beam_and_leaves_no_file_behind(videos, untrained_model):
    [clip] = [video for video in videos if video.name == "even-10.mkv"]
    script = f"""
import sys, tempfile, pathlib
from transforms.faces.analyzer import Analyzer
from transforms.process import process_video
from schemas.settings import Settings
with tempfile.TemporaryDirectory() as folder:
    tempfile.tempdir = folder
    timeline = process_video({str(clip)!r}, Analyzer.load({str(untrained_model)!r}, "haar"), Settings())
    assert not list(pathlib.Path(folder).glob("affectline-*"))
assert len(timeline.thumbnails) == len(set(timeline.faces.track)) > 0
assert not [name for name in sys.modules if name.startswith("apache_beam")]
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=ROOT)
