"""Fine-tuning: a saved model learns further, and is measured beside what it started from."""

import json
from dataclasses import asdict

import cv2
import keras
import numpy as np
import pytest

from models.classify.classifier import load_classifier
from models.classify.output import ClassProbabilities
from models.classify.sharpness import Softening
from models.classify.spec import find_model
from models.training import finetuning
from models.training.data import LabelledFaces
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError
from tests.helpers.commands import affectline
from tests.helpers.tiny_network_files import describe, save_onnx

SOFTENING = Softening(knee=-2.0, slope=0.25)


def write_pictures(folder, means, each=20, seed=0):
    """Noise about a brightness for each class, in a folder a class."""
    rng = np.random.default_rng(seed)
    for name, mean in means.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            picture = np.clip(rng.normal(mean, 12, (48, 48)) + rng.normal(0, 4), 0, 255)
            cv2.imwrite(str(folder / name / f"{number}.png"), picture.astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A model that says happy of bright faces and sad of dark ones, very unsure, by 16 parts of them."""
    path = tmp_path_factory.mktemp("start") / "start.keras"
    pixels = keras.Input((48, 48, 1), name="pixels")
    parts = keras.layers.AveragePooling2D(12)(keras.layers.Rescaling(1 / 255)(pixels))
    logits = keras.layers.Dense(2, name="logits")(keras.layers.Flatten()(parts))
    head = ClassProbabilities(2.0, "parts", ["happy", "sad"], {"scale": 1.1}, softening=asdict(SOFTENING))
    model = keras.Model(pixels, head(logits))
    kernel = np.full((16, 2), 0.1) * [1, -1]
    model.get_layer("logits").set_weights([kernel, np.array([-1.3, 1.3])])
    model.save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Faces that the model mostly takes for sad, and a class that it does not know."""
    means = {"sad": 60, "happy": 120, "contempt": 180}
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures", means)


@pytest.fixture(scope="module")
def tuned(start, folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    result = affectline("train", "--from", start, "--data", folder, "-o", out, "--epochs", "1")
    assert result.exit_code == 0, result.output
    return out, result.stdout


def test_one_epoch_of_ones_own_labels_makes_a_model_of_ones_own_classes(tuned):
    out, said = tuned
    spec = find_model(str(out / "model.keras")).spec
    assert spec.classes == ("happy", "sad", "contempt")
    assert (spec.input_size, spec.channels) == (48, 1)
    assert load_classifier(str(out / "model.keras")).predict(np.zeros((1, 48, 48, 1), np.uint8)).shape == (
        1,
        3,
    )
    assert f"The model is {out / 'model.keras'}; --model takes it." in said


def test_it_is_said_whether_it_is_better_than_what_it_started_from(tuned, start):
    out, said = tuned
    [told] = json.loads((out / "comparison.json").read_text())
    assert (told["part"], told["n"]) == ("held-out", 12)
    better = told["balanced_accuracy"] > told["start_balanced_accuracy"]
    assert (f"\nBetter than {start}: " in said, f"\nNOT better than {start}: " in said) == (
        better,
        not better,
    )


LONGER = ["--epochs", "head=8", "--epochs", "all=0", "--learning-rate", "head=0.3", "--batch-size", "8"]


def test_learning_longer_beats_the_start_and_keeps_its_calibration(start, folder, tmp_path):
    result = affectline("train", "--from", start, "--data", folder, "-o", tmp_path, *LONGER)
    assert result.exit_code == 0, result.output
    assert f"\nBetter than {start}: " in result.stdout
    spec = find_model(str(tmp_path / "model.keras")).spec
    assert (spec.softening, spec.crop.scale) == (SOFTENING, 1.1)


def test_with_folds_every_picture_is_held_out_once(start, tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "two", {"sad": 60, "happy": 120}, each=15)
    trained = []

    def record(parts, architecture, config, out, softening):
        trained.append((out.name, {name: len(faces) for name, faces in parts.items()}))
        out.mkdir(parents=True, exist_ok=True)
        return start

    monkeypatch.setattr(finetuning, "train_on", record)
    done = finetuning.fine_tune(str(start), folder, tmp_path / "out", finetuning.RECIPE, folds=3)
    assert [(each.part, each.n) for each in done] == [("fold 1", 10), ("fold 2", 10), ("fold 3", 10)]
    assert [name for name, _ in trained] == ["fold-1", "fold-2", "fold-3", "out"]
    assert [sum(sizes.values()) for _, sizes in trained] == [30, 30, 30, 30]
    assert "test" not in trained[-1][1]


def faces_of(labels, copies=()):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (len(labels), 4, 4, 1), np.uint8)
    for first, second in copies:
        images[second] = images[first]
    return LabelledFaces(
        images, np.array(labels), np.zeros((len(labels), 7), np.float32), np.arange(len(labels))
    )


def test_folds_have_even_parts_of_each_class_and_keep_copies_together():
    labels = [0] * 50 + [3] * 20
    copies = [(0, 1), (50, 69), (7, 30)]
    fold = finetuning._folds(faces_of(labels, copies), 5, seed=3)
    counts = np.array([np.bincount(fold[np.array(labels) == each], minlength=5) for each in (0, 3)])
    assert (np.abs(counts - [[10], [4]]) <= 1).all()
    assert all(fold[first] == fold[second] for first, second in copies)


def test_the_head_begins_as_the_models_own(start):
    architecture = finetuning._going_on_from(find_model(str(start)), ("sad", "contempt", "happy"))
    network = architecture.build(architecture)
    pictures = np.full((2, 48, 48, 1), [[[[51]]], [[[255]]]], np.float32)
    np.testing.assert_allclose(
        network(pictures), [[1.3 - 0.32, 0, 0.32 - 1.3], [1.3 - 1.6, 0, 1.6 - 1.3]], atol=1e-5
    )


def test_training_anew_takes_a_folder_of_pictures_by_its_own_labels(tmp_path, monkeypatch):
    from tests.helpers.tiny_networks import register

    register(monkeypatch)
    data = write_pictures(tmp_path / "data", dict(zip(EMOTIONS, range(20, 230, 30), strict=True)), each=12)
    result = affectline(
        "train", "tiny", "--data", data, "-o", tmp_path / "out", "--labels", "ferplus", "--epochs", "1"
    )
    assert result.exit_code == 0, result.output


def test_what_cannot_be_fine_tuned_is_refused_in_a_sentence(start, folder, tmp_path):
    def refused(*arguments):
        result = affectline("train", *arguments, "-o", tmp_path / "out")
        assert result.exit_code == 2, result.output
        assert not (tmp_path / "out").exists()
        [sentence] = result.output.splitlines()
        return sentence

    few = write_pictures(tmp_path / "few", {"happy": 100, "sad": 20}, each=9)
    assert "has 9 of happy, 9 of sad; give at least 10 pictures" in refused("--from", start, "--data", few)
    assert "Give either the MODEL" in refused("--data", folder)
    assert "Give either the MODEL" in refused("cnn48", "--from", start, "--data", folder)
    assert "--folds goes with --from" in refused("cnn48", "--folds", "3", "--data", folder)
    describe(tmp_path)
    onnx = save_onnx(tmp_path / "mine.onnx")
    assert "it is ONNX" in refused("--from", onnx, "--data", folder)


def test_a_model_made_elsewhere_cannot_be_gone_on_from(tmp_path):
    from tests.helpers.tiny_network_files import save_keras

    describe(tmp_path)
    path = save_keras(tmp_path / "mine.keras")
    with pytest.raises(UsageError, match="cannot be trained further, since it was made elsewhere"):
        finetuning._going_on_from(find_model(str(path)), ("happy", "sad"))
