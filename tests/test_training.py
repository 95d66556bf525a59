"""Training data, labels, augmentation, resuming and calibration."""

import json
from dataclasses import replace

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from models import training
from models.augmentation import RandomAffine, augmentation
from models.data import FaceSet, read_parquet, read_training, soft_targets
from models.registry import get_architecture
from pipeline.cli import main
from schemas.emotions import EMOTIONS
from tests.tiny_faces import write_faces


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_faces(tmp_path_factory.mktemp("data") / "faces.parquet")


def faces_with(votes, fer2013=None):
    count = len(votes)
    labels = np.zeros(count, np.int64) if fer2013 is None else np.array(fer2013)
    return FaceSet(np.zeros((count, 48, 48, 1), np.uint8), labels, np.array(votes, np.float32))


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


def test_copies_of_a_picture_are_on_the_same_side_of_the_split():
    images = np.random.default_rng(0).integers(0, 256, (2000, 4, 4, 1), dtype=np.uint8)
    held_out = training.held_out_rows(np.concatenate([images, images]))
    np.testing.assert_array_equal(held_out[:2000], held_out[2000:])
    assert 0.07 < held_out.mean() < 0.13


def test_affine_changes_only_training_and_repeats_with_its_seed():
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    np.testing.assert_array_equal(RandomAffine(10, 0.1, 0.1, seed=1)(images, training=False), images)
    first = RandomAffine(10, 0.1, 0.1, seed=1)(images, training=True)
    np.testing.assert_array_equal(first, RandomAffine(10, 0.1, 0.1, seed=1)(images, training=True))
    assert np.abs(first - images).max() > 10
    still = RandomAffine(0, 0, 0, seed=1)(images, training=True)
    np.testing.assert_allclose(still, images, atol=1e-3)


def test_affine_turns_about_the_centre():
    image = np.zeros((64, 49, 49, 1), np.float32)
    image[:, 23:26, 23:26] = 255
    turned = RandomAffine(90, 0, 0, seed=0)(image, training=True).numpy()
    np.testing.assert_allclose(turned[:, 24, 24], 255, atol=1)


def test_augmented_pixels_stay_in_range():
    layers = augmentation(get_architecture("cnn48"), seed=0)
    images = np.random.default_rng(0).uniform(0, 255, (32, 48, 48, 1)).astype(np.float32)
    changed = layers(images, training=True).numpy()
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    np.testing.assert_array_equal(layers(images, training=False), images)


def test_temperature_is_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (20_000, 7))
    truth = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)  # drawn from softmax(logits)
    assert training.fit_temperature(logits * 3, truth) == pytest.approx(3, rel=0.05)


@pytest.fixture(scope="module")
def config(data):
    recipe = replace(get_architecture("cnn48").recipe, epochs=2, batch_size=32)
    return training.TrainingConfig("cnn48", str(data), "both", 7, recipe)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    return training.train(config, tmp_path_factory.mktemp("run"))


def test_a_run_leaves_its_folder(finished, config):
    folder = finished.parent
    assert json.loads((folder / "config.json").read_text())["recipe"]["epochs"] == 2
    history = (folder / "history.csv").read_text().splitlines()
    assert len(history) == 3
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    model = keras.models.load_model(finished)
    assert model.count_params() == 1_470_951
    assert model.layers[-1].classes == list(EMOTIONS)
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_a_cut_run_goes_on_as_if_it_had_not_been(finished, config, tmp_path, monkeypatch):
    def power_cut(row, epochs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "_report", power_cut)
        with pytest.raises(KeyboardInterrupt):
            training.train(config, tmp_path / "cut")
    assert not (tmp_path / "cut" / "model.keras").exists()
    resumed = training.train(config, tmp_path / "cut")
    straight = keras.models.load_model(finished).get_weights()
    for expected, weight in zip(straight, keras.models.load_model(resumed).get_weights(), strict=True):
        np.testing.assert_allclose(weight, expected, atol=1e-5)


def test_a_finished_run_is_not_done_again(finished, config):
    before = finished.stat().st_mtime_ns
    assert training.train(config, finished.parent) == finished
    assert finished.stat().st_mtime_ns == before


def test_a_folder_with_another_run_is_refused(finished, config):
    with pytest.raises(ValueError, match="other settings"):
        training.train(replace(config, seed=8), finished.parent)


def test_the_command_refuses_what_it_cannot_do(data, tmp_path):
    arguments = ["train", "--data", str(data), "-o", str(tmp_path / "run")]
    result = CliRunner().invoke(main, [*arguments, "--model", "nope"])
    assert result.exit_code == 2
    assert "There is no model 'nope'; choose one of cnn48" in result.stderr
    assert not (tmp_path / "run").exists()
    result = CliRunner().invoke(main, [*arguments, "--model", "cnn48", "--epochs", "0"])
    assert result.exit_code == 2
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(
        main, ["train", "--data", str(data), "-o", str(tmp_path / "file"), "--model", "cnn48"]
    )
    assert result.exit_code == 2
    assert "is a file" in result.stderr
