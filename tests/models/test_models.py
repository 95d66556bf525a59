"""Architectures, saved models, crops and inference."""

import hashlib
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage import data

from models.architectures.registry import get_architecture
from models.classify.classifier import CPU_BATCH_SIZES, GPU_BATCH_SIZE, Classifier, load_classifier
from models.classify.crop import make_crop
from models.classify.litert import add_litert
from models.classify.output import ClassProbabilities
from models.classify.spec import find_model
from models.crop_spec import CropSpec
from models.detectors import FaceFrame
from schemas.emotions import EMOTIONS
from schemas.errors import ModelChangedError
from tests.helpers.tiny_model import save_untrained_model


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
    model = find_model(str(model_path))
    spec = model.spec
    assert spec.classes == EMOTIONS
    assert (spec.architecture, spec.input_size, spec.channels) == ("cnn48", 48, 1)
    assert spec.crop == get_architecture("cnn48").crop
    assert (model.name, model.location, model.path) == (str(model_path), str(model_path), model_path)
    assert model.sha256 == hashlib.sha256(model_path.read_bytes()).hexdigest()


def test_a_file_that_is_replaced_is_not_loaded(model_path, tmp_path):
    path = tmp_path / "model.keras"
    shutil.copy(model_path, path)
    model = find_model(str(path))
    add_litert(path)
    with pytest.raises(ModelChangedError, match="is another file than when the run began"):
        Classifier(model)


def test_a_description_needs_no_tensorflow(model_path):
    program = (
        "import sys; from models.classify.spec import find_model; "
        f"find_model({str(model_path)!r}); sys.exit(bool({{'tensorflow', 'keras'}} & set(sys.modules)))"
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


def test_no_batch_is_traced_after_warming_up(model_path, crops, monkeypatch):
    model = load_classifier(str(model_path))
    model.warm_up()
    monkeypatch.setattr(tf.Graph, "__init__", lambda *_: pytest.fail("A graph was traced."))
    for count in (0, 1, 3, 8, 20, 64, 70):
        assert len(model.predict(crops[:count])) == count


@pytest.mark.parametrize(("faces", "slots"), [(1, 1), (2, 8), (8, 8), (9, 9), (10, 16), (64, 64)])
def test_slots_count_the_padding(classifier, faces, slots):
    assert classifier.batch_sizes == CPU_BATCH_SIZES == (1, 8)
    assert classifier.slots(faces) == slots


@pytest.fixture
def pretended_gpu(monkeypatch):
    """What is done where there is a GPU, computed on the CPU."""
    monkeypatch.setattr("models.classify.classifier.has_gpu", lambda: True)


@pytest.mark.usefixtures("pretended_gpu")
def test_half_precision_on_a_gpu(classifier, model_path, crops):
    half = load_classifier(str(model_path), 32)
    half.warm_up()
    assert half.batch_sizes == (32,)
    assert half.slots(33) == 64
    exact, rounded = classifier.predict(crops), half.predict(crops)
    assert rounded.dtype == np.float32
    np.testing.assert_allclose(rounded, exact, atol=0.01)
    assert (rounded != exact).any()  # else it was not computed in half precision


@pytest.mark.usefixtures("pretended_gpu")
@pytest.mark.parametrize(("room", "fitting"), [(GPU_BATCH_SIZE, GPU_BATCH_SIZE), (100, 64), (1, 1)])
def test_the_batch_is_halved_until_it_fits(model_path, monkeypatch, room, fitting):
    model = load_classifier(str(model_path))

    def compute(batch):
        if len(batch) > room:
            raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    monkeypatch.setattr(model, "_compute", compute)
    model.warm_up()
    assert model.batch_sizes == (fitting,)


@pytest.mark.usefixtures("pretended_gpu")
def test_a_model_too_large_for_the_gpu_says_so(model_path, monkeypatch):
    def compute(_batch):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM")

    model = load_classifier(str(model_path))
    monkeypatch.setattr(model, "_compute", compute)
    with pytest.raises(tf.errors.ResourceExhaustedError):
        model.warm_up()


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
    with pytest.raises(ValueError, match=r"There is no model 'nope'; choose .*path of a file that ends in"):
        find_model("nope")
    with pytest.raises(ValueError, match=r"There is no model file 'nope.keras'"):
        find_model("nope.keras")
    with pytest.raises(ValueError, match="There is no model 'nope'; choose one of cnn48"):
        get_architecture("nope")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("text", "is not a model that Keras saved, or is damaged"),
        ("zip", "is not a model that Keras saved, or is damaged"),
        ("other model", r"needs a model\.toml beside it"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, content, words):
    path = tmp_path / "foreign.keras"
    if content == "text":
        path.write_text("not a model")
    elif content == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "[]")
    else:
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(path)
    with pytest.raises(ValueError, match=words):
        find_model(str(path))


@pytest.fixture
def spec(model_path):
    return replace(find_model(str(model_path)).spec, crop=CropSpec(scale=1.0))


def frame(left, top, side, roll=0.0):
    return FaceFrame(left + side / 2, top + side / 2, side, roll)


def test_a_frame_of_the_input_size_is_cut_pixel_by_pixel(spec):
    grey = np.random.default_rng(1).integers(0, 256, (100, 120), dtype=np.uint8)
    image = np.repeat(grey[..., None], 3, axis=2)
    np.testing.assert_array_equal(make_crop(image, frame(30, 20, 48), spec)[..., 0], grey[20:68, 30:78])


def test_scale_shrinks_the_frame(spec):
    image = np.zeros((200, 200, 3), np.uint8)
    image[76:124, 76:124] = 255
    half = replace(spec, crop=CropSpec(scale=0.5))
    assert (make_crop(image, frame(52, 52, 96), half) == 255).all()
    assert (make_crop(image, frame(52, 52, 96), spec) == 0).any()


@pytest.mark.parametrize("roll", [-90, -30, -5, 5, 20, 90])
def test_a_tilted_face_is_cut_out_upright(spec, roll):
    upright = np.repeat(cv2.GaussianBlur(data.camera(), (0, 0), 4)[..., None], 3, axis=2)
    turn = cv2.getRotationMatrix2D((255.5, 255.5), -roll, 1.0)  # clockwise by so much
    tilted = cv2.warpAffine(upright, turn, (512, 512))
    place = FaceFrame(256, 256, 96, 0.0)
    wanted = make_crop(upright, place, spec).astype(int)
    assert np.abs(make_crop(tilted, place._replace(roll=roll), spec) - wanted).max() <= 4
    assert np.abs(make_crop(tilted, place._replace(roll=-roll), spec) - wanted).max() > 15


def test_a_head_nearly_level_keeps_its_pixels(spec):
    image = np.random.default_rng(1).integers(0, 256, (100, 100, 3), dtype=np.uint8)
    level = make_crop(image, frame(20, 20, 48), spec)
    np.testing.assert_array_equal(make_crop(image, frame(20, 20, 48, roll=3), spec), level)
    assert (make_crop(image, frame(20, 20, 48, roll=3.1), spec) != level).any()


def test_the_border_is_repeated_outside_the_picture(spec):
    image = np.zeros((60, 60, 3), np.uint8)
    image[:, 0] = 200
    crop = make_crop(image, frame(-24, 0, 48), spec)[..., 0]
    assert (crop[:, :25] == 200).all()
    assert (crop[:, 25:] == 0).all()
    for roll in (0, 40):
        assert (make_crop(image, frame(-500, -500, 48, roll), spec) == 200).all()


def test_red_green_and_blue_are_weighed_as_light(spec):
    image = np.zeros((48, 48, 3), np.uint8)
    image[..., 0] = 255
    assert make_crop(image, frame(0, 0, 48), spec)[0, 0, 0] == 76  # 0.299 of 255: red comes first


@pytest.mark.parametrize(
    "wrong", [(5, 5, 0, 0), (5, 5, -1, 0), (float("nan"), 5, 5, 0), (5, 5, 5, float("inf"))]
)
def test_an_empty_frame_is_refused(spec, wrong):
    with pytest.raises(ValueError, match="no positive, finite size"):
        make_crop(np.zeros((10, 10, 3), np.uint8), FaceFrame(*wrong), spec)


def test_a_grey_picture_is_refused(spec):
    with pytest.raises(ValueError, match="RGB picture"):
        make_crop(np.zeros((10, 10), np.uint8), frame(0, 0, 5), spec)


# LiteRT


@pytest.fixture(scope="module")
def litert_path(model_path, tmp_path_factory):
    path = tmp_path_factory.mktemp("litert") / "tiny.keras"
    shutil.copy(model_path, path)
    add_litert(path)
    return path


def test_litert_says_nearly_what_keras_says(litert_path, classifier, crops):
    model = find_model(str(litert_path))
    assert model.spec.litert
    assert not classifier.spec.litert
    assert model.sha256 != classifier.model.sha256
    answers = load_classifier(str(litert_path)).predict(crops)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(answers, classifier.predict(crops), atol=0.03)
    assert answers.std(axis=0).max() > 0.06  # else any two answers would agree


@pytest.mark.usefixtures("pretended_gpu")
def test_on_a_gpu_it_is_keras_that_runs(litert_path, model_path, crops):
    from_both, from_plain = (
        load_classifier(str(path), 8).predict(crops) for path in (litert_path, model_path)
    )
    np.testing.assert_array_equal(from_both, from_plain)


def test_litert_gives_the_same_bits_whatever_is_beside_a_face(litert_path, crops):
    fast = load_classifier(str(litert_path))
    together = fast.predict(crops)
    for count in (0, 1, 2, 8, 9, 64, 65):
        np.testing.assert_array_equal(fast.predict(crops[:count]), together[:count])
    np.testing.assert_array_equal(fast.predict(crops[::-1]), together[::-1])


def test_litert_is_safe_to_call_from_several_threads(litert_path, crops):
    fast = load_classifier(str(litert_path))
    together = fast.predict(crops)
    with ThreadPoolExecutor(4) as threads:
        for start, answers in enumerate(threads.map(lambda start: fast.predict(crops[start:]), range(20))):
            np.testing.assert_array_equal(answers, together[start:])


def test_a_file_has_one_litert_form(litert_path):
    with pytest.raises(ValueError, match="has its LiteRT form already"):
        add_litert(litert_path)


def test_keras_still_opens_a_file_with_a_litert_form(litert_path, model_path, crops):
    opened, plain = (
        keras.models.load_model(path).predict(crops, verbose=0) for path in (litert_path, model_path)
    )
    np.testing.assert_array_equal(opened, plain)
