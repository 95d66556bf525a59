"""The handler that classifies in batches: an answer for each face, or none at all."""

from types import SimpleNamespace

import numpy as np
import pytest

from models.classify.spec import ModelRef
from schemas.elements import Face
from schemas.emotions import EMOTIONS
from transforms.faces.look import FaceCrop
from transforms.steps.classify_emotions import EmotionModelHandler


@pytest.fixture
def handler():
    return EmotionModelHandler(ModelRef("any", "any", "0", None, None), batch_size=8)


def crops(count):
    face = Face("v", 0, 0, 1.0, 2.0, 30.0, 40.0, 0.9, 5.0, 0.0, 2.0, -1.7, [], b"", b"")
    return [
        FaceCrop(face._replace(sample=number), np.zeros((48, 48, 1), np.uint8)) for number in range(count)
    ]


def model(answers):
    rows = np.arange(answers, dtype=np.float32)[:, None] + np.zeros((1, len(EMOTIONS)), np.float32)
    return SimpleNamespace(predict_emotions=lambda _: rows, slots=lambda faces: faces)


def test_each_face_gets_its_own_answer(handler):
    faces = list(handler.run_inference(crops(3), model(3)))
    assert [(face.sample, face.raw) for face in faces] == [(n, [n] * len(EMOTIONS)) for n in range(3)]


@pytest.mark.parametrize("answers", [0, 2, 4])
def test_another_number_of_answers_than_faces_is_refused(handler, answers):
    """Beam's keyed handlers would zip what there is, and give faces each other's emotions."""
    with pytest.raises(RuntimeError, match=f"The model gave {answers} answers for 3 faces."):
        handler.run_inference(crops(3), model(answers))


def test_a_batchs_size_is_that_of_its_pixels(handler):
    assert handler.get_num_bytes(crops(3)) == 3 * 48 * 48
