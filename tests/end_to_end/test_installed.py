"""Detectors and models of other installed packages, shown by the one in examples/."""

import json
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest

from models.classify.classifier import load_classifier
from models.classify.spec import find_model
from models.detectors import make_detector
from models.entry_points import brought
from schemas.errors import RunError, UsageError
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import ROOT, affectline

PACKAGE = ROOT / "examples" / "affectline-centre-face"


def install(monkeypatch, folder, name, version, groups):
    """What pip would leave of a package beside its modules."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items())
        for group, points in groups.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(folder)
    brought.cache_clear()


@pytest.fixture(autouse=True)
def forgotten():
    yield
    brought.cache_clear()


@pytest.fixture
def example(monkeypatch, tmp_path):
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    monkeypatch.syspath_prepend(PACKAGE)
    install(monkeypatch, tmp_path / "site", project["name"], project["version"], project["entry-points"])


def broken(monkeypatch, tmp_path, module):
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.delitem(sys.modules, "somebodys", raising=False)
    (site / "somebodys.py").write_text(module)
    groups = {
        "affectline.detectors": {"theirs": "somebodys:make"},
        "affectline.models": {"theirs": "somebodys:PATH"},
    }
    install(monkeypatch, site, "somebodys", "2.0", groups)


@pytest.mark.usefixtures("example")
def test_a_run_takes_an_installed_detector_and_an_installed_model_by_name(tmp_path):
    clip = astronaut_clip(tmp_path / "clip.mp4", seconds=1)
    out = tmp_path / "out"
    result = affectline("run", clip, "-o", out, "--detector", "centre", "--model", "brightness")
    assert result.exit_code == 0, result.output
    faces = pd.read_parquet(out / "timelines")
    assert faces[["x", "y", "w", "h"]].drop_duplicates().to_numpy().tolist() == [[60, 60, 120, 120]]
    np.testing.assert_allclose(faces["happy"] + faces["sad"], 1, atol=1e-5)
    [video] = pd.read_parquet(out / "videos").to_dict("records")
    assert (video["detector"], video["model"]) == ("centre", "brightness")
    assert (
        len(json.loads(video["config_json"])["detector_sha256"]) == 64
    )  # another version may find other faces


@pytest.mark.usefixtures("example")
def test_the_installed_model_calls_bright_faces_happy():
    pictures = np.full((2, 48, 48, 1), [[[[60]]], [[[200]]]], np.uint8)
    assert load_classifier("brightness").predict(pictures).argmax(axis=1).tolist() == [1, 0]


@pytest.mark.usefixtures("example")
def test_what_is_installed_is_listed():
    [told] = [
        each for each in json.loads(affectline("models", "--json").output) if each["name"] == "brightness"
    ]
    assert (told["source"], told["classes"]) == ("affectline-centre-face 1.0", ["happy", "sad"])
    assert "affectline-centre-face 1.0" in affectline("models").output
    with pytest.raises(UsageError, match="choose one of mtcnn, haar, yunet, centre"):
        make_detector("retina")
    with pytest.raises(UsageError, match=r"choose .*, brightness, or the path"):
        find_model("darkness")


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch, tmp_path):
    broken(monkeypatch, tmp_path, "import a_module_that_there_is_not\n")
    for use in (make_detector, find_model):
        with pytest.raises(
            UsageError, match=r"'theirs' of the installed package somebodys 2\.0 cannot be loaded"
        ):
            use("theirs")


@pytest.mark.parametrize("row", ["(0, 0, -5, 5, 0.5)", "(0, 0, 5, 5, 50)", "(float('nan'), 0, 5, 5, 0.5)"])
def test_what_is_no_face_ends_the_run_with_the_packages_name(row, monkeypatch, tmp_path):
    broken(monkeypatch, tmp_path, f"def make(min_face): return lambda picture: [{row}]\nPATH = 'none.onnx'\n")
    detector = make_detector("theirs")
    with pytest.raises(RunError, match=r"'theirs' of somebodys 2\.0 gave faces without a place"):
        detector.detect([np.zeros((50, 50, 3), np.uint8)])
    with pytest.raises(UsageError, match=r"has no file none\.onnx that ends in"):
        find_model("theirs")


def test_small_faces_are_dropped_and_tilts_are_kept(monkeypatch, tmp_path):
    rows = "[(0, 0, 2, 2, 0.9), (10, 10, 30, 20, 0.5, 12), (-10, 0, 40, 40, 0.8)]"
    find = f"    def find(picture): return {rows}\n    find.frame_scale = 1.1\n    return find\n"
    broken(monkeypatch, tmp_path, f"def make(min_face):\n{find}PATH = ''\n")
    [[first, second]] = make_detector("theirs", min_face=0.1).detect([np.zeros((50, 50, 3), np.uint8)])
    assert (first[:4], second[:4]) == ((0, 0, 30, 40), (10, 10, 30, 20))
    assert (first.roll, second.roll, second.frame_scale) == (0, 12, 1.1)
