"""The methods paragraph says what was done, and nothing that is not known."""

import pytest

from models.classify.spec import find_model
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import affectline


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cite")
    astronaut_clip(folder / "videos/clip.mp4", seconds=1)
    (folder / "videos/broken.mp4").write_text("This is no video.\n" * 50)
    done = affectline("run", folder / "videos", "-o", folder / "out", "--detector", "haar", "--fps", "2.5")
    assert done.exit_code == 3, done.output
    return folder


def test_everything_that_was_used_is_named(folder):
    told = affectline("cite", folder / "out").output
    assert told.count("\n") == 1
    assert told.startswith("Facial expressions were measured with affectline 0.1.0 ")
    for phrase in (
        "in 1 video of 1.0 s in all",
        "sampled 2.5 times a second",
        "1 further video could not be read.",
        "at least 8% of the frame's shorter side were found by the detector haar,",
        f"by the model default (SHA-256 {find_model('default').sha256})",
        "as angry, disgust, fear, happy, sad, surprise or neutral,",
        "an emotion lasts 3 s in the mean",
        "The model learned from FER2013, FER+, ",
        "Of 3 samples, 3 showed a face: 3 faces in 1 track.",
    ):
        assert phrase in told


def test_the_window_is_the_one_that_smoothed_and_each_way_has_its_paragraph(folder):
    assert affectline("resmooth", folder / "out", "--smoothing", "median", "--window", "1.5").exit_code == 0
    told = affectline("cite", folder / "out").output
    assert "running median over time (window 1.5 s, centred)" in told
    more = astronaut_clip(folder / "more.mp4", seconds=1)
    affectline("run", more, "-o", folder / "out", "--detector", "haar", "--smoothing", "none")
    paragraphs = affectline("cite", folder / "out").output.strip().split("\n\n")
    assert len(paragraphs) == 2
    assert sum("were not smoothed" in paragraph for paragraph in paragraphs) == 1


def test_a_model_of_ones_own_has_data_that_we_do_not_know(folder, untrained_model):
    affectline("run", folder / "videos/clip.mp4", "-o", folder / "own", "--model", untrained_model)
    told = affectline("cite", folder / "own").output
    assert "by the model untrained.keras (SHA-256 " in told
    assert "is not recorded here: name them." in told


def test_where_there_are_no_tables(tmp_path):
    done = affectline("cite", tmp_path)
    assert done.exit_code == 2
    assert done.output.startswith(f"affectline: {tmp_path} holds no tables; ")
