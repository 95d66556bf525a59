"""Another processor gives nearly the same numbers: tried by taking from this one what it has beyond SSE4."""

import numpy as np
import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import load, start

# What each library that computes reads, and what it then does without. LiteRT and FFmpeg have no such switch.
WITHOUT = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4",
    "OPENCV_CPU_DISABLE": "AVX,FP16,AVX2,FMA3,AVX512_SKX",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def run(video, out, *options):
    process = start("run", video, "-o", out, *options, cwd=out.parent)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, printed + errors
    rows = load(out, "timelines")
    assert len(rows) > 10
    return rows


@pytest.mark.parametrize("detector", ["mtcnn", "haar"])
def test_an_older_processor_says_the_same_within_a_thousandth(tmp_path, monkeypatch, detector, capsys):
    video = astronaut_clip(tmp_path / "clip.mp4", seconds=4)
    ours = run(video, tmp_path / "ours", "--detector", detector)
    for name, value in WITHOUT.items():
        monkeypatch.setenv(name, value)
    other = run(video, tmp_path / "other", "--detector", detector)
    assert len(ours) == len(other)
    assert (ours["emotion"] == other["emotion"]).all()
    numbers = ours.select_dtypes(np.floating).columns
    differences = (ours[numbers] - other[numbers]).abs().max()
    with capsys.disabled():
        print(f"\n{detector}: largest differences\n{differences[differences > 0].to_string()}")
    boxes = ["x", "y", "w", "h"]
    assert differences.drop(boxes).max() < 1e-3
    assert differences[boxes].max() < 1e-1  # pixels
