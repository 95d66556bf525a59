"""The README's examples run as written, on the tables of the bundled clip."""

import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from skimage import data

from pipeline.cli.main import main
from pipeline.commands.demo import clip

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


@pytest.mark.slow
def test_the_lines_of_python_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "videos").mkdir()
    shutil.copy(clip(), tmp_path / "videos/clip.mp4")
    Image.fromarray(data.astronaut()).save(tmp_path / "photo.png")
    [block, *_] = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict = {}
    exec(block, names)
    assert len(names["faces"]) == 1
    assert len(names["clip"].faces.to_pandas()) == len(names["result"].tables.faces().to_pandas()) == 34


def test_the_examples_run(demo, monkeypatch):
    monkeypatch.chdir(demo[0])
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 5
    names: dict = {}
    for block in blocks[1:]:
        exec(block, names)
    assert [*names["faces"].columns[:2], names["faces"].columns[-1]] == ["file", "video_id", "appearance"]
    assert names["shares"].index.tolist() == ["demo.mp4"]
    assert names["shares"].to_numpy().sum() == pytest.approx(1)
    assert len(names["happiness"]) == 4  # seconds until the face leaves
    assert names["happiness"].dropna().between(0, 1).all()
    assert names["reasons"].empty
