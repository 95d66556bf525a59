"""`affectline crops`: the model's own pictures of faces, in folders to label."""

import cv2
import numpy as np
import pytest

from models.classify.spec import find_model
from models.training.datasets import read_usage
from schemas.emotions import EMOTIONS
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import affectline, load
from transforms.faces.look import FaceCrop
from transforms.steps import classify_emotions

TOOLS = ["--detector", "haar"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=3)


@pytest.fixture(scope="module")
def written(clip, untrained_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("crops") / "crops"
    result = affectline("crops", clip, "-o", folder, *TOOLS, "--model", untrained_model)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_there_is_one_a_second_of_every_face_in_a_folder_of_its_class(written):
    folder, output = written
    files = sorted(folder.glob("*/*.png"))
    assert [file.name.split("-", 2)[2] for file in sorted(files, key=lambda file: file.name)] == [
        f"{milliseconds:08d}-{number}.png" for number, milliseconds in enumerate((0, 1000, 2000))
    ]
    assert {file.parent.name for file in files} <= {*EMOTIONS}
    assert f"3 faces in {folder}" in output


def test_they_are_the_very_pixels_that_the_model_gets_in_a_run(
    written, clip, untrained_model, tmp_path, monkeypatch
):
    seen = []
    real = classify_emotions.classify

    def spy(crops: list[FaceCrop], classifier):
        seen.extend(item.crop for item in crops)
        return real(crops, classifier)

    monkeypatch.setattr(classify_emotions, "classify", spy)
    options = [*TOOLS, "--model", untrained_model, "--fps", "1"]
    assert affectline("run", clip, "-o", tmp_path / "out", *options).exit_code == 0
    folder, _ = written
    files = sorted(folder.glob("*/*.png"), key=lambda file: file.name)
    mine = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files]
    assert sorted(crop.tobytes() for crop in mine) == sorted(crop.tobytes() for crop in seen)


def test_of_tables_they_are_made_with_the_runs_own_model(clip, untrained_model, tmp_path):
    out = tmp_path / "out"
    assert affectline("run", clip, "-o", out, *TOOLS, "--model", untrained_model, "--fps", "1").exit_code == 0
    result = affectline("crops", out, "-o", tmp_path / "crops")
    assert result.exit_code == 0, result.output
    labels = [
        file.parent.name for file in sorted((tmp_path / "crops").glob("*/*.png"), key=lambda file: file.name)
    ]
    raw = load(out, "timelines")[[f"raw_{name}" for name in EMOTIONS]]
    assert labels == [EMOTIONS[place] for place in raw.to_numpy().argmax(axis=1)]


def test_they_can_be_learned_from(written, untrained_model):
    folder, _ = written
    spec = find_model(str(untrained_model)).spec
    assert len(read_usage(folder, "all", spec.input_size, spec.channels)) == 3


def test_a_folder_that_holds_labels_is_not_written_into(written, clip, untrained_model):
    folder, _ = written
    result = affectline("crops", clip, "-o", folder, *TOOLS, "--model", untrained_model)
    assert (result.exit_code, "is not an empty folder" in result.output) == (2, True)


def test_a_file_that_is_no_video_is_named(tmp_path, untrained_model):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    result = affectline(
        "crops", tmp_path / "broken.mp4", "-o", tmp_path / "crops", *TOOLS, "--model", untrained_model
    )
    assert result.exit_code == 3
    assert "Not read: " in result.output
    assert np.all([not folder.is_file() for folder in tmp_path.glob("crops/*")])
