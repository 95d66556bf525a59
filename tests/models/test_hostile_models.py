"""Saved models that would run code, or that cannot be right: refused in a sentence at the start."""

import io
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest

from models.classify import shipped, spec
from models.classify.classifier import check_model, load_network
from models.classify.spec import find_model
from models.classify.trust import unknown_classes
from schemas.errors import RunError, UsageError
from tests.helpers.commands import affectline

WEIGHTS = "model.weights.h5"


def changed(source, target, change):
    """A copy of a model's file, with its members as `change` leaves them."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def with_layer(layer):
    """Put one more layer among those of the file."""

    def change(members):
        config = json.loads(members["config.json"])
        config["config"]["layers"].insert(1, layer)
        members["config.json"] = json.dumps(config).encode()

    return change


def with_weights(alter):
    """Let `alter` change a weight's array, of two axes, in the file."""

    def change(members):
        content = io.BytesIO(members[WEIGHTS])
        with h5py.File(content, "r+") as file:
            found = []
            file.visititems(lambda name, node: found.append(name) if getattr(node, "ndim", 0) == 2 else None)
            values = alter(file[found[0]][()])
            del file[found[0]]
            file[found[0]] = values
        members[WEIGHTS] = content.getvalue()

    return change


def layer(class_name, module="keras.layers", registered_name=None, **config):
    return {"class_name": class_name, "module": module, "registered_name": registered_name, "config": config}


HOSTILE = {
    "Lambda": layer("Lambda", function=layer("__lambda__", "builtins", code="4wEAAAA=")),
    "__lambda__": layer("Activation", activation=layer("__lambda__", "builtins", value="4wEAAAA=")),
    "function": layer("Activation", activation={**layer("function", "os"), "config": "system"}),
    "get_file": layer("get_file", "keras.utils"),
    "Popen": layer("Popen", "subprocess", args="true"),
    "Mine": layer("Mine", "mine", "mine>Mine"),
    "Unregistered": layer("Unregistered", "os", "affectline>Unregistered"),
    "TFSMLayer": layer("TFSMLayer", filepath="/etc"),
    "StringLookup": layer("StringLookup", vocabulary="/etc/passwd"),
    "TorchModuleWrapper": layer("TorchModuleWrapper", module=""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_model_that_could_run_code_or_read_files_is_refused_before_it_is_loaded(
    name, untrained_model, tmp_path
):
    path = changed(untrained_model, tmp_path / "hostile.keras", with_layer(HOSTILE[name]))
    with pytest.raises(UsageError, match=rf"asks for .*\b{name}\b.*is not loaded"):
        find_model(str(path))


def test_a_lambda_within_a_layer_within_a_network_is_found():
    inner = {"layers": [layer("TimeDistributed", layer=layer("Lambda"))]}
    config = layer(
        "Functional", "keras.src.models.functional", layers=[layer("Functional", "keras", **inner)]
    )
    assert unknown_classes(config) == ["Lambda"]


def test_safe_mode_holds_when_the_user_has_switched_it_off(untrained_model, monkeypatch):
    modes = []
    monkeypatch.setattr(
        keras.models, "load_model", lambda path, **options: modes.append(options["safe_mode"])
    )
    load_network(find_model(str(untrained_model)))
    assert modes == [True]


def not_a_number(values):
    values[0, 0] = np.nan
    return values


def infinite(values):
    values[0, 0] = np.inf
    return values


CHANGED = {
    "not a number": (with_weights(not_a_number), "has weights that are no numbers"),
    "infinite": (with_weights(infinite), "has weights that are no numbers"),
    "another shape": (with_weights(lambda values: values[:-1]), "cannot be loaded"),
    "no weights": (lambda members: members.pop(WEIGHTS), "cannot be loaded"),
    "half the weights": (
        lambda members: members.update({WEIGHTS: members[WEIGHTS][: len(members[WEIGHTS]) // 2]}),
        "cannot be loaded",
    ),
    "no network in LiteRT": (lambda members: members.update({"classifier.tflite": b"x" * 99}), "cannot be"),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_weights_that_cannot_be_right_are_refused_at_the_start_of_a_run(kind, untrained_model, tmp_path):
    change, words = CHANGED[kind]
    path = changed(untrained_model, tmp_path / "wrong.keras", change)
    (tmp_path / "a.mp4").write_bytes(b"")
    result = affectline("run", tmp_path / "a.mp4", "-o", tmp_path / "out", "--model", path)
    assert result.exit_code == 2, result.output
    [sentence] = result.output.splitlines()
    assert f"The model '{path}' {words}" in sentence
    assert not (tmp_path / "out").exists()


def test_a_sound_model_passes(untrained_model):
    check_model(find_model(str(untrained_model)))


def test_every_shipped_model_stands_with_its_hash():
    assert {path.name for path in spec._WEIGHTS.glob("*.keras")} == shipped.SHA256.keys()
    for name in spec.shipped_weights():
        find_model(name)  # raises when the hash is another


def test_a_shipped_model_that_was_altered_is_not_loaded(tmp_path, monkeypatch):
    for file in spec._WEIGHTS.glob("*.keras"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(spec, "_WEIGHTS", tmp_path)
    find_model("default")
    with (tmp_path / "default.keras").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(RunError, match=r"not the one that was shipped; install affectline again\."):
        find_model("default")
