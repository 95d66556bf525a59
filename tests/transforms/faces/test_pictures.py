"""Pictures of all kinds become upright RGB, and are looked at as the pipeline looks at frames."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import data

from models.classify.classifier import load_classifier
from models.classify.spec import find_model
from models.detectors import make_detector
from models.mesh import load_mesh
from schemas.errors import UnreadablePictureError
from tests.helpers.tiny_model import save_brightness_model
from transforms.faces.analyzer import Analyzer, find_faces
from transforms.faces.look import look_at
from transforms.faces.pictures import list_pictures, read_picture
from transforms.faces.view import see_faces
from transforms.steps.classify_emotions import EmotionModelHandler
from transforms.video.records import SampledFrame

RAMP = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def encoded(image, format="PNG", **options):
    file = io.BytesIO()
    image.save(file, format, **options)
    file.seek(0)
    return file


@pytest.fixture(scope="module")
def classifier(untrained_model):
    return load_classifier(str(untrained_model))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, RAMP),
        (2, RAMP[:, ::-1]),
        (3, RAMP[::-1, ::-1]),
        (4, RAMP[::-1]),
        (5, RAMP.transpose(1, 0, 2)),
        (6, np.rot90(RAMP, -1)),
        (7, RAMP[::-1, ::-1].transpose(1, 0, 2)),
        (8, np.rot90(RAMP, 1)),
    ],
)
def test_pictures_stand_upright(orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    read = read_picture(encoded(Image.fromarray(RAMP), exif=exif))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, upright)


def with_palette():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putdata([0, 1])
    return encoded(image, transparency=1)


def sixteen_bit_color():
    pixels = np.array([[[0, 128 * 257, 65535]]], np.uint16)  # blue, green, red
    return io.BytesIO(cv2.imencode(".png", pixels)[1].tobytes())


def two_frames():
    frames = [Image.new("RGB", (2, 1), color) for color in ("red", "blue")]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


GREY_16 = np.array([[0, 128 * 257, 65535, 1000]], np.uint16)
KINDS = {
    "grey": (encoded(Image.fromarray(np.array([[0, 77, 255]], np.uint8))), [0, 77, 255]),
    "grey JPEG": (encoded(Image.new("L", (8, 8), 77), "JPEG"), [77] * 8),
    "black and white": (encoded(Image.fromarray(np.array([[False, True]]))), [0, 255]),
    "16-bit grey PNG": (encoded(Image.fromarray(GREY_16)), [0, 128, 255, 4]),
    "16-bit grey TIFF": (encoded(Image.fromarray(GREY_16), "TIFF"), [0, 128, 255, 4]),
    "16-bit colour": (sixteen_bit_color(), [[255, 128, 0]]),
    "alpha on white": (
        encoded(Image.fromarray(np.array([[[200, 0, 0, 0], [200, 0, 0, 255], [0, 0, 0, 51]]], np.uint8))),
        [[255] * 3, [200, 0, 0], [204] * 3],
    ),
    "grey with alpha": (encoded(Image.fromarray(np.array([[[9, 0], [9, 255]]], np.uint8))), [255, 9]),
    "palette with alpha": (with_palette(), [[10, 20, 30], [255] * 3]),
    "first of two frames": (two_frames(), [[255, 0, 0]] * 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_pixel_becomes_rgb(kind):
    file, row = KINDS[kind]
    file.seek(0)
    expected = np.array([np.broadcast_to(pixel, 3) for pixel in row])
    read = read_picture(file)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read[0], expected)


@pytest.mark.parametrize("ink", [(0, 255, 255, 0), (255, 0, 0, 0), (0, 0, 0, 255)])
def test_cmyk_becomes_the_colour_that_is_printed(ink):
    read = read_picture(encoded(Image.new("CMYK", (16, 16), ink), "JPEG", quality=95))
    cyan, magenta, yellow, black = (1 - part / 255 for part in ink)
    expected = 255 * black * np.array([cyan, magenta, yellow])
    np.testing.assert_allclose(read[8, 8], expected, atol=3)


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
JPEG, PNG = encoded(NOISE, "JPEG").getvalue(), encoded(NOISE).getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture of a known format"),
        (b"hello", "not a picture of a known format"),
        (JPEG[: len(JPEG) // 2], "cannot be read .*truncated"),
        (PNG[: len(PNG) // 2], "cannot be read .*truncated"),
        (encoded(Image.new("F", (2, 2)), "TIFF").getvalue(), "floating-point pixels"),
        (encoded(Image.new("I", (2, 2), 70_000), "TIFF").getvalue(), "32 bits a pixel"),
    ],
    ids=["empty", "text", "half a JPEG", "half a PNG", "float", "32 bits"],
)
def test_what_cannot_be_read_is_one_sentence(content, message):
    with pytest.raises(UnreadablePictureError, match=message) as told:
        read_picture(io.BytesIO(content))
    assert "\n" not in str(told.value)


def test_a_picture_that_would_fill_the_memory_is_not_opened(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnreadablePictureError, match="too large"):
        read_picture(io.BytesIO(PNG))


def test_folders_are_searched_for_pictures(tmp_path):
    for name in ("b.png", "a/c.JPG", "a/.hidden.png", ".thumbs/d.png", "notes.txt", "a/clip.mp4"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    named = tmp_path / "notes.txt"  # by name, whatever it is called
    found = list_pictures([str(tmp_path), str(named)])
    assert [(Path(path).relative_to(tmp_path).as_posix(), name) for path, name in found] == [
        ("a/c.JPG", "a/c.JPG"),
        ("b.png", "b.png"),
        ("notes.txt", "notes.txt"),
    ]
    with pytest.raises(ValueError, match=r"absent does not exist\.$"):
        list_pictures([str(tmp_path / "absent")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"There is no picture in .*empty\.$"):
        list_pictures([str(tmp_path / "empty")])


def test_faces_are_those_of_the_pipeline(classifier, untrained_model):
    """Same boxes, same crops, same numbers as a frame gets on its way through a run."""
    astronaut = data.astronaut()
    picture = np.concatenate([astronaut[:240, 100:340], astronaut[:240, 340:99:-1]], axis=1)
    detector = make_detector("haar")
    found = find_faces(picture, Analyzer(detector, classifier))
    assert len(found) == 2
    assert found[0].box.score >= found[1].box.score

    [views] = see_faces(detector, load_mesh(), [picture])
    _, crops = look_at("id", SampledFrame(0, 0, picture), views, classifier.spec, thumbnails=False)
    handler = EmotionModelHandler(find_model(str(untrained_model)), batch_size=64)
    faces = handler.run_inference(crops, handler.load_model())
    for here, there in zip(found, faces, strict=True):
        assert tuple(here.box[:5]) == (there.x, there.y, there.w, there.h, there.score)
        np.testing.assert_allclose(here.probabilities, there.raw, atol=1e-6)
    np.testing.assert_allclose([face.confidence for face in found], [max(face.raw) for face in faces])


def test_a_picture_without_a_face_has_none(classifier):
    assert find_faces(np.full((100, 100, 3), 90, np.uint8), Analyzer(make_detector("haar"), classifier)) == []


def test_a_picture_that_is_a_face_is_taken_pixel_by_pixel(classifier, untrained_model):
    grey = np.random.default_rng(0).integers(0, 256, (48, 48, 1), dtype=np.uint8)
    [face] = find_faces(np.repeat(grey, 3, axis=2), Analyzer.load_for_crops(str(untrained_model)))
    assert face.box[:5] == (0, 0, 48, 48, 1)
    np.testing.assert_allclose(face.probabilities, classifier.predict(grey[None])[0], atol=1e-6)


def test_the_emotion_is_one_that_the_model_knows(tmp_path):
    path = save_brightness_model(tmp_path / "m.keras", ["sad", "happy"], middle=100, steepness=1)
    analyzer = Analyzer.load_for_crops(str(path))
    for grey, emotion in ((90, "happy"), (110, "sad")):
        [face] = find_faces(np.full((48, 48, 3), grey, np.uint8), analyzer)
        assert (face.emotion, round(face.confidence, 3)) == (emotion, 1.0)
