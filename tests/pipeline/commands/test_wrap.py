"""`affectline wrap`: one file of a network and what is known of it, taken wherever a model is."""

import json
import tomllib
import zipfile

import cv2
import numpy as np
import pytest
from skimage import data

from models.classify.classifier import load_classifier
from models.classify.spec import find_model
from pipeline.run.dataflow import for_workers, upload_model
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError
from tests.helpers.commands import affectline
from tests.helpers.tiny_network_files import MEAN, SCALE, SIZE, describe, save_keras, save_litert, save_onnx
from transforms.faces.look import find_model_anywhere, load_model

SEVEN = ",".join(EMOTIONS)
PIXELS = ["--mean", ",".join(map(str, MEAN)), "--scale", ",".join(map(str, SCALE))]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return save_onnx(tmp_path_factory.mktemp("network") / "mine.onnx")


@pytest.fixture(scope="module")
def wrapped(network):
    path = network.with_name("mine.affectline")
    result = affectline("wrap", network, "--classes", SEVEN, *PIXELS, "-o", path)
    assert result.exit_code == 0, result.output
    return path


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Noise of four colours, in folders that the network does not agree with."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    for place, name in enumerate(EMOTIONS[:4]):
        (folder / name).mkdir()
        for number in range(6):
            colour = rng.integers(0, 200, 3) if number % 2 else np.full(3, 40 * place)
            picture = (colour + rng.integers(0, 56, (40, 40, 3))).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), picture)
    return folder


def test_what_the_network_tells_need_not_be_said(wrapped, network):
    with zipfile.ZipFile(wrapped) as archive:
        assert archive.namelist() == ["model.toml", "network.onnx"]
        said = tomllib.loads(archive.read("model.toml").decode())
        assert archive.read("network.onnx") == network.read_bytes()
    assert (said["size"], said["colour"], said["answers"]) == (SIZE, "rgb", "logits")
    assert (said["classes"], said["mean"], said["scale"]) == ([*EMOTIONS], [*MEAN], [*SCALE])


@pytest.mark.parametrize("save", [save_keras, save_litert])
def test_every_form_tells_of_itself(save, tmp_path):
    path = save(tmp_path / f"mine{'.keras' if save is save_keras else '.tflite'}")
    result = affectline("wrap", path, "--classes", SEVEN, "-o", tmp_path / "mine.affectline")
    assert result.exit_code == 0, result.output
    assert f"size = {SIZE}\n" in result.output
    assert 'answers = "logits"' in result.output


def test_a_description_beside_the_network_says_the_rest(network, tmp_path):
    path = save_onnx(tmp_path / "mine.onnx")
    describe(tmp_path, crop=1.2)
    result = affectline("wrap", path, "-o", tmp_path / "mine.affectline")
    assert result.exit_code == 0, result.output
    assert find_model(str(tmp_path / "mine.affectline")).sha256 == find_model(str(path)).sha256
    assert affectline("wrap", path, "--crop", "0.9", "-o", tmp_path / "mine.affectline").exit_code == 0
    assert find_model(str(tmp_path / "mine.affectline")).spec.crop.scale == 0.9


def test_calibration_makes_the_truth_likelier_and_is_kept_in_the_file(network, labelled, tmp_path):
    path = tmp_path / "calibrated.affectline"
    result = affectline("wrap", network, "--classes", SEVEN, *PIXELS, "--calibrate", labelled, "-o", path)
    assert result.exit_code == 0, result.output
    before, after = (
        float(text.split()[0]) for text in result.output.split("log loss ")[1].split(" before, ")
    )
    assert after < before
    spec = find_model(str(path)).spec
    assert spec.wrapped.temperature > 1
    assert spec.softening is not None
    assert load_classifier(str(path)).predict(np.zeros((1, SIZE, SIZE, 3), np.uint8)).sum() == pytest.approx(
        1
    )


def test_every_command_takes_it(wrapped, labelled, tmp_path):
    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), cv2.cvtColor(data.astronaut()[:240, 100:340], cv2.COLOR_RGB2BGR))
    told = affectline("predict", picture, "--crop", "--model", wrapped, "--json")
    assert len(json.loads(told.output)["faces"]) == 1, told.output
    measured = affectline("evaluate", "--model", wrapped, "--data", labelled, "--json")
    assert json.loads(measured.output)[0]["n"] == 24
    shown = affectline("models", "show", wrapped)
    assert (shown.exit_code, 'colour = "rgb"' in shown.output) == (0, True), shown.output
    refused = affectline("explain", "kernels", "--model", wrapped, "-o", tmp_path / "kernels.png")
    assert refused.exit_code == 2
    assert "it is ONNX, which can be run but not looked into" in refused.output


@pytest.mark.parametrize("form", ["two files", "one file"])
def test_workers_elsewhere_get_it_as_one_file(form, network, wrapped, remote, tmp_path):
    path = wrapped
    if form == "two files":
        path = save_onnx(tmp_path / "mine.onnx")
        describe(tmp_path)
    model = find_model(str(path))
    sent = for_workers(model, {"temp_location": "mem://bucket/tmp"})
    assert sent.location == f"mem://bucket/tmp/models/{model.sha256}.affectline"
    upload_model(model, sent.location)
    crops = np.random.default_rng(0).integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    np.testing.assert_array_equal(load_model(sent).predict(crops), load_classifier(str(path)).predict(crops))
    found = find_model_anywhere(sent.location)
    assert (found.sha256, found.spec) == (model.sha256, model.spec)
    with pytest.raises(UsageError, match="make one file of both with `affectline wrap`"):
        find_model_anywhere("mem://bucket/mine.onnx")


REFUSED = {
    "no classes": ([], "lacks classes: write size = 64"),
    "too few classes": (["--classes", "happy,sad"], "gives 7 answers, and its description names 2 classes"),
    "another size": (["--classes", SEVEN, "--size", "64"], "says size 64 and colour rgb; correct that"),
    "a mean in words": (["--classes", SEVEN, "--mean", "a,b"], "is neither a number nor three"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_wrapped_is_refused_in_a_sentence(kind, network, tmp_path):
    arguments, words = REFUSED[kind]
    result = affectline("wrap", network, *arguments, "-o", tmp_path / "mine.affectline")
    assert result.exit_code == 2, result.output
    [sentence] = result.output.splitlines()
    assert words in sentence
    assert not [*tmp_path.iterdir()]
