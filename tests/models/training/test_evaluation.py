"""Figures of classifiers, checked by hand, and models side by side."""

import json
import sys
import warnings
from dataclasses import replace

import cv2
import keras
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import models.training
from models.training.data import fit_picture
from models.training.datasets import list_usages, read_usage
from models.training.evaluation import (
    Measurement,
    evaluate_all,
    expected_calibration_error,
    predictions,
    score,
    write_evaluation,
)
from models.training.training import calibrated
from pipeline.cli.main import main
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError
from tests.helpers.tiny_faces import write_faces
from tests.helpers.tiny_model import save_untrained_model
from tests.helpers.tiny_networks import TWO

PIXEL = cv2.imencode(".png", np.zeros((1, 1), np.uint8))[1].tobytes()


def answers(predicted, sure=0.7):
    """Probabilities of these classes, the rest shared evenly."""
    probabilities = np.full((len(predicted), 7), (1 - sure) / 6)
    probabilities[range(len(predicted)), predicted] = sure
    return probabilities


def test_figures_of_four_answers():
    truth = np.array([0, 0, 3, 6])
    figures = score(truth, answers([0, 3, 3, 6]))
    assert figures["n"] == 4
    assert figures["accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert figures["macro_precision"] == pytest.approx((1 + 0.5 + 1) / 7)
    assert figures["macro_recall"] == pytest.approx((0.5 + 1 + 1) / 7)
    assert figures["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 7)
    assert figures["precision"] == dict(zip(EMOTIONS, [1, 0, 0, 0.5, 0, 0, 1], strict=True))
    assert figures["recall"] == dict(zip(EMOTIONS, [0.5, 0, 0, 1, 0, 0, 1], strict=True))
    assert figures["f1"]["happy"] == pytest.approx(2 / 3)
    assert figures["support"] == dict(zip(EMOTIONS, [2, 0, 0, 1, 0, 0, 1], strict=True))
    assert figures["cohen_kappa"] == pytest.approx((0.75 - 5 / 16) / (1 - 5 / 16))  # 5/16: by chance
    assert figures["log_loss"] == pytest.approx(-(3 * np.log(0.7) + np.log(0.05)) / 4)
    assert figures["ece"] == pytest.approx(0.05)
    assert figures["roc_auc"] is None  # three classes do not occur
    assert figures["confusion"][0] == [1, 0, 0, 1, 0, 0, 0]  # rows are the truth


def test_figures_that_look_beyond_the_first_answer():
    truth = np.arange(7)
    probabilities = answers((truth + 1) % 7, 0.5)
    probabilities[:5, :] = answers(truth[:5], 0.5)
    probabilities[5] = [0.1, 0.1, 0.1, 0.05, 0.05, 0.2, 0.4]
    probabilities[6] = [0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05]
    figures = score(truth, probabilities)
    assert figures["accuracy"] == pytest.approx(5 / 7)
    assert figures["top2_accuracy"] == pytest.approx(6 / 7)

    # One against rest, the share of pictures that the class's own comes before; half where they tie.
    def area(k):
        others = np.delete(probabilities[:, k], k)
        return ((probabilities[k, k] > others) + (probabilities[k, k] == others) / 2).mean()

    assert figures["roc_auc"] == pytest.approx(np.mean([area(k) for k in range(7)]))


def test_figures_of_two_classes():
    truth = np.array([0, 0, 1, 1])
    probabilities = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7]])
    figures = score(truth, probabilities, ("happy", "sad"))
    assert figures["accuracy"] == 0.75
    assert figures["roc_auc"] == 1
    assert figures["top2_accuracy"] is None
    assert figures["recall"] == {"happy": 0.5, "sad": 1.0}
    assert figures["confusion"] == [[1, 1], [0, 2]]


def test_a_single_class_has_no_kappa_and_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = score(np.array([3, 3]), answers([3, 3]))
    assert (figures["accuracy"], figures["cohen_kappa"], figures["roc_auc"]) == (1, None, None)


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
def two(tmp_path_factory):
    """An untrained model of happy and sad."""
    path = tmp_path_factory.mktemp("model") / "two.keras"
    keras.utils.set_random_seed(0)
    calibrated(TWO.build(TWO), TWO, temperature=1.0).save(path)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces.parquet")


def run(*arguments):
    return CliRunner().invoke(main, ["evaluate", *map(str, arguments)])


def test_models_of_other_sizes_and_classes_side_by_side(model, two, data, tmp_path):
    result = run("--model", model, "--model", two, "--data", data, "--json", "-o", tmp_path / "out")
    measured = json.loads(result.stdout)
    assert [(each["model"], each["labels"], each["part"]) for each in measured] == [
        (str(path), labels, "PublicTest") for path in (model, two) for labels in ("fer2013", "ferplus")
    ]
    assert [np.sum(each["confusion"]) for each in measured] == [each["n"] for each in measured]
    assert [each["n"] for each in measured[:2]] == [40, 40]
    assert measured[2]["classes"] == ["happy", "sad"]
    assert measured[2]["support"] == {name: measured[0]["support"][name] for name in ("happy", "sad")}
    assert json.loads((tmp_path / "out/evaluation.json").read_text()) == measured
    for kind in ("confusion", "reliability"):
        pictures = list((tmp_path / "out").glob(f"*-{kind}.png"))
        assert len(pictures) == 4
        assert all(cv2.imread(str(path)) is not None for path in pictures)


def test_the_table_and_the_reports_as_text(model, two, data):
    result = run("--model", model, "--model", two, "--data", data, "--usage", "Training")
    table, *reports = result.stdout.split("\n\n\n")
    header, *lines = table.splitlines()
    assert header.split()[:5] == ["model", "part", "labels", "n", "accuracy"]
    assert [line.split()[3] for line in lines[:2]] == ["96", "96"]
    assert len(lines) == 4
    assert lines[2].split()[10] == "-"  # there is no second answer to count among two classes
    alone = run("--model", two, "--data", data).stdout
    assert alone.splitlines()[1].split()[10] == "-"
    assert reports[0].startswith(f"{model} on Training, fer2013 labels")
    assert "macro avg" in reports[0]
    assert "true \\ predicted" in reports[0]


def test_a_folder_of_pictures_by_class(two, tmp_path):
    rng = np.random.default_rng(0)
    for folder, count in (("happiness", 3), ("sadness", 2), ("neutral", 4)):
        (tmp_path / "test" / folder).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(tmp_path / f"test/{folder}/{i}.png"), rng.integers(0, 256, (30, 40, 3)))
    [measured] = evaluate_all([str(two)], tmp_path)
    assert (measured.part, measured.labels) == ("test", "own")
    assert measured.figures["support"] == {"happy": 3, "sad": 2}
    for folder in ("happiness", "sadness"):
        (tmp_path / "test" / folder).rename(tmp_path / folder)
    with pytest.raises(ValueError, match="'test' has no picture of happy or sad"):
        evaluate_all([str(two)], tmp_path)


def test_two_models_of_one_name_are_refused_before_anything_is_written(two, data, tmp_path):
    [measured, _] = evaluate_all([str(two)], data)
    with pytest.raises(ValueError, match="same name"):
        write_evaluation([measured, replace(measured, figures={})], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["--model", "nope"], "There is no model 'nope'"),
        (["--usage", "nope"], "no pictures of usage 'nope'; it has PublicTest, Training"),
        (["--data", __file__], "cannot be read as Parquet"),
    ],
)
def test_bad_input_is_one_sentence(model, data, wrong, message):
    result = run("--model", model, "--data", data, *wrong)
    assert result.exit_code == 2
    assert message in result.stderr


def test_without_scikit_learn_the_command_says_what_to_install(model, data, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("sklearn")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "models.training.evaluation")
    monkeypatch.delattr(models.training, "evaluation")
    result = run("--model", model, "--data", data)
    assert result.exit_code == 2
    assert "pip install 'affectline[train]'" in result.stderr


def test_answers_picture_by_picture(model, two, data, tmp_path):
    out = tmp_path / "new" / "answers.csv"
    result = run("--model", model, "--model", two, "--data", data, "--predictions", out, "--json")
    by_labels = {each["labels"]: each for each in json.loads(result.stdout) if each["model"] == str(model)}
    table = pd.read_csv(out)
    truths = ["true_fer2013", "true_ferplus"]
    assert list(table.columns) == ["model", "part", "image_id", *truths, "predicted", *EMOTIONS]
    mine = table[table["model"] == str(model)]
    assert mine["image_id"].tolist() == list(range(96, 136))  # of PublicTest, in its order
    assert (mine["part"] == "PublicTest").all()
    for labels in ("fer2013", "ferplus"):
        right = (mine[f"true_{labels}"] == mine["predicted"]).mean()
        assert right == pytest.approx(by_labels[labels]["accuracy"])
    np.testing.assert_allclose(mine[[*EMOTIONS]].sum(axis=1), 1, atol=1e-5)
    assert (mine[[*EMOTIONS]].idxmax(axis=1) == mine["predicted"]).all()
    others = table[table["model"] == str(two)]
    assert others["angry"].isna().all()
    assert set(others["predicted"]) <= {"happy", "sad"}


def test_a_picture_without_one_of_the_labels_is_in_the_table_all_the_same():
    classes = ("happy", "sad")
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    both = Measurement(
        "m", "p", "fer2013", classes, np.arange(2), np.array(["a", "b"]), np.arange(2), sure, {}
    )
    one = replace(
        both,
        labels="ferplus",
        rows=both.rows[1:],
        ids=both.ids[1:],
        truth=both.truth[:1],
        probabilities=sure[1:],
    )
    table = predictions([both, one])
    assert table["image_id"].tolist() == ["a", "b"]
    assert table["true_fer2013"].tolist() == ["happy", "sad"]
    assert table["true_ferplus"].isna().tolist() == [True, False]
    assert table["true_ferplus"].iloc[1] == "happy"
    assert table["predicted"].tolist() == ["happy", "sad"]
    np.testing.assert_array_equal(table[[*classes]], sure)


def test_pictures_of_any_size_and_colour_in_a_parquet_file(two, tmp_path):
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, shape).astype(np.uint8) for shape in ((72, 72, 3), (30, 40), (48, 48))]
    columns = {
        "image_id": ["x", "y", "z"],
        "label": ["happiness", "sad", "neutral"],
        "image": [cv2.imencode(".png", picture)[1].tobytes() for picture in pictures],
    }
    path = tmp_path / "web.parquet"
    pq.write_table(pa.table(columns), path)
    assert list_usages(path) == ["all"]
    faces = read_usage(path, "all", 64, 1)
    assert faces.ids.tolist() == ["x", "y", "z"]
    for face, picture in zip(faces.images, pictures, strict=True):
        rgb = picture[..., ::-1] if picture.ndim == 3 else picture
        np.testing.assert_array_equal(face, fit_picture(rgb, 64, 1))
    [measured] = evaluate_all([str(two)], path)
    assert (measured.part, measured.labels, measured.ids.tolist()) == ("all", "own", ["x", "y"])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"image": [b"x"], "label": ["happy"]}, "The picture 0 in .* cannot be read"),
        ({"image": [b""], "label": ["happy"], "image_id": ["a"]}, "The picture a in .* cannot be read"),
        ({"image": [PIXEL], "label": ["smug"]}, "a label 'smug', which is none of angry"),
        ({"image": [PIXEL]}, "lacks the columns label"),
        ({"label": ["happy"]}, "lacks the columns image"),
        ({"image": [PIXEL], "label": ["sad"], "ferplus_sad": [1]}, "lacks the columns ferplus_angry"),
    ],
)
def test_a_parquet_file_that_cannot_be_read_says_why(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(UsageError, match=message):
        read_usage(tmp_path / "bad.parquet", "all", 48, 1)
