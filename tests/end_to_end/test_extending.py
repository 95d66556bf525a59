"""What CONTRIBUTING.md says of adding something: each in one place, and there for every command."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from models.architectures.registry import ARCHITECTURES, build_at_random
from models.detectors import DETECTORS, Box, DetectorKind
from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline
from tests.helpers.tiny_networks import TINY
from transforms.timelines import smoothing, tabulate
from transforms.timelines.smoothing import SMOOTHING_METHODS, SmoothingMethod


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=1)


class Centre:
    """Takes the middle of every picture for a face."""

    name = "centre"

    def __init__(self, frame_scale):
        self._frame_scale = frame_scale

    def detect(self, images):
        return [[Box(80, 80, 80, 80, 0.9, 0.0, self._frame_scale)] for _ in images]


def test_a_detector_is_one_record(clip, untrained_model, tmp_path, monkeypatch):
    kind = DetectorKind("centre", 0.9, False, lambda _min_face, frame_scale, _weights: Centre(frame_scale))
    monkeypatch.setitem(DETECTORS, kind.name, kind)
    result = affectline("run", clip, "-o", tmp_path, "--detector", "centre", "--model", untrained_model)
    assert result.exit_code == 0, result.output
    faces = pd.read_parquet(tmp_path / "timelines")
    assert faces[["x", "y", "w", "h"]].drop_duplicates().to_numpy().tolist() == [[80, 80, 80, 80]]


def test_a_way_to_smooth_is_a_function_and_its_entry(clip, untrained_model, tmp_path, monkeypatch):
    def flat(_time_us, probabilities, _window_s):
        return np.full_like(probabilities, 1 / probabilities.shape[1])

    monkeypatch.setitem(SMOOTHING_METHODS, "flat", SmoothingMethod(1.0, "not used"))
    monkeypatch.setitem(smoothing._FUNCTIONS, "flat", flat)
    options = [*FAST[:2], "--model", untrained_model, "--smoothing", "flat"]
    assert affectline("run", clip, "-o", tmp_path, *options).exit_code == 0
    assert np.unique(pd.read_parquet(tmp_path / "timelines")["happy"]).tolist() == [np.float32(1 / 7)]


def test_a_column_is_a_field_and_its_values(clip, untrained_model, tmp_path, monkeypatch):
    schema = TABLES["samples"].append(pa.field("is_late", pa.bool_()))
    made = tabulate._samples

    def with_column(samples):
        return made(samples).append_column(schema.field("is_late"), pa.array(samples.pts_us > 500_000))

    monkeypatch.setitem(TABLES, "samples", schema)
    monkeypatch.setattr(tabulate, "_samples", with_column)
    assert affectline("run", clip, "-o", tmp_path, *FAST, "--model", untrained_model).exit_code == 0
    assert pd.read_parquet(tmp_path / "samples")["is_late"].tolist() == [False, False, False, True, True]


def test_a_network_is_one_entry(monkeypatch):
    monkeypatch.setitem(ARCHITECTURES, TINY.name, TINY)
    assert build_at_random(TINY).input_shape == (None, TINY.input_size, TINY.input_size, TINY.channels)
    assert TINY.name in affectline("models").output
