"""Kernels, feature maps and Grad-CAM, against models small enough to work out by hand."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from keras import layers
from PIL import Image
from skimage import data

from models.classify.classifier import load_network
from models.classify.output import ClassProbabilities
from models.classify.spec import find_model
from models.inspect.introspection import UnknownLayerError, feature_maps, grad_cam, kernels, layers_by_name
from pipeline.cli.main import main
from pipeline.commands.explain import draw_heat, draw_kernels, draw_maps

CLASSES = ["happy", "sad", "neutral"]
SIZE = 12


def save(path, inputs, logits, classes=CLASSES):
    """A saved model as training leaves it, read again: names are then those in the file."""
    head = ClassProbabilities(1.0, "tiny", classes, {"scale": 1.0}, name="probabilities")
    keras.Model(inputs, head(logits)).save(path)
    return load_network(find_model(str(path)))


def plain(path, units=3, classes=CLASSES):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((SIZE, SIZE, 1), name="pixels")
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.Conv2D(4, 3, padding="same", name="first")(x)
    x = layers.ReLU()(x)
    x = layers.MaxPooling2D()(x)
    x = layers.Conv2D(5, 3, padding="same", use_bias=False, name="second")(x)
    x = layers.ReLU(name="second_relu")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return save(path, inputs, layers.Dense(units, name="logits")(x), classes)


def nested(path):
    """Like a transfer-learning model: a backbone in a backbone, then a head with maps of its own size."""
    keras.utils.set_random_seed(4)
    inner = keras.Sequential(
        [
            keras.Input((SIZE // 2, SIZE // 2, 4)),
            layers.SeparableConv2D(6, 3, padding="same", name="separable"),
            layers.ReLU(name="inner_relu"),
        ],
        name="inner",
    )
    backbone_input = keras.Input((SIZE, SIZE, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stem")(backbone_input)
    x = inner(x)
    x = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    backbone = keras.Model(backbone_input, x, name="backbone")
    inputs = keras.Input((SIZE, SIZE, 1), name="pixels")
    x = layers.Concatenate()([inputs, inputs, inputs])
    x = layers.Rescaling(1 / 255)(x)
    x = backbone(x)
    x = layers.GlobalAveragePooling2D()(x)
    return save(path, inputs, layers.Dense(3, name="logits")(layers.Dropout(0.5)(x)))


@pytest.fixture(scope="module", params=[plain, nested])
def network(request, tmp_path_factory):
    return request.param(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def plain_network(tmp_path_factory):
    return plain(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def nested_network(tmp_path_factory):
    return nested(tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture(scope="module")
def crop():
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 1), dtype=np.uint8)


def test_kernels_are_the_weights(plain_network):
    name, weights = kernels(plain_network)
    assert name == "first"
    np.testing.assert_array_equal(weights, plain_network.get_layer("first").get_weights()[0])
    assert kernels(plain_network, "second")[1].shape == (3, 3, 4, 5)


def test_layers_of_nested_backbones_are_found_in_their_order(nested_network):
    assert [name for name in layers_by_name(nested_network) if "/" in name and "input" not in name] == [
        "backbone/stem",
        "backbone/inner/separable",
        "backbone/inner/inner_relu",
        "backbone/depthwise",
        "backbone/norm",
    ]
    assert kernels(nested_network)[0] == "backbone/stem"
    assert kernels(nested_network, "backbone/inner/separable")[1].shape == (3, 3, 4, 1)
    assert kernels(nested_network, "backbone/depthwise")[1].shape == (3, 3, 6, 1)


def test_feature_maps_are_what_the_layer_gives(plain_network, crop):
    found = feature_maps(plain_network, crop)
    pixels = tf.constant(crop[None] / np.float32(255))
    expected = plain_network.get_layer("first")(pixels)[0].numpy()
    assert (found.layer, found.maps.shape) == ("first", (SIZE, SIZE, 4))
    np.testing.assert_allclose(found.maps, expected, atol=1e-5)
    relu = feature_maps(plain_network, crop, "second_relu").maps
    assert relu.shape == (SIZE // 2, SIZE // 2, 5)
    assert relu.min() == 0 < relu.max()


def test_feature_maps_of_a_nested_backbone(nested_network, crop):
    found = feature_maps(nested_network, crop)
    pixels = tf.constant(np.repeat(crop[None] / np.float32(255), 3, axis=3))
    stem = nested_network.get_layer("backbone").get_layer("stem")
    assert found.layer == "backbone/stem"
    np.testing.assert_allclose(found.maps, stem(pixels)[0].numpy(), atol=1e-5)


def test_looking_leaves_the_network_as_it_was(network, crop):
    before = network(crop[None].astype(np.float32), training=False).numpy()
    with pytest.raises(UnknownLayerError):
        feature_maps(network, crop, "absent")
    found = grad_cam(network, crop)
    assert all("call" not in vars(layer) for layer in layers_by_name(network).values())
    np.testing.assert_allclose(network(crop[None].astype(np.float32), training=False), before)
    np.testing.assert_allclose(found.probabilities, before[0], atol=1e-6)


def test_grad_cam_is_the_weighted_sum_before_a_linear_head(plain_network, crop):
    """After a global average a score is linear in the maps; the weights are the head's over h·w."""
    found = grad_cam(plain_network, crop)
    assert found.layer == "second_relu"  # of the last convolution's shape, after its activation
    maps = feature_maps(plain_network, crop, "second_relu").maps
    weights = plain_network.get_layer("logits").get_weights()[0] / (SIZE / 2) ** 2
    expected = np.maximum(np.einsum("hwm,mc->chw", maps, weights), 0)
    assert (expected.max(axis=(1, 2)) > 0).any()
    np.testing.assert_allclose(found.heat, expected, atol=1e-6)


def test_grad_cam_reaches_into_nested_backbones(nested_network, crop):
    """Without the heads' dropout; batch normalisation stands between the depthwise maps and the head."""
    found = grad_cam(nested_network, crop)
    assert (found.layer, found.heat.shape) == ("backbone/norm", (3, SIZE // 2, SIZE // 2))
    deeper = grad_cam(nested_network, crop, "backbone/depthwise")
    maps = feature_maps(nested_network, crop, "backbone/depthwise").maps
    norm = nested_network.get_layer("backbone").get_layer("norm")
    gamma, _, _, variance = norm.get_weights()
    weights = nested_network.get_layer("logits").get_weights()[0] / (SIZE / 2) ** 2
    weights = weights * (gamma / np.sqrt(variance + norm.epsilon))[:, None]
    expected = np.maximum(np.einsum("hwm,mc->chw", maps, weights), 0)
    assert expected.max() > 0
    np.testing.assert_allclose(deeper.heat, expected, atol=1e-6)
    # and through layers that are not linear
    assert grad_cam(nested_network, crop, "backbone/stem").heat.max() > 0


def test_grad_cam_shows_where_a_bright_spot_is(tmp_path):
    """The first class is scored by brightness alone, the second by its opposite."""
    inputs = keras.Input((SIZE, SIZE, 1), name="pixels")
    x = layers.Conv2D(1, 1, use_bias=False, name="as_it_is")(inputs)
    network = save(
        tmp_path / "m.keras",
        inputs,
        layers.Dense(2, use_bias=False, name="logits")(layers.GlobalAveragePooling2D()(x)),
        ["happy", "sad"],
    )
    network.get_layer("as_it_is").set_weights([np.ones((1, 1, 1, 1))])
    network.get_layer("logits").set_weights([np.array([[1.0, -1.0]])])
    spot = np.zeros((SIZE, SIZE, 1), np.uint8)
    spot[2:4, 7:9] = 255
    heat = grad_cam(network, spot).heat
    np.testing.assert_allclose(heat[0], spot[..., 0] / SIZE**2, atol=1e-6)
    assert (heat[1] == 0).all()


def test_other_layers_are_refused_with_those_there_are(network, crop):
    with pytest.raises(UnknownLayerError, match="There is no layer 'logits' to show; choose one of "):
        grad_cam(network, crop, "logits")
    with pytest.raises(UnknownLayerError, match="There is no layer 'absent' to show; choose one of "):
        kernels(network, "absent")


def test_a_model_without_maps_says_so(tmp_path, crop):
    inputs = keras.Input((SIZE, SIZE, 1), name="pixels")
    network = save(tmp_path / "m.keras", inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    for look in (kernels, lambda network: grad_cam(network, crop)):
        with pytest.raises(UnknownLayerError, match="no layer that can be shown"):
            look(network)


def test_kernels_are_drawn_in_their_signs():
    weights = np.zeros((1, 1, 2, 2))
    weights[0, 0] = [[1, -1], [0, 0.5]]  # channels, filters
    drawn = draw_kernels(weights)
    cell = drawn.shape[0] // 4
    at = {(row, column): tuple(drawn[cell + 2 * cell * row, cell + 2 * cell * column].tolist())
          for row in (0, 1) for column in (0, 1)}  # fmt: skip
    assert at[0, 0] == (213, 94, 0)  # filter 0 of channel 0: the strongest
    assert at[1, 0] == (0, 114, 178)  # filter 1 of channel 0
    assert at[0, 1] == (255, 255, 255)  # nothing
    assert at[1, 1] == (234, 174, 128)  # half


def test_constant_maps_and_no_heat_can_be_drawn():
    maps = np.stack([np.zeros((2, 2)), np.array([[0, 1], [2, 3]])], axis=2).astype(np.float32)
    drawn = draw_maps(maps)
    dark, bright = (68, 1, 84), (253, 231, 37)  # viridis' ends
    colors = {tuple(color) for color in drawn.reshape(-1, 3).tolist()}
    assert {dark, bright} < colors
    assert len(colors) == 5  # four levels and the grid
    face = np.full((8, 8, 3), 100, np.uint8)
    np.testing.assert_array_equal(draw_heat(face, np.zeros((2, 2), np.float32)), face)
    heat = np.zeros((2, 2), np.float32)
    heat[0, 0] = 5
    drawn = draw_heat(face, heat)
    assert tuple(drawn[7, 7]) == (100, 100, 100)
    assert drawn[0, 0].astype(int).sum() > 400


def explain(*arguments):
    return CliRunner().invoke(main, ["explain", *map(str, arguments)])


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "astronaut.png"
    Image.fromarray(data.astronaut()[:240, 100:340]).save(path)
    return path


def test_each_command_writes_one_picture(untrained_model, portrait, tmp_path):
    model = ["--model", untrained_model]
    haar = ["--detector", "haar"]
    for arguments, said in (
        (["kernels", *model], "32 filters 3x3 of 1 channels"),
        (["features", portrait, *model, *haar], "32 maps 48x48"),
        (["gradcam", portrait, *model, "--crop"], "Grad-CAM at "),
    ):
        target = tmp_path / f"{arguments[0]}.png"
        result = explain(*arguments, "-o", target)
        assert result.exit_code == 0, result.output
        assert result.output.startswith(f"{target}: ")
        assert said in result.output
        with Image.open(target) as drawn:
            assert min(drawn.size) > 200
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.png", "gradcam.png", "kernels.png"]


def test_what_cannot_be_is_one_sentence_and_writes_nothing(untrained_model, portrait, tmp_path):
    nobody, text = tmp_path / "grey.png", tmp_path / "text.png"
    Image.new("L", (90, 90), 128).save(nobody)
    text.write_text("hello")
    model, haar, out = ["--model", untrained_model], ["--detector", "haar"], ["-o", tmp_path / "out.png"]
    for arguments, said in (
        (["gradcam", nobody, *model, *haar], "No face was found in .*; if it is a face .* add --crop"),
        (["gradcam", text, *model, *haar], "text.png: This is not a picture"),
        (["features", tmp_path / "absent.png", *model, *haar], "absent.png: The picture cannot be read"),
        (["kernels", "--model", "nope"], "There is no model 'nope'"),
        (["kernels", *model, "--layer", "nope"], "There is no layer 'nope'"),
        (["gradcam", portrait, *model, "--detector", "nope"], "There is no detector 'nope'"),
    ):
        result = explain(*arguments, *out)
        assert result.exit_code == 2, result.output
        [line] = result.output.splitlines()
        assert line.startswith("affectline: ")
        assert re.search(said, line)
        assert not (tmp_path / "out.png").exists()


def test_a_single_logit_speaks_for_one_class_and_against_the_other(tmp_path, crop):
    network = plain(tmp_path / "m.keras", units=1, classes=["happy", "sad"])
    assert network.output_shape == (None, 2)
    found = grad_cam(network, crop)
    maps = feature_maps(network, crop, "second_relu").maps
    weights = network.get_layer("logits").get_weights()[0][:, 0] / (SIZE / 2) ** 2
    signed = maps @ weights
    assert signed.min() < 0 < signed.max()
    np.testing.assert_allclose(found.heat, [np.maximum(-signed, 0), np.maximum(signed, 0)], atol=1e-6)
