"""The networks of the model zoo, their layers, backbones and recipes, and what the command says of them.

Long, because networks are slow to build, and one fixture builds each once for all of its tests.
"""

import json
import os
import socket
import subprocess
import sys
import urllib.request
from functools import cache
from pathlib import Path
from urllib.error import URLError

import keras
import numpy as np
import pytest
from click.testing import CliRunner
from keras.applications.imagenet_utils import preprocess_input
from PIL import Image

from models.architectures.backbones import apply_backbone, backbone_layers, backbone_of, start_backbone
from models.architectures.layers import ChannelAttention, SpatialAttention, TransformerBlock
from models.architectures.registry import ARCHITECTURES, build_at_random, get_architecture
from models.architectures.resnet50_hybrid import grey_to_rgb
from models.classify.classifier import load_classifier
from models.classify.output import ClassProbabilities
from models.classify.spec import find_model, shipped_weights
from models.inspect.diagram import layer_table, layered_picture
from pipeline.cli.main import main

WITH_BACKBONE = [name for name, architecture in ARCHITECTURES.items() if architecture.backbone_weights]


@pytest.fixture(autouse=True)
def _same_every_time():
    keras.utils.set_random_seed(0)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.slow] * (name in WITH_BACKBONE)) for name in ARCHITECTURES],
)
def built(request):
    """A network by its architecture, built once for all that is asked of it."""
    keras.utils.set_random_seed(0)
    architecture = get_architecture(request.param)
    return architecture, build_at_random(architecture)


def noise(*shape):
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def save(network, architecture, path):
    head = ClassProbabilities(
        temperature=1.0,
        architecture=architecture.name,
        classes=list(architecture.classes),
        crop={"scale": architecture.crop.scale},
    )
    keras.Model(network.input, head(network.output)).save(path)
    return path


def test_the_models_of_all_references_are_here():
    own = "cnn48 happy-sad cnn100 cnn-custom cnn-base cnn-gap"
    others = "efficientnetb2 resnet50-hybrid mobilenetv3small efficientnetb3 xception"
    assert {*own.split(), *others.split()} <= {*ARCHITECTURES}


def test_phases_unfreeze_layers_that_the_backbone_has(built):
    architecture, network = built
    ranges = [p.backbone for p in architecture.recipe.phases if isinstance(p.backbone, tuple)]
    assert {last for _, last in ranges} <= {len(backbone_layers(network))}
    assert all(0 < first < last for first, last in ranges)


def test_a_model_trains_saves_loads_and_predicts_the_same(built, tmp_path):
    architecture, network = built
    trainable = sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
    counts = (architecture.parameters, architecture.trainable_parameters)
    assert (network.count_params(), trainable) == counts
    shape = (architecture.input_size, architecture.input_size, architecture.channels)
    assert network.input_shape == (None, *shape)
    assert (backbone_of(network) is not None) == (architecture.name in WITH_BACKBONE)

    pixels = noise(4, *shape)
    units = network.output_shape[-1]
    targets = np.eye(7)[:4] if units == 7 else np.array([[0.0], [1.0], [0.0], [1.0]])
    loss = (keras.losses.CategoricalCrossentropy if units == 7 else keras.losses.BinaryCrossentropy)(
        from_logits=True
    )
    network.compile("adam", loss, run_eagerly=True, jit_compile=False)
    before = [weight.numpy() for weight in network.trainable_weights]
    network.fit(pixels, targets, batch_size=2, epochs=1, verbose=0)
    unmoved = [
        weight.path
        for weight, old in zip(network.trainable_weights, before, strict=True)
        if np.array_equal(weight.numpy(), old)
    ]
    assert unmoved == []

    path = save(network, architecture, tmp_path / "model.keras")
    spec = find_model(str(path)).spec
    assert (spec.architecture, spec.classes) == (architecture.name, architecture.classes)
    assert (spec.input_size, spec.input_size, spec.channels) == shape
    logits = network(pixels, training=False).numpy()
    if units == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    loaded = keras.models.load_model(path, safe_mode=True)(pixels, training=False).numpy()
    np.testing.assert_allclose(loaded, odds / odds.sum(axis=1, keepdims=True), atol=1e-5)


def test_the_layers_of_cnn_custom_are_those_of_its_source():
    by_layer = [layer.count_params() for layer in build_at_random(get_architecture("cnn-custom")).layers]
    blocks = [1_792, 256, 204_928, 512, 295_168, 1_024, 1_180_160, 2_048]
    assert [count for count in by_layer if count] == [*blocks, 2_359_808, 2_048, 131_328, 1_024, 1_799]


def test_one_logit_is_the_sigmoid_of_the_second_class():
    head = ClassProbabilities(2.0, "a", ["happy", "sad"], {"scale": 1.0})
    probabilities = head(np.array([[-3.0], [0.0], [5.0]], np.float32)).numpy()
    sad = 1 / (1 + np.exp(-np.array([-1.5, 0.0, 2.5])))
    np.testing.assert_allclose(probabilities, np.stack([1 - sad, sad], axis=1), atol=1e-6)


def test_a_happy_sad_file_classifies_faces(tmp_path):
    architecture = get_architecture("happy-sad")
    network = build_at_random(architecture)
    classifier = load_classifier(str(save(network, architecture, tmp_path / "happy_sad.keras")))
    assert classifier.spec.classes == ("happy", "sad")
    crops = noise(3, 48, 48, 1).astype(np.uint8)
    sad = 1 / (1 + np.exp(-network(crops.astype(np.float32), training=False).numpy()))
    np.testing.assert_allclose(classifier.predict(crops), np.hstack([1 - sad, sad]), atol=1e-5)


def test_channel_attention_weighs_channels_by_mean_and_maximum():
    layer = ChannelAttention(reduction=4)
    maps = noise(2, 5, 6, 8) / 255
    weighed = layer(maps).numpy()
    squeeze, squeeze_bias, excite, excite_bias = [weight.numpy() for weight in layer.weights]
    assert squeeze.shape == (8, 2)

    def shared(pooled):
        return np.maximum(pooled @ squeeze + squeeze_bias, 0) @ excite + excite_bias

    scores = shared(maps.mean(axis=(1, 2))) + shared(maps.max(axis=(1, 2)))
    expected = maps * (1 / (1 + np.exp(-scores)))[:, None, None, :]
    np.testing.assert_allclose(weighed, expected, atol=1e-5)


def test_spatial_attention_weighs_places_by_what_is_around_them():
    layer = SpatialAttention(kernel_size=3)
    maps = noise(1, 5, 5, 4) / 255 + 1
    layer(maps)
    [kernel] = [weight.numpy() for weight in layer.weights]
    assert kernel.shape == (3, 3, 2, 1)
    summary = np.stack([maps.mean(axis=-1), maps.max(axis=-1)], axis=-1)
    centre = (summary[0, 1:4, 1:4] * kernel[..., 0]).sum()
    weights = layer(maps).numpy() / maps
    np.testing.assert_allclose(weights[0, 2, 2], 1 / (1 + np.exp(-centre)), rtol=1e-4)


def test_a_transformer_block_does_not_care_where_places_are():
    layer = TransformerBlock(heads=2, dropout=0.3)
    maps = noise(1, 3, 4, 8) / 255
    moved = layer(maps[:, ::-1]).numpy()
    np.testing.assert_allclose(moved[:, ::-1], layer(maps).numpy(), atol=1e-5)
    elsewhere = maps.copy()
    elsewhere[0, 0, 0, 0] += 1
    assert np.abs(layer(elsewhere).numpy() - layer(maps).numpy())[0, 2, 3].max() > 1e-5
    assert np.abs(layer(maps, training=True).numpy() - layer(maps).numpy()).max() > 1e-3


def test_the_layers_load_in_safe_mode_with_all_their_weights(tmp_path):
    inputs = keras.Input((4, 4, 8))
    x = ChannelAttention(reduction=4)(inputs)
    x = SpatialAttention(kernel_size=3)(x)
    model = keras.Model(inputs, TransformerBlock(heads=2, dropout=0.1)(x))
    for weight in model.weights:
        weight.assign(noise(*weight.shape) / 255)
    model.save(tmp_path / "layers.keras")
    loaded = keras.models.load_model(tmp_path / "layers.keras", safe_mode=True)
    pixels = noise(2, 4, 4, 8)
    np.testing.assert_array_equal(loaded(pixels).numpy(), model(pixels).numpy())


def test_the_layers_compute_in_the_precision_that_is_asked_for():
    inputs = keras.Input((4, 4, 8))
    policy = "mixed_bfloat16"
    x = ChannelAttention(reduction=4, dtype=policy)(inputs)
    x = SpatialAttention(kernel_size=3, dtype=policy)(x)
    x = TransformerBlock(heads=2, dropout=0.1, dtype=policy)(x)
    model = keras.Model(inputs, x)
    assert x.dtype == "bfloat16"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}


def test_learned_colours_start_as_the_grey_that_came_in():
    grey = keras.Input((6, 6, 1))
    learned = keras.Model(grey, grey_to_rgb(grey, "learned"))
    pixels = noise(1, 6, 6, 1)
    repeated = keras.Model(grey, grey_to_rgb(grey, "repeat"))(pixels).numpy()
    np.testing.assert_array_equal(repeated, np.repeat(pixels, 3, axis=-1))
    np.testing.assert_allclose(learned(pixels).numpy(), repeated)
    assert sum(int(np.prod(weight.shape)) for weight in learned.trainable_weights) == 30


@cache
def network_with(application, size):
    pixels = keras.Input((size, size, 3))
    return keras.Model(pixels, apply_backbone(pixels, application, None))


@pytest.fixture(scope="module")
def mobilenet():
    return network_with("MobileNetV3Small", 32)


@pytest.mark.parametrize(
    ("application", "mode", "size"),
    [
        ("MobileNetV3Small", "tf", 32),
        pytest.param("ResNet50", "caffe", 32, marks=pytest.mark.slow),
        pytest.param("Xception", "tf", 71, marks=pytest.mark.slow),
        pytest.param("EfficientNetB2", "torch", 32, marks=pytest.mark.slow),
    ],
)
def test_grey_pixels_are_scaled_as_keras_scales_them(application, mode, size):
    network = network_with(application, size)
    grey = np.repeat(noise(1, size, size, 1), 3, axis=-1)
    scaled = keras.Model(network.input, network.get_layer("preprocess").output)(grey).numpy()
    np.testing.assert_allclose(scaled, preprocess_input(grey.copy(), mode=mode), atol=1e-4)


def test_the_layers_of_a_backbone_have_keras_indices():
    layers = backbone_layers(network_with("ResNet50", 32))
    assert len(layers) == 175
    assert [layers[at].name for at in (1, 2, 174)] == ["conv1_pad", "conv1_conv", "conv5_block3_out"]
    assert backbone_layers(build_at_random(get_architecture("cnn-gap"))) == []


def test_the_averages_of_a_backbone_follow_within_an_epoch(mobilenet):
    """Else a network that starts at random learns, but answers all faces alike outside of training."""
    norms = [
        layer for layer in backbone_layers(mobilenet) if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert {layer.momentum for layer in norms} == {0.99}


@pytest.mark.slow
def test_efficientnet_answers_as_keras_own_with_imagenets_weights(tmp_path, monkeypatch):
    """Also its scaling, which Keras changes with the weights, and which is ours here."""
    keras_own = keras.applications.EfficientNetB2(include_top=False, weights=None, input_shape=(32, 32, 3))
    published = keras_own.get_layer(index=2)
    assert isinstance(published, keras.layers.Normalization)
    # What Keras's file holds: the deviation where the layer has the variance.
    published.set_weights([np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225]), np.array(0)])
    file = tmp_path / "b2.weights.h5"
    keras_own.save_weights(file)
    from keras.src.applications import efficientnet

    monkeypatch.setattr(efficientnet.file_utils, "get_file", lambda *_, **__: str(file))
    expected = keras.applications.EfficientNetB2(
        include_top=False, weights="imagenet", input_shape=(32, 32, 3)
    )
    pixels = keras.Input((32, 32, 3))
    for weights in ("imagenet", str(file)):
        network = keras.Model(pixels, apply_backbone(pixels, "EfficientNetB2", weights))
        answer, wanted = network(noise(2, 32, 32, 3)).numpy(), expected(noise(2, 32, 32, 3)).numpy()
        np.testing.assert_allclose(answer, wanted, atol=1e-4 * np.abs(wanted).max())


def test_a_backbone_starts_from_a_file(mobilenet, tmp_path, capsys):
    trained = keras.applications.MobileNetV3Small(
        include_top=False, weights=None, input_shape=(32, 32, 3), include_preprocessing=False
    )
    for weight in trained.weights:
        weight.assign(noise(*weight.shape))
    file = tmp_path / "mobilenet_no_top.h5"  # the format of Keras's own files
    trained.save(file)
    start_backbone(backbone_of(mobilenet), str(file))
    for ours, theirs in zip(backbone_of(mobilenet).weights, trained.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert f"MobileNetV3Small starts with the weights in '{file}'." in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "text", "other layers"])
def test_a_file_without_the_weights_gets_one_sentence(mobilenet, tmp_path, content):
    file = tmp_path / "wrong.weights.h5"
    if content == "text":
        file.write_text("not weights")
    elif content:
        keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save_weights(file)
    with pytest.raises(
        ValueError, match=r"There is no weights file|does not hold weights of MobileN"
    ) as error:
        start_backbone(backbone_of(mobilenet), str(file))
    assert "\n" not in str(error.value)


@pytest.fixture
def refusing_network(tmp_path, monkeypatch):
    """Nothing was downloaded before, and the proxy answers nobody."""
    from keras.src.utils import file_utils

    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path))
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    # What opens URLs keeps the proxy of its first call: none before this one, and this one not after it.
    monkeypatch.setattr(urllib.request, "_opener", None)
    return file_utils


@pytest.mark.usefixtures("refusing_network")
def test_imagenet_asked_for_and_refused_is_one_sentence(mobilenet, capsys):
    before = socket.getdefaulttimeout()
    with pytest.raises(ValueError, match=r"cannot be had \(.*\); use --backbone-weights none") as error:
        start_backbone(backbone_of(mobilenet), "imagenet")
    assert "\n" not in str(error.value)
    assert isinstance(error.value.__cause__.__context__, URLError)
    assert capsys.readouterr().out == ""  # stdout is for results
    assert socket.getdefaulttimeout() == before


@pytest.mark.usefixtures("refusing_network")
def test_a_build_goes_on_without_a_download_and_says_so(capsys):
    pixels = keras.Input((32, 32, 3))
    network = keras.Model(pixels, apply_backbone(pixels, "MobileNetV3Small", "auto"))
    assert len(backbone_layers(network)) == 156
    assert "MobileNetV3Small starts untrained. ImageNet's weights" in capsys.readouterr().err


def test_a_download_cut_short_is_one_sentence(mobilenet, refusing_network, monkeypatch):
    monkeypatch.setattr(refusing_network, "urlretrieve", lambda _, to, __: Path(to).write_text("half"))
    with pytest.raises(ValueError, match=r"cannot be had \(Incomplete or corrupted file"):
        start_backbone(backbone_of(mobilenet), "imagenet")


def test_a_fault_of_ours_is_not_called_a_fault_of_the_network(mobilenet, refusing_network, monkeypatch):
    def broken(*_):
        raise TypeError("a bug")

    monkeypatch.setattr(refusing_network, "urlretrieve", broken)
    with pytest.raises(TypeError, match="a bug"):
        start_backbone(backbone_of(mobilenet), "auto")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_recipes_can_be_followed(name):
    architecture = get_architecture(name)
    recipe = architecture.recipe
    names = [phase.name for phase in recipe.phases]
    assert len({*names}) == len(names)
    assert {*recipe.class_boosts} <= {*architecture.classes}
    for phase in recipe.phases:
        assert phase.warmup_epochs < phase.epochs
        assert phase.backbone == "trained" or architecture.backbone_weights


def test_resnet50_hybrid_unfreezes_as_its_source():
    phases = get_architecture("resnet50-hybrid").recipe.phases
    assert [(phase.backbone, phase.learning_rate, phase.epochs) for phase in phases[1:4]] == [
        ((160, 175), 1e-5, 15),
        ((140, 175), 5e-6, 15),
        ((100, 175), 1e-6, 20),
    ]
    assert [(phase.backbone, phase.optimizer, phase.epochs) for phase in (phases[0], phases[4])] == [
        ("frozen", "adamw", 30),
        ("frozen", "adam", 20),
    ]


def command(*arguments):
    return CliRunner().invoke(main, ["models", *arguments])


def test_models_lists_every_model():
    entries = json.loads(command("--json").stdout)
    assert [entry["name"] for entry in entries] == [*ARCHITECTURES]
    [happy_sad] = [entry for entry in entries if entry["name"] == "happy-sad"]
    assert happy_sad == {
        "name": "happy-sad",
        "parameters": 6_538_433,
        "trainable_parameters": 6_532_545,
        "input_shape": [48, 48, 1],
        "classes": ["happy", "sad"],
        "weights": [],
        "source": "R1",
    }
    weights = {each["name"]: each | {"of": entry["name"]} for entry in entries for each in entry["weights"]}
    assert set(weights) == set(shipped_weights())
    for name, each in weights.items():
        shipped = find_model(name)
        assert (each["of"], each["file"]) == (shipped.spec.architecture, shipped.path.name)
        assert each["input_shape"] == [shipped.spec.input_size, shipped.spec.input_size, 1]
    web = {name for name, each in weights.items() if "affect7" in each["data"]}
    assert {"ferplus", "fer2013"} <= set(weights) - web
    for each in weights.values():
        assert each["terms"].startswith("FER2013's pictures were collected from the web for research.")
        assert ("affect7" in each["terms"]) == ("affect7" in each["data"])
    lines = command().stdout.splitlines()
    assert len(lines) == 1 + len(ARCHITECTURES)
    [line] = [line for line in lines if line.startswith("happy-sad ")]
    assert line.split()[:5] == ["happy-sad", "6,538,433", "6,532,545", "48x48x1", "happy,"]


def test_the_list_needs_no_tensorflow():
    program = (
        "import sys; from models.inspect.catalogue import catalogue; "
        "catalogue(); sys.exit(bool({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    assert subprocess.run([sys.executable, "-c", program], env=environment).returncode == 0


def test_show_prints_layers_and_draws_them(tmp_path):
    result = command("show", "cnn48", "-o", str(tmp_path / "cnn48.png"))
    lines = result.stdout.splitlines()
    assert lines[3].split()[1:] == ["Conv2D", "48x48x32", "320", "rescale"]
    assert lines[-2:] == [
        "1,470,951 parameters, 1,469,543 of them trainable",
        f"Drawn in {tmp_path / 'cnn48.png'}.",
    ]
    assert Image.open(tmp_path / "cnn48.png").mode == "RGB"


def test_show_reads_a_saved_model(tmp_path, monkeypatch):
    architecture = get_architecture("cnn-gap")
    save(build_at_random(architecture), architecture, tmp_path / "mine.keras")
    monkeypatch.chdir(tmp_path)
    result = command("show", "mine.keras")
    assert result.stdout.splitlines()[-3].split()[1:4] == ["ClassProbabilities", "7", "0"]
    assert (tmp_path / "mine.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nope"], "There is no model 'nope'; choose cnn48,"),
        (["nope.keras"], "There is no model file 'nope.keras'"),
        (
            ["cnn-gap", "-o", "picture.txt"],
            "'picture.txt' is no name for a picture;",
        ),
        (
            ["cnn-gap", "-o", "/no/such/folder/x.png"],
            "'/no/such/folder/x.png' cannot be written",
        ),
    ],
)
def test_show_says_what_is_wrong(arguments, sentence):
    result = command("show", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"affectline: {sentence}")


def test_the_table_goes_into_backbones_and_names_all_inputs(mobilenet):
    lines = layer_table(mobilenet).splitlines()
    inside = [line for line in lines if line.startswith("MobileNetV3Small/")]
    assert len(inside) == len(backbone_layers(mobilenet))
    adds = [line for line in inside if " Add " in line]
    assert adds
    assert all(line.count("MobileNetV3Small/") == 3 for line in adds)


def test_the_picture_has_a_box_for_each_layer_that_counts():
    blue, orange, green = (86, 180, 233), (230, 159, 0), (0, 158, 115)

    def boxes(network):
        """How many front faces of each colour a line just above the ground crosses."""
        pixels = np.asarray(layered_picture(network))
        blues = (pixels == blue).all(axis=2).sum(axis=1)
        line = pixels[np.flatnonzero(blues == blues.max())[-1]]
        inside = [(line == color).all(axis=1).astype(int) for color in (blue, orange, green)]
        return [int((np.diff(each, prepend=0) == 1).sum()) for each in inside]

    assert boxes(build_at_random(get_architecture("cnn48"))) == [6, 3, 2]
    assert boxes(build_at_random(get_architecture("cnn-gap"))) == [4, 4, 3]
