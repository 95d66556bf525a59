"""DetectFaces: one chunk ahead, none lost, nothing looked for twice."""

import contextlib
import os
import threading

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.pvalue import TaggedOutput
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from models.crop_spec import CropSpec
from models.detectors import Box
from models.mesh import load_mesh
from models.thread_pool import CORES_VARIABLE
from pipeline.run import local
from pipeline.run.local import worker_environment
from schemas.settings import Settings
from transforms.faces.view import see_faces
from transforms.steps import detect_faces
from transforms.steps.detect_faces import DetectFaces
from transforms.steps.sample_frames import SAMPLES
from transforms.video.chunks import FrameChunk
from transforms.video.records import SampledFrame


class Brightness:
    """Finds one face a frame, whose score is the frame's brightness; remembers what it was asked."""

    name = "haar"  # whose boxes its are taken for

    def __init__(self):
        self.asked: list[int] = []

    def detect(self, images):
        """See `Detector.detect`."""
        self.asked += [int(image[0, 0, 0]) for image in images]
        return [[Box(1, 1, 6, 6, float(image[0, 0, 0]))] for image in images]


def frame(number: int, grey: int) -> SampledFrame:
    return SampledFrame(number, number * 200_000, np.full((8, 8, 3), grey, np.uint8))


def chunk(*numbers: int) -> FrameChunk:
    return FrameChunk("v", [frame(number, number) for number in numbers], 0)


class Spec:
    """What a crop needs to know of a model."""

    input_size, channels, crop = 4, 1, CropSpec(1.0)


@pytest.fixture
def detector(monkeypatch):
    fake = Brightness()
    monkeypatch.setattr(detect_faces, "load_detector", lambda _settings: fake)
    return fake


@pytest.fixture
def step(detector):
    step = detect_faces._DetectFaces(Settings(crops=False), Spec())
    step.setup()
    yield step
    step.teardown()


def samples(items) -> list[int]:
    return [item.value.sample for item in items if isinstance(item, TaggedOutput)]


@given(greys=st.lists(st.integers(0, 2), max_size=12))
def test_equal_neighbours_are_looked_at_once(greys):
    fake = Brightness()
    found = see_faces(fake, load_mesh(), [frame(0, grey).image for grey in greys])
    assert [views[0].box.score for views in found] == greys
    assert fake.asked == [grey for place, grey in enumerate(greys) if place == 0 or greys[place - 1] != grey]


def test_frames_that_differ_in_one_pixel_or_in_size_are_not_equal():
    image = np.zeros((9, 8, 3), np.uint8)
    other = image.copy()
    other[0, 0, 0] = 7
    assert [views[0].box.score for views in see_faces(Brightness(), load_mesh(), [image, other])] == [0, 7]
    fake = Brightness()
    see_faces(fake, load_mesh(), [image, image[:, :7], image[:8]])
    assert len(fake.asked) == 3


def test_the_next_chunk_is_looked_at_while_one_is_passed_on(step, detector):
    second = threading.Event()
    look = detector.detect

    def detect(images):
        if images[0][0, 0, 0] == 2:
            second.set()
        return look(images)

    detector.detect = detect
    step.start_bundle()
    assert samples(step.process(chunk(0, 1))) == []
    passed_on = step.process(chunk(2, 3))
    assert next(passed_on).value.sample == 0
    assert second.wait(10)  # ... although the first chunk is not handed on yet
    assert samples(passed_on) == [1]
    rest = list(step.finish_bundle())
    assert [item.value.value.sample for item in rest if isinstance(item, TaggedOutput)] == [2, 3]
    assert list(step.finish_bundle()) == []


def test_a_bundle_starts_with_nothing_of_the_one_before(step):
    step.start_bundle()
    list(step.process(chunk(0)))  # ... and then the bundle fails
    step.start_bundle()
    list(step.process(chunk(5)))
    rest = list(step.finish_bundle())
    assert [item.value.value.sample for item in rest if isinstance(item, TaggedOutput)] == [5]


def test_an_error_while_looking_reaches_beam(step, detector):
    def detect(_images):
        raise ValueError("A picture must be uint8 RGB.")

    detector.detect = detect
    step.start_bundle()
    list(step.process(chunk(0)))
    with pytest.raises(ValueError, match="uint8 RGB"):
        list(step.finish_bundle())


@pytest.mark.usefixtures("detector")
def test_all_chunks_come_out_of_a_pipeline():
    with beam.Pipeline("FnApiRunner") as pipeline:
        found = (
            pipeline
            | beam.Create([chunk(0, 1), chunk(2), chunk(3, 4, 5)])
            | DetectFaces(Settings(crops=False), Spec())
        )
        assert_that(found[SAMPLES] | beam.Map(lambda row: row.sample), equal_to(range(6)), "samples")
        assert_that(found.crops | beam.Map(lambda crop: crop.face.score), equal_to(range(6)), "crops")


@pytest.mark.parametrize(("workers", "share"), [(1, "6"), (2, "3"), (4, "1"), (7, "1")])
def test_workers_divide_the_cores(monkeypatch, workers, share):
    names = (CORES_VARIABLE, "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "PYTHONPATH", "PYTHONSAFEPATH")
    with monkeypatch.context() as patch:
        for name in names:
            patch.setenv(name, "")
            patch.delenv(name)
        patch.setattr(local, "core_count", lambda: 6)
        patch.setattr(local, "fork_server", contextlib.nullcontext)
        with worker_environment(workers):
            assert [os.environ[name] for name in names[:3]] == [share, "1", "1"]
