"""The face's frame: what is cut out is the same after any detector, and upright."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.detectors import DETECTORS, Box, FaceFrame
from models.detectors.tilt import roll_of

# Eyes, nose and mouth of a face seen from the front, in pixels.
FACE = np.array([(-20.0, -18.0), (20.0, -18.0), (0.0, 4.0), (-16.0, 24.0), (16.0, 24.0)])


def turned(marks, degrees):
    """The marks, turned clockwise as one sees them: y points down."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return marks @ np.array([(cos, sin), (-sin, cos)])


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(("w", "h"), [(80, 100), (100, 80)])
def test_a_frame_keeps_the_boxs_centre_and_follows_its_longer_side(detector, w, h):
    frame = Box(10, 20, w, h, 0.9, roll=7, frame_scale=DETECTORS[detector].frame_scale).frame
    assert frame == FaceFrame(10 + w / 2, 20 + h / 2, frame.side, 7)
    assert frame.side == pytest.approx({"mtcnn": 94, "haar": 96, "yunet": 89}[detector])


@given(
    st.floats(-179, 179),
    st.floats(0.01, 100),
    st.floats(-1000, 1000),
    st.floats(-1000, 1000),
)
def test_roll_is_the_turn_whatever_the_size_and_place(degrees, scale, x, y):
    rolls = roll_of(np.stack([turned(FACE, degrees) * scale + (x, y), FACE]))
    assert rolls.shape == (2,)
    assert rolls[0] == pytest.approx(degrees, abs=1e-4)
    assert rolls[1] == pytest.approx(0, abs=1e-9)


def test_the_right_side_down_is_a_positive_roll():
    lowered = FACE + np.array([(0, -5), (0, 5), (0, 0), (0, -5), (0, 5)])
    assert roll_of(lowered[None])[0] > 5


@pytest.mark.parametrize("degrees", [-15, 0, 15])
def test_a_head_in_profile_is_not_taken_for_a_tilted_one(degrees):
    # All marks at nearly one x, the eyes' heights a pixel apart: their line alone is steep.
    profile = FACE * (0.02, 1) + np.array([(0, 0), (0, 1), (6, 0), (0, 0), (0, 0)])
    assert roll_of(turned(profile, degrees)[None])[0] == pytest.approx(degrees, abs=5)
