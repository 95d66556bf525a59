"""Several heads in one file, each a model by name."""

import hashlib
from dataclasses import replace

import keras
import numpy as np
import pytest

from models.architectures.spec import Architecture
from models.classify import spec
from models.classify.classifier import Classifier, load_classifier, load_network
from models.classify.litert import add_litert
from models.classify.spec import ModelRef, find_model, read_heads, shipped_weights
from models.training.training import calibrated, with_heads
from schemas.emotions import EMOTIONS
from schemas.settings import Settings
from tests.helpers.tiny_networks import TINY

PRIOR = np.arange(1, 8) / 28
TWO_CLASSES = ("sad", "happy")


def body_with(*architectures: Architecture) -> list[keras.Model]:
    """A network of random weights for each, all with one body."""
    keras.utils.set_random_seed(0)
    network = TINY.build(TINY)
    return [
        keras.Model(network.input, keras.layers.Dense(len(each.classes))(network.layers[-1].input))
        for each in architectures
    ]


@pytest.fixture(scope="module")
def heads():
    """Models of one body: by FER+'s classes, and of two."""
    two = replace(TINY, classes=TWO_CLASSES)
    first, second = body_with(TINY, two)
    return {
        "all": calibrated(first, TINY, 0.1, PRIOR, {"a": 0.25, "b": 0.75}),
        "two": calibrated(second, two, 0.2),
    }


@pytest.fixture(scope="module", params=[False, True], ids=["keras", "litert"])
def path(heads, tmp_path_factory, request):
    path = tmp_path_factory.mktemp("heads") / "heads.keras"
    with_heads(heads).save(path)
    if request.param:
        add_litert(path)
    return path


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8)


def ref(path, head):
    return ModelRef(
        head, str(path), hashlib.sha256(path.read_bytes()).hexdigest(), head, read_heads(path)[head]
    )


def test_the_file_describes_each_head(path):
    found = read_heads(path)
    assert list(found) == ["all", "two"]
    assert (found["all"].classes, found["two"].classes) == (EMOTIONS, TWO_CLASSES)
    np.testing.assert_allclose(found["all"].prior, PRIOR)
    assert found["two"].prior is None
    has_litert = found["all"].litert is not None
    assert (found["all"].litert, found["two"].litert) == (((0, 7), (7, 9)) if has_litert else (None, None))


@pytest.mark.parametrize("head", ["all", "two"])
def test_each_head_answers_as_if_alone(path, heads, crops, head):
    classifier = Classifier(ref(path, head))
    answers = classifier.predict(crops)
    alone = heads[head].predict(crops.astype(np.float32), verbose=0)
    tolerance = 0.03 if classifier.spec.litert else 1e-5
    np.testing.assert_allclose(answers, alone, atol=tolerance)
    assert alone.std(axis=0).max() > tolerance  # else any two answers would agree
    network = load_network(classifier.model)
    np.testing.assert_allclose(network.predict(crops.astype(np.float32), verbose=0), alone, atol=1e-6)


def test_a_path_means_the_first_head(path):
    model = find_model(str(path))
    assert (model.head, model.spec.classes) == ("all", EMOTIONS)


def test_a_file_with_one_head_has_no_name_for_it(heads, crops, tmp_path):
    path = tmp_path / "one.keras"
    heads["two"].save(path)
    assert list(read_heads(path)) == [None]
    assert find_model(str(path)).head is None
    alone = heads["two"].predict(crops.astype(np.float32), verbose=0)
    np.testing.assert_allclose(load_classifier(str(path)).predict(crops), alone, atol=1e-5)


def test_the_file_tells_what_was_joined(path):
    settings = keras.models.load_model(path, compile=False).get_layer("all").get_config()
    assert settings["joined"] == {"a": 0.25, "b": 0.75}


def test_models_in_the_package_are_heads_and_files_with_one(heads, tmp_path, monkeypatch):
    with_heads(heads).save(tmp_path / "several.keras")
    heads["two"].save(tmp_path / "single.keras")
    files = {"all": "several.keras", "two": "several.keras", "single": "single.keras"}
    hashes = {name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in files.values()}
    for name, value in (("_WEIGHTS", tmp_path), ("FILES", files), ("SHA256", hashes)):
        monkeypatch.setattr(spec, name, value)
    assert shipped_weights() == ["all", "single", "two"]
    with pytest.raises(ValueError, match="no model 'several'; choose all, single, two, or the path"):
        find_model("several")
    two, single = find_model("two"), find_model("single")
    assert (two.path.name, two.head, single.head) == ("several.keras", "two", None)
    assert two.spec.classes == single.spec.classes == TWO_CLASSES


def test_each_shipped_head_is_in_its_file():
    for name in shipped_weights():
        model = find_model(name)
        assert model.head in (name, None)
        assert model.spec.classes == EMOTIONS
        assert model.spec.litert is not None


def test_two_heads_of_one_file_write_other_tables_and_old_hashes_stay():
    old = Settings(model_sha256="1")
    assert old.config_hash() == "5b91c0c8c84a4ea4"
    heads = [replace(old, model_head=head) for head in ("default", "affect7")]
    assert len({settings.config_hash() for settings in (old, *heads)}) == 3
    assert Settings.from_json(heads[0].to_json()) == heads[0]
