"""Networks made elsewhere: in ONNX, LiteRT and Keras, with a description beside them or around them."""

import hashlib
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from models.classify.classifier import CPU_BATCH_SIZES, check_model, load_classifier, load_network
from models.classify.spec import find_model
from models.classify.wrapped import Description, parse_description, read_wrapped
from schemas.emotions import EMOTIONS
from schemas.errors import ModelChangedError, UsageError
from tests.helpers.tiny_network_files import (
    MEAN,
    SCALE,
    SIZE,
    describe,
    keras_network,
    save_keras,
    save_litert,
    save_onnx,
)

SAVE = {"mine.onnx": save_onnx, "mine.tflite": save_litert, "mine.keras": save_keras, "mine.h5": save_keras}


@pytest.fixture(scope="module")
def crops():
    rng = np.random.default_rng(1)
    colours = rng.integers(0, 200, (11, 1, 1, 3))
    return (colours + rng.integers(0, 56, (11, SIZE, SIZE, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def expected(crops):
    logits = keras_network()((crops - np.array(MEAN)) / np.array(SCALE)).numpy()
    return keras.ops.softmax(logits).numpy()


@pytest.mark.parametrize("name", SAVE)
def test_every_form_answers_as_the_network_does_in_keras(name, crops, expected, tmp_path):
    path = SAVE[name](tmp_path / name)
    describe(tmp_path)
    classifier = load_classifier(str(path))
    check_model(classifier.model)
    assert classifier.spec.classes == EMOTIONS
    assert np.ptp(expected, axis=0).max() > 0.05  # else any two answers would agree
    np.testing.assert_allclose(classifier.predict(crops), expected, atol=1e-4)


def test_a_network_that_takes_one_picture_at_a_time_gets_one(crops, expected, tmp_path):
    describe(tmp_path)
    classifier = load_classifier(str(save_onnx(tmp_path / "mine.onnx", batch=1)))
    assert classifier.batch_sizes == (1,)
    np.testing.assert_allclose(classifier.predict(crops[:3]), expected[:3], atol=1e-4)
    assert load_classifier(str(save_onnx(tmp_path / "any.onnx"))).batch_sizes == CPU_BATCH_SIZES


def test_colours_are_put_in_the_order_that_is_asked_for(crops, expected, tmp_path):
    describe(tmp_path, colour='"bgr"')
    swapped = load_classifier(str(save_onnx(tmp_path / "mine.onnx"))).predict(crops[..., ::-1])
    np.testing.assert_allclose(swapped, expected, atol=1e-4)


def test_probabilities_are_taken_as_they_are(crops, expected, tmp_path):
    describe(tmp_path, answers='"probabilities"')
    path = save_keras(tmp_path / "mine.keras", softmax=True)
    np.testing.assert_allclose(load_classifier(str(path)).predict(crops), expected, atol=1e-4)


def test_a_temperature_softens(crops, expected, tmp_path):
    describe(tmp_path, temperature=2.0)
    softer = load_classifier(str(save_onnx(tmp_path / "mine.onnx"))).predict(crops)
    roots = np.sqrt(expected)
    np.testing.assert_allclose(softer, roots / roots.sum(axis=1, keepdims=True), atol=1e-4)


def test_a_keras_network_made_elsewhere_can_be_looked_into(crops, expected, tmp_path):
    describe(tmp_path, colour='"bgr"')
    network = load_network(find_model(str(save_keras(tmp_path / "mine.keras"))))
    np.testing.assert_allclose(network(crops[..., ::-1].astype(np.float32)), expected, atol=1e-4)
    describe(tmp_path)
    onnx = find_model(str(save_onnx(tmp_path / "mine.onnx")))
    with pytest.raises(UsageError, match="it is ONNX, which can be run but not looked into"):
        load_network(onnx)


def test_a_network_and_its_description_in_one_file_are_the_same_model(crops, expected, tmp_path):
    describe(tmp_path)
    beside = find_model(str(save_onnx(tmp_path / "mine.onnx")))
    one = tmp_path / "else.affectline"
    one.write_bytes(read_wrapped(beside.path).as_file())
    model = find_model(str(one))
    assert (model.sha256, model.spec.classes) == (beside.sha256, beside.spec.classes)
    assert model.sha256 == hashlib.sha256(one.read_bytes()).hexdigest()
    np.testing.assert_allclose(load_classifier(str(one)).predict(crops), expected, atol=1e-4)


@pytest.mark.parametrize("changed", ["network", "description"])
def test_a_network_that_is_replaced_is_not_loaded(changed, tmp_path):
    describe(tmp_path)
    model = find_model(str(save_onnx(tmp_path / "mine.onnx")))
    if changed == "network":
        save_onnx(tmp_path / "mine.onnx", seed=1)
    else:
        describe(tmp_path, crop=1.1)
    with pytest.raises(ModelChangedError, match="is another file than when the run began"):
        model.read()


def test_a_description_survives_being_written():
    said = Description(64, "bgr", ("happy", "sad"), "logits", (1.5,), (2.0, 3.0, 4.0), 1.1, 1.7)
    assert parse_description(said.as_toml().encode(), "model.toml") == said


@pytest.mark.parametrize("name", ["mine.onnx", "mine.tflite", "mine.keras"])
def test_without_a_description_a_sentence_says_what_to_write(name, tmp_path):
    path = SAVE[name](tmp_path / name)
    with pytest.raises(
        UsageError, match=r'needs a model\.toml beside it that says size = 64, colour = "rgb"'
    ):
        find_model(str(path))


WRONG = {
    "no size": ({"size": None}, "lacks size: write size = 64"),
    "a size in words": ({"size": '"64"'}, "has a size that cannot be: write a whole number"),
    "another colour": ({"colour": '"hsv"'}, "has a colour that cannot be: write one of grey, rgb, bgr"),
    "two means": ({"mean": [1.0, 2.0]}, "has a mean that cannot be: write a number, or 3 for rgb"),
    "a scale of nothing": ({"scale": 0}, "has a scale that cannot be"),
    "a softening in words": ({"softening": '{knee = "low", slope = 1.0}'}, "has a softening that cannot be"),
    "a class twice": ({"classes": ["happy", "happy"]}, "has a classes that cannot be"),
    "an unknown key": ({"colours": 1}, "says colours, which is none of size, colour"),
    "no TOML": ({"size": "["}, "cannot be read as TOML"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_description_that_cannot_be_followed_is_refused_with_what_to_write(kind, tmp_path):
    other, words = WRONG[kind]
    describe(tmp_path, **other)
    with pytest.raises(UsageError, match=words):
        find_model(str(save_onnx(tmp_path / "mine.onnx")))


UNFIT = {
    "another size": ({"size": 48}, r"it takes \[any, 3, 32, 32\], and its description says size 48"),
    "grey": ({"colour": '"grey"', "mean": 0, "scale": 1}, "says size 32 and colour grey; correct that"),
    "fewer classes": (
        {"classes": ["happy", "sad"]},
        "it gives 7 answers, and its description names 2 classes",
    ),
    "no probabilities": (
        {"answers": '"probabilities"'},
        'answers are no probabilities; write answers = "logits"',
    ),
}


@pytest.mark.parametrize("kind", UNFIT)
def test_a_network_that_is_not_as_described_is_refused(kind, tmp_path):
    other, words = UNFIT[kind]
    describe(tmp_path, **other)
    path = save_onnx(tmp_path / "mine.onnx")
    with pytest.raises(UsageError, match=rf"The model '{path}' cannot be used: .*{words}"):
        check_model(find_model(str(path)))


@pytest.mark.parametrize("name", ["mine.onnx", "mine.tflite", "mine.h5", "mine.affectline"])
def test_a_damaged_file_is_refused_in_a_sentence(name, tmp_path):
    describe(tmp_path)
    path = tmp_path / name
    path.write_bytes(b"x" * 99)
    with pytest.raises(
        UsageError, match=r"cannot load it: the file is damaged|is damaged; wrap the network again"
    ):
        check_model(find_model(str(path)))


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_a_keras_network_made_elsewhere_that_may_run_code_is_not_loaded(ending, tmp_path):
    pixels = keras.Input((SIZE, SIZE, 3))
    keras.Model(pixels, keras.layers.Lambda(lambda x: x)(pixels)).save(tmp_path / f"mine{ending}")
    describe(tmp_path)
    with pytest.raises(UsageError, match=r"asks for .*Lambda.*may run code"):
        check_model(find_model(str(tmp_path / f"mine{ending}")))


def test_onnx_runtime_reports_nothing_home(tmp_path):
    """It would leave an id of the device and its reports in the user's folder of caches."""
    path = save_onnx(tmp_path / "mine.onnx")
    home = tmp_path / "home"
    home.mkdir()
    program = (
        f"from models.classify.runtimes import OnnxNetwork; OnnxNetwork(open({str(path)!r}, 'rb').read())"
    )
    environment = os.environ | {"HOME": str(home)}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not [*home.rglob("*onnxruntime*")]


def test_onnx_runtime_is_asked_for_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    describe(tmp_path)
    model = find_model(str(save_onnx(tmp_path / "mine.onnx")))
    with pytest.raises(UsageError, match=r"onnxruntime is not installed; .*pip install 'affectline\[onnx\]'"):
        check_model(model)


def test_a_name_that_is_no_model_is_told_from_a_file_of_another_kind(tmp_path):
    (tmp_path / "mine.pt").write_bytes(b"")
    with pytest.raises(UsageError, match=r"does not end in \.onnx, \.tflite, \.keras, \.h5 or \.affectline"):
        find_model(str(tmp_path / "mine.pt"))
    with pytest.raises(
        UsageError, match=r"There is no model 'mine'; choose .*, or the path of a file that ends"
    ):
        find_model("mine")
    with pytest.raises(UsageError, match=r"There is no model file 'mine\.onnx'; check the path"):
        find_model("mine.onnx")
