"""The README's examples run as written, on the tables of the bundled clip."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main

README = Path(__file__).resolve().parents[2] / "README.md"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    result = CliRunner().invoke(main, ["demo", "-o", str(folder / "out")])
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_the_demo_shows_one_face_that_leaves_and_returns(demo):
    _, printed = demo
    lines = printed.splitlines()
    assert "videos   1 of 1 done, 10.0 s of video" in lines
    assert "samples  50, 34 with a face" in lines
    assert "faces    34 in 2 tracks" in lines
    assert any(re.match(r"  happy +\d+\.\d%", line) for line in lines)


def test_the_examples_run(demo, monkeypatch):
    monkeypatch.chdir(demo[0])
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 4
    names: dict = {}
    for block in blocks:
        exec(block, names)
    assert [*names["faces"].columns[:2], names["faces"].columns[-1]] == ["file", "video_id", "appearance"]
    assert names["shares"].index.tolist() == ["demo.mp4"]
    assert names["shares"].to_numpy().sum() == pytest.approx(1)
    assert len(names["happiness"]) == 4  # seconds until the face leaves
    assert names["happiness"].dropna().between(0, 1).all()
    assert names["reasons"].empty
