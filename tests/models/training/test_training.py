"""Labels, splits, calibration, and the folder of a training run."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from models.architectures.registry import ARCHITECTURES
from models.architectures.spec import Phase
from models.classify.classifier import load_classifier
from models.training import training
from models.training.data import LabelledFaces, held_out_rows, read_parquet, read_training, soft_targets
from models.training.datasets import read_usage
from schemas.emotions import EMOTIONS
from tests.helpers.tiny_faces import write_faces
from tests.helpers.tiny_networks import SIZE, TINY, TWO, register


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces.parquet")


def faces_with(votes, fer2013=None):
    count = len(votes)
    labels = np.zeros(count, np.int64) if fer2013 is None else np.array(fer2013)
    return LabelledFaces(
        np.zeros((count, 48, 48, 1), np.uint8),
        labels,
        np.array(votes, np.float32),
        np.arange(count).astype(str),
    )


def test_reading_keeps_pictures_labels_and_votes_together(data):
    faces = read_parquet(data, "Training")
    assert faces.images.shape == (96, 48, 48, 1)
    np.testing.assert_array_equal(faces.images.mean(axis=(1, 2, 3)) // 30, faces.fer2013)
    np.testing.assert_array_equal(faces.ferplus, faces.fer2013)
    assert (faces.votes.sum(axis=1) == 10).all()
    assert faces.agreed.all()


def test_training_leaves_out_pictures_of_the_test(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(write_faces(tmp_path / "faces.parquet"))
    images = table["image"].to_pylist()
    images[3] = images[100]  # rows from 96 on are PublicTest
    column = table.schema.get_field_index("image")
    pq.write_table(table.set_column(column, "image", pa.array(images)), tmp_path / "repeated.parquet")
    assert len(read_training(tmp_path / "repeated.parquet")) == 95


def test_ferplus_needs_five_votes_and_one_winner():
    votes = [[5, 0, 0, 0, 0, 0, 0], [4, 0, 0, 0, 0, 0, 0], [3, 3, 0, 0, 0, 0, 0], [3, 2, 0, 0, 0, 0, 0]]
    assert faces_with(votes).agreed.tolist() == [True, False, False, True]


def test_soft_targets_of_each_kind_of_label():
    faces = faces_with([[0, 0, 0, 6, 0, 0, 2], [0, 0, 0, 1, 0, 0, 0]], fer2013=[6, 2])
    hard = np.eye(7)[[6, 2]]
    shares = [0, 0, 0, 0.75, 0, 0, 0.25]
    targets, known = soft_targets(faces, "fer2013")
    np.testing.assert_array_equal(targets, hard)
    assert known.tolist() == [True, True]
    targets, known = soft_targets(faces, "ferplus")
    np.testing.assert_allclose(targets[0], shares)
    assert known.tolist() == [True, False]
    targets, known = soft_targets(faces, "both")
    np.testing.assert_allclose(targets, [(shares + hard[0]) / 2, hard[1]])
    assert known.tolist() == [True, True]
    with pytest.raises(ValueError, match="choose ferplus, fer2013 or both"):
        soft_targets(faces, "other")


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.3])
def test_copies_of_a_picture_are_on_the_same_side_of_the_split(fraction):
    images = np.random.default_rng(0).integers(0, 256, (2000, 4, 4, 1), dtype=np.uint8)
    held_out = held_out_rows(np.concatenate([images, images]), fraction)
    np.testing.assert_array_equal(held_out[:2000], held_out[2000:])
    assert held_out.mean() == pytest.approx(fraction, abs=0.03)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 7))
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    assert training.fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)


def small_run(data, **changes):
    recipe = replace(TINY.recipe, **changes)
    return training.TrainingConfig("tiny", str(data), 7, recipe)


@pytest.fixture(autouse=True)
def networks(monkeypatch):
    register(monkeypatch)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        return training.train(small_run(data), tmp_path_factory.mktemp("run"))


def is_png(path):
    return path.read_bytes().startswith(b"\x89PNG")


def test_a_run_leaves_its_folder(finished, data):
    folder = finished.parent
    config = json.loads((folder / "config.json").read_text())
    assert config["recipe"]["phases"][0]["epochs"] == 2
    assert len((folder / "history.csv").read_text().splitlines()) == 3
    assert all(is_png(folder / f"{name}.png") for name in ("curves", "augmented", "class_counts"))
    model = keras.models.load_model(finished)
    assert model.layers[-1].classes == list(EMOTIONS)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    counts = list(csv.DictReader((folder / "class_counts.csv").open()))
    assert [row["class"] for row in counts] == list(EMOTIONS)
    assert sum(int(row["training"]) + int(row["validation"]) for row in counts) == 96
    assert [int(row["test"]) for row in counts] == np.bincount(
        read_parquet(data, "PublicTest").fer2013
    ).tolist()


def test_a_saved_model_assumes_the_shares_of_its_training(finished):
    faces = read_usage(Path(small_data(finished)), "Training", SIZE, 3)
    faces = faces.take(~held_out_rows(faces.images, 0.1))
    targets, known = soft_targets(faces, TINY.recipe.labels)
    expected = (targets[known].sum(axis=0) + 1) / (known.sum() + len(EMOTIONS))
    np.testing.assert_allclose(load_classifier(str(finished)).spec.prior, expected, rtol=1e-6)


def test_class_weights_change_the_prior_and_a_class_without_pictures_is_not_ruled_out():
    targets = np.array([[1, 0, 0, 0, 0, 0, 0]] * 6 + [[0, 0, 0, 0.5, 0, 0, 0.5]] * 4, np.float32)
    balanced = replace(TINY.recipe, class_weights="balanced", class_boosts={"happy": 2.0})
    # Each class counts 10 / 3, happy twice that, and one picture more.
    shares = np.array([10 / 3, 0, 0, 20 / 3, 0, 0, 10 / 3]) + 1
    found = training.training_prior(targets, balanced, TINY)
    np.testing.assert_allclose(found, shares / shares.sum())


def test_a_run_measures_itself_on_what_it_did_not_train_on(finished):
    folder = finished.parent / "evaluation"
    measured = json.loads((folder / "evaluation.json").read_text())
    held_out = held_out_rows(read_usage(Path(small_data(finished)), "Training", SIZE, 3).images, 0.1)
    assert [(each["model"], each["part"], each["labels"], each["n"]) for each in measured] == [
        ("tiny", "validation", "fer2013", held_out.sum()),
        ("tiny", "validation", "ferplus", held_out.sum()),
        ("tiny", "PublicTest", "fer2013", 40),
        ("tiny", "PublicTest", "ferplus", 40),
    ]
    pictures = sorted(path.name for path in folder.glob("tiny-publictest-ferplus-*"))
    assert pictures == [f"tiny-publictest-ferplus-{kind}.png" for kind in ("confusion", "reliability")]
    assert "macro avg" in (folder / "evaluation.txt").read_text()


def small_data(finished):
    return json.loads((finished.parent / "config.json").read_text())["data"]


def test_a_finished_run_is_not_done_again(finished, data):
    before = finished.stat().st_mtime_ns
    assert training.train(small_run(data), finished.parent) == finished
    assert finished.stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(finished, data):
    with pytest.raises(ValueError, match="other settings"):
        training.train(replace(small_run(data), seed=8), finished.parent)


def test_a_folder_whose_run_came_to_nothing_is_taken_over(data, tmp_path):
    wrong = small_run(data, phases=(Phase("x", 1, 1e-3, backbone=(4, 99)),))
    with pytest.raises(ValueError, match="has 6 layers"):
        training.train(wrong, tmp_path)
    training.train(small_run(data, phases=(Phase("x", 1, 1e-3),)), tmp_path)
    assert "99" not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ((Phase("a", 1, 1.0), Phase("a", 2, 1.0)), "a, a need names of their own"),
        ((Phase("a", 0, 1.0),), "no epoch to train"),
        ((Phase("a", 3, 1.0, warmup_epochs=3, schedule="cosine"),), "warms up for 3 of its 3 epochs"),
    ],
)
def test_recipes_that_cannot_be_followed_are_refused(data, tmp_path, phases, message):
    with pytest.raises(ValueError, match=message):
        training.train(small_run(data, phases=phases), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_backbone_weights_reach_the_build_once_and_need_a_backbone(data, tmp_path, monkeypatch):
    asked = []

    def build(architecture):
        asked.append(architecture.backbone_weights)
        return TINY.build(architecture)

    monkeypatch.setitem(ARCHITECTURES, "tiny", replace(TINY, build=build))
    config = small_run(data, phases=(Phase("x", 1, 1e-3),))
    training.train(replace(config, backbone_weights="imagenet"), tmp_path)
    assert asked == ["imagenet", "none"]  # the second takes the weights of the best epoch
    with pytest.raises(ValueError, match="'cnn48' has no backbone"):
        training.train(replace(config, model="cnn48", backbone_weights="none"), tmp_path / "other")


def test_a_model_of_two_classes_learns_from_their_pictures_alone(data, tmp_path):
    path = training.train(training.TrainingConfig("two", str(data), 0, TWO.recipe), tmp_path)
    faces = read_usage(data, "Training", SIZE, 1)
    counts = {row["class"]: row for row in csv.DictReader((tmp_path / "class_counts.csv").open())}
    held_out = held_out_rows(faces.images, 0.3)
    assert list(counts) == ["happy", "sad"]
    for name, row in counts.items():
        of_class = faces.fer2013 == EMOTIONS.index(name)
        assert (int(row["training"]), int(row["validation"])) == (
            (of_class & ~held_out).sum(),
            (of_class & held_out).sum(),
        )
    classifier = load_classifier(str(path))
    assert classifier.spec.classes == ("happy", "sad")
    test = read_usage(data, "PublicTest", SIZE, 1)
    for column, name in enumerate(classifier.spec.classes):
        probabilities = classifier.predict(test.images[test.fer2013 == EMOTIONS.index(name)])
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
        assert (probabilities[:, column] > 0.5).all()  # brightness tells them apart
