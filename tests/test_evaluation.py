"""Figures of a classifier, checked by hand."""

import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import models
from models.evaluation import expected_calibration_error, score
from pipeline.cli import main
from schemas.emotions import EMOTIONS
from tests.tiny_faces import write_faces
from tests.tiny_model import save_untrained_model


def test_figures_of_four_answers():
    truth = np.array([0, 0, 3, 6])
    probabilities = np.full((4, 7), 0.05)
    for row, predicted in enumerate((0, 3, 3, 6)):
        probabilities[row, predicted] = 0.7
    figures = score(truth, probabilities)
    assert figures["n"] == 4
    assert figures["accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 7)
    assert figures["recall"] == dict(zip(EMOTIONS, [0.5, 0, 0, 1, 0, 0, 1], strict=True))
    assert figures["log_loss"] == pytest.approx(-(3 * np.log(0.7) + np.log(0.05)) / 4)
    assert figures["ece"] == pytest.approx(0.05)
    assert figures["confusion"][0] == [1, 0, 0, 1, 0, 0, 0]  # rows are the truth


def test_calibration_error_is_weighed_by_bin():
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]])
    truth = np.array([0, 1, 0, 1])  # 0.9: half right; 0.6: all right
    assert expected_calibration_error(truth, probabilities) == pytest.approx((0.4 * 2 + 0.4 * 2) / 4)


def test_a_sure_and_right_answer_is_calibrated():
    assert expected_calibration_error(np.array([1]), np.array([[0.0, 1.0]])) == 0


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_untrained_model(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces.parquet")


def test_the_command_prints_json(model, data):
    result = CliRunner().invoke(main, ["evaluate", "--model", str(model), "--data", str(data), "--json"])
    figures = json.loads(result.stdout)
    assert list(figures) == ["fer2013", "ferplus"]
    assert figures["ferplus"]["n"] == 40
    assert np.sum(figures["fer2013"]["confusion"]) == 40


def test_the_command_prints_a_table_of_another_usage(model, data):
    arguments = ["evaluate", "--model", str(model), "--data", str(data), "--usage", "Training"]
    result = CliRunner().invoke(main, arguments)
    assert "fer2013: 96 pictures" in result.stdout
    assert "ECE" in result.stdout


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model", "nope"], "There is no model 'nope'"),
        (["--usage", "nope"], "no pictures of usage 'nope'; it has PublicTest, Training"),
        (["--data", __file__], "cannot be read as Parquet"),
    ],
)
def test_bad_input_is_one_sentence(model, data, wrong, message):
    arguments = ["evaluate", "--model", str(model), "--data", str(data), *wrong]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_scikit_learn_the_command_says_what_to_install(model, data, monkeypatch):
    monkeypatch.delitem(sys.modules, "sklearn.metrics")
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "models.evaluation")
    monkeypatch.delattr(models, "evaluation")
    result = CliRunner().invoke(main, ["evaluate", "--model", str(model), "--data", str(data)])
    assert result.exit_code == 2
    assert "pip install 'affectline[train]'" in result.stderr
