"""An analyzer is a detector and a model, loaded by their names; for crops, every picture is one face."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.classify.crop import make_crop
from models.classify.spec import find_model
from models.crop_spec import CropSpec
from schemas.errors import UsageError
from tests.helpers.drawn_faces import SIDE, DrawnClassifier, DrawnDetector, draw
from transforms.faces import analyzer as module
from transforms.faces.analyzer import Analyzer, find_faces

SPEC = find_model("default").spec


@pytest.fixture
def loaded(monkeypatch):
    """The models that were loaded."""
    models = []
    monkeypatch.setattr(module, "load_model", lambda model: models.append(model) or DrawnClassifier())
    return models


def test_it_finds_faces_and_names_their_emotions():
    analyzer = Analyzer(DrawnDetector(), DrawnClassifier(["sad"]))
    faces = find_faces(draw((60, 100), (400, 200)), analyzer)
    assert [face.box[:4] for face in faces] == [(60, 100, SIDE, SIDE), (400, 200, SIDE, SIDE)]
    assert [(face.emotion, round(face.confidence, 3)) for face in faces] == [("sad", 0.7)] * 2
    assert find_faces(draw(), analyzer) == []


def test_its_parts_stay_together(loaded):
    analyzer = Analyzer.load("default", "haar")
    assert analyzer.detector.name == "haar"
    assert analyzer.spec is analyzer.classifier.spec
    with pytest.raises(FrozenInstanceError):
        analyzer.detector = DrawnDetector()


def test_a_model_may_be_given_by_name_by_file_or_as_it_was_found(loaded, untrained_model):
    found = find_model(str(untrained_model))
    for model in ("default", str(untrained_model), found):
        Analyzer.load(model, "haar")
    assert [model.sha256 for model in loaded] == [find_model("default").sha256, found.sha256, found.sha256]


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"model": "none"}, "There is no model 'none'"),
        ({"detector": "none"}, "There is no detector 'none'"),
        ({"min_face": 0.0}, "above 0 and at most 1"),
        ({"detector": "haar", "detector_weights": "w.onnx"}, "brings its own weights"),
    ],
)
def test_what_cannot_be_had_is_refused_before_a_model_is_loaded(loaded, what, sentence):
    with pytest.raises(UsageError, match=sentence):
        Analyzer.load(**what)
    assert loaded == []


@settings(deadline=None)
@given(scale=st.floats(0.5, 2.0), height=st.integers(1, 60), width=st.integers(1, 60))
def test_a_picture_that_is_a_face_is_cut_by_no_pixel_whatever_the_models_crop(scale, height, width):
    side = max(height, width)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    [[box]] = module._WholePicture(scale).detect([picture])
    spec = replace(SPEC, input_size=side, channels=3, crop=CropSpec(scale))
    assert box[:5] == (0, 0, width, height, 1)
    crop = make_crop(picture, box.frame, spec)
    assert crop.shape == (side, side, 3)
    if height == width:
        np.testing.assert_array_equal(crop, picture)
    # Else the border is repeated, which brings no other pixels in.
    assert {*map(bytes, picture.reshape(-1, 3))} == {*map(bytes, crop.reshape(-1, 3))}
