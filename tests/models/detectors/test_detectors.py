"""Face detectors: the same interface, the reference's results, and honest errors.

Long, because every detector takes the same tests, and the references are loaded once.
"""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from models.detectors import DETECTORS, Box, make_detector
from models.detectors.boxes import finish, resize
from models.detectors.yunet import published_weights
from schemas.errors import UsageError
from tests.helpers.needs import YUNET

EACH_DETECTOR = [
    pytest.param(name, marks=[pytest.mark.needs_shared] * DETECTORS[name].takes_weights) for name in DETECTORS
]

FACE = Box(180, 63, 86, 106, 1)  # in scikit-image's astronaut, 512 x 512


def iou(a, b):
    wide = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    high = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0, wide) * max(0, high)
    return shared / (a.w * a.h + b.w * b.h - shared)


def scene(height, width, *faces):
    """A grey ramp with astronauts: each (x, y, face height) of the face's top left corner."""
    ramp = np.linspace(60, 160, width).astype(np.uint8)
    image = np.repeat(np.tile(ramp, (height, 1))[..., None], 3, axis=2)
    boxes = []
    for x, y, tall in faces:
        scale = tall / FACE.h
        head = data.astronaut()[0:215, 115:335]
        head = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        left, top = round(x - (FACE.x - 115) * scale), round(y - FACE.y * scale)
        matrix = np.array([[1, 0, left], [0, 1, top]], float)
        cv2.warpAffine(
            head,
            matrix,
            (width, height),
            dst=image,
            borderMode=cv2.BORDER_TRANSPARENT,
            flags=cv2.INTER_NEAREST,
        )
        boxes.append(Box(x, y, FACE.w * scale, tall, 1))
    return image, boxes


@pytest.fixture(scope="module")
def mtcnn():
    return make_detector("mtcnn")


@pytest.fixture(scope="module", params=EACH_DETECTOR)
def detector(request):
    return make_detector(request.param, weights=YUNET if request.param == "yunet" else None)


# Every detector


def test_finds_the_astronaut(detector):
    (boxes,) = detector.detect([data.astronaut()])
    assert iou(boxes[0], FACE) > 0.65
    assert 0.6 < boxes[0].score <= 1


def test_faces_of_several_sizes_and_their_order(detector):
    image, faces = scene(360, 640, (60, 80, 60), (250, 120, 110), (480, 70, 160))
    (boxes,) = detector.detect([image])
    for face in faces:
        assert max(iou(face, box) for box in boxes) > 0.5
    assert boxes == sorted(boxes, key=lambda box: (-box.score, *box))
    assert all(0 <= box.score <= 1 and isinstance(box.x, float) for box in boxes)


def test_grey_mirrored_and_dark(detector):
    image, (face,) = scene(300, 400, (150, 100, 100))
    grey = np.repeat(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    mirrored = np.ascontiguousarray(image[:, ::-1])
    dark = (image * 0.35).astype(np.uint8)
    for picture, wanted in (
        (grey, face),
        (mirrored, face._replace(x=400 - face.x - face.w)),
        (dark, face),
    ):
        (boxes,) = detector.detect([picture])
        assert iou(boxes[0], wanted) > 0.5


def test_a_view_of_an_array_is_a_picture(detector):
    image, _ = scene(300, 400, (150, 100, 100))
    mirrored = image[:, ::-1]
    assert detector.detect([mirrored]) == detector.detect([mirrored.copy()])


def test_very_wide_and_very_tall(detector):
    for height, width, x, y in ((150, 1200, 900, 40), (1200, 150, 40, 900)):
        image, (face,) = scene(height, width, (x, y, 80))
        (boxes,) = detector.detect([image])
        assert iou(boxes[0], face) > 0.5


def test_a_face_that_leaves_the_picture_is_clipped_to_it(detector):
    image, _ = scene(300, 400, (-12, 90, 120))
    (boxes,) = detector.detect([image])
    for box in boxes:
        assert box.x >= 0
        assert box.y >= 0
        assert box.x + box.w <= 400
        assert box.y + box.h <= 300
    if detector.name != "haar":  # which needs the whole face
        assert boxes
        assert boxes[0].x < 10


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (8, 8), (1, 500), (500, 1), (0, 40), (13, 13), (12, 2000), (31, 19), (27, 139), (22, 30)],
)
def test_tiny_pictures_have_no_face(detector, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert detector.detect([picture]) == [[]]


def test_no_pictures_and_no_faces(detector):
    black = np.zeros((240, 320, 3), np.uint8)
    assert detector.detect([]) == []
    assert detector.detect([black, black + 255]) == [[], []]


def in_numbers(boxes) -> np.ndarray:
    return np.array([(*box[:7], *np.ravel(box.marks)) for box in boxes])


def test_results_do_not_depend_on_the_rest_of_the_batch(detector):
    pictures = [
        scene(270, 480, (60, 60, 70), (300, 90, 120))[0],
        scene(270, 480, (200, 90, 90))[0],
        np.zeros((10, 10, 3), np.uint8),
        scene(200, 200, (50, 50, 100))[0],
        scene(720, 1280, (300, 200, 200))[0],
        np.random.default_rng(1).integers(0, 256, (270, 480, 3), np.uint8),
    ]
    alone = [detector.detect([picture])[0] for picture in pictures]
    assert [len(boxes) for boxes in alone][:5] == [2, 1, 0, 1, 1]
    together = detector.detect(pictures)
    backwards = detector.detect(pictures[::-1])[::-1]
    for one, two, three in zip(alone, together, backwards, strict=True):
        assert len(one) == len(two) == len(three)
        np.testing.assert_allclose(in_numbers(two), in_numbers(one), atol=1e-4)
        np.testing.assert_allclose(in_numbers(three), in_numbers(one), atol=1e-4)


def test_small_faces_are_dropped(detector):
    image, (small, large) = scene(300, 500, (60, 100, 70), (280, 60, 170))
    strict = make_detector(detector.name, 0.4, YUNET if detector.name == "yunet" else None)
    assert any(iou(box, small) > 0.5 for box in detector.detect([image])[0])
    (boxes,) = strict.detect([image])
    assert [iou(box, large) > 0.5 for box in boxes] == [True]
    assert max(boxes[0].w, boxes[0].h) >= 0.4 * 300


@pytest.mark.parametrize(
    "picture",
    [np.zeros((40, 40), np.uint8), np.zeros((40, 40, 4), np.uint8), np.zeros((40, 40, 3), np.float32)],
)
def test_other_arrays_are_refused(detector, picture):
    with pytest.raises(ValueError, match=r"uint8 RGB \[height, width, 3\]"):
        detector.detect([picture])


# Choosing one


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("dlib",), "no detector 'dlib'; choose one of mtcnn, haar, yunet"),
        (("haar", 0), "above 0"),
        (("haar", 1.5), "above 0 and at most 1"),
        (("haar", float("nan")), "above 0"),
        (("haar", 0.1, YUNET), "brings its own weights"),
        (("yunet", 0.1, Path("nowhere.onnx")), "no weights file nowhere.onnx"),
        (("yunet", 0.1, Path(__file__)), "cannot use .* as YuNet weights"),
    ],
)
def test_wrong_choices(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_detector(*arguments)


# Boxes


def test_boxes_are_clipped_dropped_and_sorted():
    image = np.zeros((100, 200, 3), np.uint8)
    corners = np.array(
        [[-10, 20, 30, 70], [150, 60, 260, 130], [10, 10, 17, 19], [300, 10, 340, 60], [5, 5, 15, 14.0]]
    )
    boxes = finish(corners, np.array([0.5, 0.9, 0.99, 0.95, 0.5]), image, 0.1, 0.9)
    assert boxes == [
        (150, 60, 50, 40, 0.9, 0, 0.9, ()),
        (0, 20, 30, 50, 0.5, 0, 0.9, ()),
        (5, 5, 10, 9, 0.5, 0, 0.9, ()),
    ]
    marks = np.arange(50.0).reshape(5, 5, 2)
    tilted = finish(corners, np.array([0.5, 0.9, 0.99, 0.95, 0.5]), image, 0.1, 0.9, np.arange(5.0), marks)
    assert [box.roll for box in tilted] == [1, 0, 4]
    assert [box.marks[0] for box in tilted] == [(10, 11), (0, 1), (40, 41)]


def test_resize_averages_before_it_interpolates():
    fine = np.zeros((90, 90, 3), np.uint8)
    fine[::3] = 90  # one line of three: an average of 30, which sampling alone would miss
    assert (resize(fine, 30, 30) == 30).all()
    assert resize(fine, 90, 90) is fine
    assert resize(fine, 45, 20).shape == (45, 20, 3)
    assert resize(fine[:2, :2], 4, 5).shape == (4, 5, 3)


# MTCNN


def tensorflow_networks():
    from models.detectors.mtcnn_networks import tensorflow_network

    return {name: tensorflow_network(name) for name in ("pnet", "rnet", "onet")}


def litert_networks():
    from models.detectors.mtcnn import load_litert

    return {name: load_litert(name) for name in ("pnet", "rnet", "onet")}


@pytest.mark.parametrize("load", [litert_networks, tensorflow_networks])
def test_networks_give_the_packages_numbers(load):
    from mtcnn.stages import StageONet, StagePNet, StageRNet

    def agree(output, theirs):
        np.testing.assert_allclose(output[..., :4], theirs[0], atol=1e-5)
        np.testing.assert_allclose(1 / (1 + np.exp(-output[..., 4])), theirs[-1][..., 1], atol=1e-5)

    networks = load()
    image = cv2.resize(data.astronaut(), (76, 64), interpolation=cv2.INTER_AREA)[None]
    cells = networks["pnet"](image)
    assert cells.shape == (1, 27, 33, 5)
    agree(cells, [t.numpy() for t in StagePNet().model((image.astype(np.float32) - 127.5) / 128)])
    for name, stage, side in (("rnet", StageRNet(), 24), ("onet", StageONet(), 48)):
        crops = np.random.default_rng(0).integers(0, 256, (5, side, side, 3), np.uint8)
        theirs = [t.numpy() for t in stage.model((crops.astype(np.float32) - 127.5) / 128)]
        output = networks[name](crops)
        agree(output, theirs)
        if name == "onet":
            np.testing.assert_allclose(output[:, 5:], theirs[1], atol=1e-5)


def test_damaged_weights_are_refused(tmp_path, monkeypatch):
    from models.detectors import mtcnn

    path, sha256 = mtcnn.LITERT_FILES["pnet"]
    damaged = tmp_path / "pnet.tflite"
    damaged.write_bytes(path.read_bytes()[:-1] + b"x")
    monkeypatch.setitem(mtcnn.LITERT_FILES, "pnet", (damaged, sha256))
    with pytest.raises(UsageError, match=r"weights at .*pnet.tflite are damaged; install affectline again"):
        make_detector("mtcnn")


def test_a_face_has_the_same_bits_whatever_is_beside_it(mtcnn):
    pictures = [scene(270, 480, (60 + shift, 60, 70), (300, 90 + shift, 120))[0] for shift in range(20)]
    pictures.append(scene(200, 200, (50, 50, 100))[0])
    together = mtcnn.detect(pictures)
    assert mtcnn.detect(pictures[::-1]) == together[::-1]
    with ThreadPoolExecutor(4) as callers:  # each call's tasks share the process's threads
        alone = callers.map(lambda picture: mtcnn.detect([picture])[0], pictures)
        assert list(alone) == together


def test_a_crop_of_the_networks_size_is_the_picture_itself():
    from models.detectors.mtcnn import _crop

    picture = np.random.default_rng(0).integers(0, 256, (24, 24, 3), np.uint8)
    crop = np.empty((24, 24, 3), np.uint8)
    _crop(picture, np.array([0, 0, 24, 24], np.float32), crop)
    assert (crop == picture).all()
    _crop(picture, np.array([30, 30, 54, 54], np.float32), crop)
    assert (crop == 128).all()  # nothing but outside


def test_a_gpu_finds_the_same_faces(mtcnn, monkeypatch):
    from models.detectors import mtcnn as module

    monkeypatch.setattr(module, "has_gpu", lambda: True)  # computed by TensorFlow on the CPU
    on_gpu = make_detector("mtcnn")
    pictures = [scene(250, 400, (30, 60, 40), (200, 60, 120))[0], scene(300, 300, (90, 90, 90))[0]] * 9
    for one, other in zip(mtcnn.detect(pictures), on_gpu.detect(pictures), strict=True):
        assert one
        np.testing.assert_allclose(in_numbers(one), in_numbers(other), atol=1e-3)


def test_finds_what_the_package_finds(mtcnn):
    from mtcnn import MTCNN

    package = MTCNN()
    pictures = [
        scene(250, 400, (30, 60, 40), (200, 60, 120))[0],
        scene(250, 400, (100, 40, 180))[0],
        scene(250, 400, (10, 20, 32), (120, 30, 60), (260, 50, 100))[0],
        cv2.resize(data.astronaut(), (250, 250), interpolation=cv2.INTER_AREA),
        scene(250, 250, (60, 60, 27))[0],
        np.zeros((250, 250, 3), np.uint8),
    ]
    count = 0
    for picture, mine in zip(pictures, mtcnn.detect(pictures), strict=True):
        # 250 pixels: here the package's smallest face is 0.08 of the picture, as it is ours.
        found = package.detect_faces(picture)
        theirs = [Box(*face["box"], face["confidence"]) for face in found]
        assert len(mine) == len(theirs)
        for face in theirs:
            nearest = max(mine, key=lambda box: iou(box, face))
            assert iou(nearest, face) > 0.8
            assert nearest.score == pytest.approx(face.score, abs=0.05)
            count += 1
    assert count == 8


def test_tilted_heads(detector):
    image, (face,) = scene(400, 400, (150, 130, 140))
    if detector.name == "haar":
        assert detector.detect([image])[0][0].roll == 0  # it has no marks to tell by
        return
    for tilt in (-20, -10, 10, 20):
        matrix = cv2.getRotationMatrix2D((face.x + face.w / 2, face.y + face.h / 2), -tilt, 1)
        (boxes,) = detector.detect([cv2.warpAffine(image, matrix, (400, 400))])
        assert iou(boxes[0], face) > 0.55
        # Her eyes are tilted by 3.4 degrees in the portrait. YuNet's marks lean towards upright.
        told = boxes[0].roll / (tilt + 3.4)
        assert 0.9 < told < 1.1 if detector.name == "mtcnn" else 0.2 < told < 1.1


@settings(deadline=None, max_examples=60)
@given(st.integers(12, 700), st.integers(12, 700), st.floats(0.05, 1))
def test_pyramid_levels_lie_apart_in_the_canvas(height, width, finest):
    from models.detectors.mtcnn import _CELL, _layout, _pack

    finest = max(finest, _CELL / min(height, width))
    layout = _layout(height, width, finest)
    painted = np.zeros((layout.height, layout.width), int)  # odd levels repeat their last pixels
    for (h, w), (left, top), zoom in zip(layout.sizes, layout.origin, layout.zoom, strict=True):
        assert left % 2 == top % 2 == 0
        assert painted[top : top + h, left : left + w].shape == (h, w)
        painted[top : top + h + h % 2, left : left + w + w % 2] += 1
        # What a level shows ends at the picture's edge, or a pixel of the level before it.
        assert height - 2 * zoom[1] <= h * zoom[1] <= height + 1e-6
        assert width - 2 * zoom[0] <= w * zoom[0] <= width + 1e-6
    assert painted.max() == 1
    # The coarsest level's cell is most of the picture, so that no face is too large.
    assert min(layout.sizes[-1]) < 2 * _CELL or len(layout.sizes) == 1
    cells = [
        ((layout.level_of_cell == k).sum(), (h - 9) // 2 * ((w - 9) // 2))
        for k, (h, w) in enumerate(layout.sizes)
    ]
    assert all(a == b for a, b in cells)
    picture = np.full((height, width, 3), 200, np.uint8)
    assert ((_pack(picture, layout)[..., 0] == 200) == (painted == 1)).all()


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 40), st.integers(0, 10_000), st.booleans())
def test_suppression_against_the_plain_rule(count, seed, of_smaller):
    from models.detectors.mtcnn import _Candidates, _survivors

    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 30, (count, 2)).astype(np.float32)
    corners = np.concatenate([low, low + rng.uniform(5, 25, (count, 2)).astype(np.float32)], axis=1)
    owner, level = rng.integers(0, 3, (2, count))
    score = rng.permutation(count).astype(np.float32)

    def suppresses(j, i):
        if owner[i] != owner[j] or level[i] != level[j] or score[j] <= score[i]:
            return False
        a, b = corners[i], corners[j]
        shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
        area = [np.prod(c[2:] - c[:2]) for c in (a, b)]
        return shared / (min(area) if of_smaller else sum(area) - shared) > 0.5

    wanted = {i for i in range(count) if not any(suppresses(j, i) for j in range(count))}
    kept = _survivors(
        _Candidates(owner, corners, score, np.zeros(count), np.zeros((count, 0, 2))), 0.5, level, of_smaller
    )
    assert set(kept.tolist()) == wanted
    assert len(kept) == len(wanted)


# YuNet's weights


@pytest.fixture
def server():
    """A loopback web server: `body` is what every path answers, None a 404; `hits` counts requests."""

    class Handler(BaseHTTPRequestHandler):
        body: bytes | None = b"weights"
        hits = 0

        def do_GET(self):
            type(self).hits += 1
            self.send_response(200 if self.body is not None else 404)
            self.end_headers()
            self.wfile.write(self.body or b"")

        def log_message(self, *args):
            pass

    running = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    Handler.url = f"http://127.0.0.1:{running.server_port}/yunet.onnx"
    yield Handler
    running.shutdown()
    thread.join()
    running.server_close()


def test_weights_are_downloaded_once(server, tmp_path):
    sha256 = hashlib.sha256(b"weights").hexdigest()
    path = published_weights(server.url, sha256, tmp_path / "cache")
    assert path.read_bytes() == b"weights"
    assert path.name.endswith("yunet.onnx")
    server.body = None
    assert published_weights(server.url, sha256, tmp_path / "cache") == path
    assert server.hits == 1
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="did not download"):
        published_weights(server.url, sha256, tmp_path / "cache")
    server.body = b"weights"
    assert published_weights(server.url, sha256, tmp_path / "cache").read_bytes() == b"weights"
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_other_bytes_are_not_kept(server, tmp_path):
    server.body = b"a log-in page"
    with pytest.raises(ValueError, match=r"not the expected one.*--detector-weights FILE"):
        published_weights(server.url, hashlib.sha256(b"weights").hexdigest(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_network_the_error_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"did not download .*--detector-weights FILE\.$"):
        published_weights("http://127.0.0.1:9/yunet.onnx", "0" * 64, tmp_path)


def test_cache_folder_from_the_environment(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTLINE_CACHE", str(tmp_path / "mine"))
    path = published_weights(server.url, hashlib.sha256(b"weights").hexdigest())
    assert path.parent == tmp_path / "mine"
    (tmp_path / "file").touch()
    monkeypatch.setenv("AFFECTLINE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ValueError, match="set AFFECTLINE_CACHE"):
        published_weights(server.url, hashlib.sha256(b"weights").hexdigest())


@pytest.mark.needs_shared
def test_the_pinned_hash_is_that_of_the_file_tested_here():
    from models.detectors.yunet import WEIGHTS_SHA256

    assert hashlib.sha256(YUNET.read_bytes()).hexdigest() == WEIGHTS_SHA256
