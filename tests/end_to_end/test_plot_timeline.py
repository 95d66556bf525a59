"""examples/plot_timeline.py."""

import subprocess
import sys

import pytest
from PIL import Image

from tests.helpers.commands import ROOT
from tests.helpers.example_tables import write_example_tables

matplotlib = pytest.importorskip("matplotlib")


def plot(*arguments):
    return subprocess.run(
        [sys.executable, ROOT / "examples/plot_timeline.py", *arguments],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
    )


def test_it_draws_and_says_in_a_sentence_why_it_cannot(tmp_path):
    write_example_tables(tmp_path / "out")
    done = plot(tmp_path / "out", tmp_path / "talk.png", "talk-00000000aa")
    assert (done.returncode, done.stderr) == (0, "")
    with Image.open(tmp_path / "talk.png") as picture:
        colors = {color for _, color in picture.convert("RGB").getcolors(1 << 24)}
    first_two = {
        tuple(round(255 * part) for part in each) for each in matplotlib.colormaps["tab10"].colors[:2]
    }
    assert first_two <= colors  # a colour a person
    for arguments, words in (
        ((), "Give a folder of tables"),
        ((tmp_path, tmp_path / "x.png"), "holds no tables"),
        ((tmp_path / "out", tmp_path / "x.png", "nobody"), "has no video 'nobody'"),
        ((tmp_path / "out", tmp_path / "x.png", "broken-00000000cc"), "No face was found"),
    ):
        refused = plot(*arguments)
        assert refused.returncode == 1
        assert words in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
