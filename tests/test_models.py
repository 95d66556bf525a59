"""Architectures, saved models, crops and inference."""

import hashlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from models.classifier import BATCH_SIZES, load_classifier, make_crop, read_model_spec
from models.output import ClassProbabilities
from models.registry import get_architecture
from models.spec import CropSpec
from schemas.emotions import EMOTIONS
from tests.tiny_model import save_untrained_model


@pytest.fixture(scope="module")
def model_path(tmp_path_factory):
    return save_untrained_model(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def classifier(model_path):
    return load_classifier(str(model_path))


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (70, 48, 48, 1), dtype=np.uint8)


def test_cnn48_has_the_layers_of_its_source():
    architecture = get_architecture("cnn48")
    network = architecture.build(architecture)
    by_layer = [layer.count_params() for layer in network.layers if layer.count_params()]
    stages = [320, 128, 9_248, 128, 18_496, 256, 36_928, 256, 73_856, 512, 147_584, 512]
    assert by_layer == [*stages, 1_179_904, 1_024, 1_799]
    assert (network.count_params(), architecture.trainable_parameters) == (1_470_951, 1_469_543)


def test_a_saved_model_has_the_parameters_of_its_architecture(model_path):
    assert keras.models.load_model(model_path).count_params() == 1_470_951


def test_the_file_describes_itself(model_path):
    spec = read_model_spec(str(model_path))
    assert spec.classes == EMOTIONS
    assert (spec.architecture, spec.input_size, spec.channels) == ("cnn48", 48, 1)
    assert spec.crop == get_architecture("cnn48").crop
    assert spec.sha256 == hashlib.sha256(model_path.read_bytes()).hexdigest()


def test_a_description_needs_no_tensorflow(model_path):
    program = (
        "import sys; from models.classifier import read_model_spec; "
        f"read_model_spec({str(model_path)!r}); sys.exit(bool({{'tensorflow', 'keras'}} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_temperature_softens():
    logits = np.array([[3.0, 0.0, 1.0]], np.float32)
    settings = {"architecture": "a", "classes": ["a", "b", "c"], "crop": {"scale": 1.0}}
    softened = ClassProbabilities(temperature=2.0, **settings)(logits).numpy()
    expected = np.exp(logits / 2) / np.exp(logits / 2).sum()
    np.testing.assert_allclose(softened, expected, rtol=1e-5)


def test_predictions_are_those_of_the_saved_graph(classifier, model_path, crops):
    probabilities = classifier.predict(crops)
    assert probabilities.dtype == np.float32
    assert probabilities.shape == (70, 7)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    saved = keras.models.load_model(model_path)(crops.astype(np.float32), training=False).numpy()
    np.testing.assert_allclose(probabilities, saved, atol=1e-5)


@pytest.mark.parametrize("count", [1, 2, 8, 9, 64, 65])
def test_neighbours_in_a_batch_do_not_matter(classifier, crops, count):
    together = classifier.predict(crops)
    np.testing.assert_allclose(classifier.predict(crops[:count]), together[:count], atol=1e-4)
    assert classifier.predict(crops).std(axis=0).max() > 1e-3  # else any two answers would agree


def test_no_size_of_batch_traces_again(classifier, crops):
    for count in (0, 1, 3, 8, 20, 64, 70):
        assert len(classifier.predict(crops[:count])) == count
    graphs = classifier._graphs
    assert {size: graphs[size].experimental_get_tracing_count() for size in BATCH_SIZES} == dict.fromkeys(
        BATCH_SIZES, 1
    )


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 48, 48, 1), np.float32),
        np.zeros((1, 48, 48, 3), np.uint8),
        np.zeros((48, 48, 1), np.uint8),
    ],
)
def test_other_crops_are_refused(classifier, wrong):
    with pytest.raises(ValueError, match="takes crops uint8"):
        classifier.predict(wrong)


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ValueError, match=r"There is no model 'nope'; choose .*path of a .keras file"):
        read_model_spec("nope")
    with pytest.raises(ValueError, match=r"There is no model file 'nope.keras'"):
        read_model_spec("nope.keras")
    with pytest.raises(ValueError, match="There is no model 'nope'; choose one of cnn48"):
        get_architecture("nope")


@pytest.mark.parametrize("content", ["text", "zip", "other model"])
def test_a_foreign_file_is_refused(tmp_path, content):
    path = tmp_path / "foreign.keras"
    if content == "text":
        path.write_text("not a model")
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "[]")
    else:
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match="not a model saved by affectline"):
        read_model_spec(str(path))


@pytest.fixture
def spec(model_path):
    from dataclasses import replace

    return replace(read_model_spec(str(model_path)), crop=CropSpec(scale=1.0))


def test_a_square_box_of_the_input_size_is_cut_pixel_by_pixel(spec):
    grey = np.random.default_rng(1).integers(0, 256, (100, 120), dtype=np.uint8)
    image = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(make_crop(image, (30, 20, 48, 48), spec)[..., 0], grey[20:68, 30:78])


def test_a_crop_is_square_around_the_centre_of_the_box(spec):
    image = np.zeros((300, 300, 3), np.uint8)
    image[100:196, 100:196] = 255
    assert (make_crop(image, (124, 100, 48, 96), spec) == 255).all()
    assert make_crop(image, (124, 98, 48, 98), spec).min() < 255


def test_scale_shrinks_the_box(spec):
    from dataclasses import replace

    image = np.zeros((200, 200, 3), np.uint8)
    image[76:124, 76:124] = 255
    half = replace(spec, crop=CropSpec(scale=0.5))
    assert (make_crop(image, (52, 52, 96, 96), half) == 255).all()
    assert (make_crop(image, (52, 52, 96, 96), spec) == 0).any()


def test_the_border_is_repeated_outside_the_picture(spec):
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 0] = 200
    crop = make_crop(image, (-24, 0, 48, 48), spec)[..., 0]
    assert (crop[:, :25] == 200).all()
    assert (crop[:, 25:] == 0).all()
    assert (make_crop(image, (-500, -500, 48, 48), spec) == 200).all()


def test_red_green_and_blue_are_weighed_as_light(spec):
    image = np.zeros((48, 48, 3), np.uint8)
    image[..., 0] = 255
    assert make_crop(image, (0, 0, 48, 48), spec)[0, 0, 0] == 76  # 0.299 of 255: red comes first


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 5), (0, 0, 5, -1), (float("nan"), 0, 5, 5), (0, 0, float("inf"), 5)]
)
def test_an_empty_box_is_refused(spec, box):
    with pytest.raises(ValueError, match="no positive, finite size"):
        make_crop(np.zeros((10, 10, 3), np.uint8), box, spec)


def test_a_grey_picture_is_refused(spec):
    with pytest.raises(ValueError, match="RGB picture"):
        make_crop(np.zeros((10, 10), np.uint8), (0, 0, 5, 5), spec)
