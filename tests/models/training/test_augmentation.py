"""Random changes to training faces, measured on dots and even pictures."""

import numpy as np
import pytest

from models.architectures.registry import get_architecture
from models.architectures.spec import Augmentation
from models.training.augmentation import RandomAffine, RandomLight, augmentation

SIDE = 49
CENTER = SIDE // 2


def affine(images, seed=1, fill="nearest", **changes):
    given = {"rotation": 0, "shift": 0, "shear": 0, "zoom": 0, **changes}
    return np.array(RandomAffine(**given, fill=fill, seed=seed)(images, training=True))


def dot(dx, dy, count=200):
    """Black pictures with a white dot, beside the centre by that much."""
    images = np.zeros((count, SIDE, SIDE, 1), np.float32)
    images[:, CENTER + dy - 1 : CENTER + dy + 2, CENTER + dx - 1 : CENTER + dx + 2] = 255
    return images


def centers(images):
    """Where the light is, beside the centre: x [N], y [N]."""
    y, x = np.mgrid[:SIDE, :SIDE] - CENTER
    light = images[..., 0].sum(axis=(1, 2))
    return (images[..., 0] * x).sum(axis=(1, 2)) / light, (images[..., 0] * y).sum(axis=(1, 2)) / light


def test_affine_changes_only_training_and_repeats_with_its_seed():
    images = np.random.default_rng(0).uniform(0, 255, (4, 48, 48, 1)).astype(np.float32)
    layer = RandomAffine(10, 0.1, 0.1, 0.1, "nearest", seed=1)
    np.testing.assert_array_equal(layer(images, training=False), images)
    first = affine(images, rotation=10, shift=0.1, shear=0.1, zoom=0.1)
    np.testing.assert_array_equal(first, affine(images, rotation=10, shift=0.1, shear=0.1, zoom=0.1))
    assert np.abs(first - images).max() > 10
    np.testing.assert_allclose(affine(images), images, atol=1e-3)


def test_rotation_turns_about_the_centre_within_its_range():
    x, y = centers(affine(dot(16, 0), rotation=30))
    np.testing.assert_allclose(np.hypot(x, y), 16, atol=0.5)
    angles = np.degrees(np.arctan2(y, x))
    assert -31 < angles.min() < -24
    assert 24 < angles.max() < 31


def test_shift_moves_within_its_range():
    x, y = centers(affine(dot(0, 0), shift=0.2))
    for moved in (x, y):
        assert -0.2 * SIDE - 0.5 <= moved.min() < -7
        assert 7 < moved.max() <= 0.2 * SIDE + 0.5


def test_shear_moves_rows_against_each_other_and_leaves_heights():
    x, y = centers(affine(dot(0, 16), shear=0.25))
    np.testing.assert_allclose(y, 16, atol=0.1)
    assert -4.1 <= x.min() < -3.2
    assert 3.2 < x.max() <= 4.1
    opposite, _ = centers(affine(dot(0, -16), shear=0.25))
    np.testing.assert_allclose(opposite, -x, atol=0.1)


def test_zoom_scales_each_axis_by_itself():
    x, y = centers(affine(dot(10, 10), zoom=0.3))
    for scaled in (x, y):
        assert 7 - 0.3 <= scaled.min() < 7.8
        assert 12.2 < scaled.max() <= 13 + 0.3
    assert np.abs(x - y).max() > 2


@pytest.mark.parametrize(("fill", "lowest"), [("nearest", 200), ("constant", 0)])
def test_what_comes_in_from_outside(fill, lowest):
    white = np.full((50, SIDE, SIDE, 1), 200, np.float32)
    moved = affine(white, fill=fill, shift=0.3, rotation=30, zoom=0.3, shear=0.2)
    assert moved.min() == pytest.approx(lowest, abs=1e-3)
    assert moved.max() == pytest.approx(200, abs=1e-3)


def test_light_multiplies_whole_pictures_and_clips():
    images = np.full((300, 4, 4, 1), 100, np.float32)
    images[:, 0] = 200
    layer = RandomLight(0.5, seed=1)
    np.testing.assert_array_equal(layer(images, training=False), images)
    changed = np.array(layer(images, training=True))
    factors = changed[:, 1, 0, 0] / 100
    assert 0.5 <= factors.min() < 0.52
    assert 1.48 < factors.max() <= 1.5
    np.testing.assert_allclose(changed[:, 0, 0, 0], np.minimum(200 * factors, 255), rtol=1e-5)


def test_flip_contrast_and_cutout_are_on_when_asked_for():
    images = np.random.default_rng(0).uniform(0, 255, (60, 20, 20, 3)).astype(np.float32)
    flipped = np.array(augmentation(Augmentation(flip=True), 0)(images, training=True))
    mirrored = [np.array_equal(one, other[:, ::-1]) for one, other in zip(flipped, images, strict=True)]
    unchanged = [np.array_equal(one, other) for one, other in zip(flipped, images, strict=True)]
    assert sum(mirrored) + sum(unchanged) == 60
    assert 15 < sum(mirrored) < 45
    images = 100 + images / 5  # so that nothing is clipped
    spread = np.array(augmentation(Augmentation(contrast=0.5), 0)(images, training=True)).std(axis=(1, 2, 3))
    assert spread.min() < 0.7 * images.std() < images.std() < spread.max()
    cut = np.array(augmentation(Augmentation(cutout=0.25), 0)(images, training=True))
    erased = (cut == 127.5).all(axis=-1).mean(axis=(1, 2))
    assert 0 < (erased > 0).mean() < 0.5
    assert 0.2 < erased.max() <= 0.3


def test_no_change_is_no_change():
    images = np.random.default_rng(0).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)
    np.testing.assert_array_equal(augmentation(Augmentation(), 0)(images, training=True), images)


def test_augmented_pixels_stay_in_range():
    layers = augmentation(get_architecture("cnn48").recipe.augmentation, seed=0)
    images = np.random.default_rng(0).uniform(0, 255, (32, 48, 48, 1)).astype(np.float32)
    changed = layers(images, training=True).numpy()
    assert changed.shape == images.shape
    assert changed.min() >= 0
    assert changed.max() <= 255
    np.testing.assert_array_equal(layers(images, training=False), images)
