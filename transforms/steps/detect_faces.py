"""DetectFaces: find the faces of each chunk of frames and cut them out."""

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal

import apache_beam as beam
import cv2
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from models.classify.spec import ModelSpec
from models.detectors import Detector
from models.mesh import load_mesh
from schemas.elements import Sample
from schemas.settings import Settings
from transforms.faces.look import FaceCrop, load_detector, look_at_chunk
from transforms.faces.view import FaceView, see_faces
from transforms.steps import metrics
from transforms.steps.progress import advance
from transforms.steps.sample_frames import SAMPLES
from transforms.video.chunks import FrameChunk


class _DetectFaces(beam.DoFn):
    """Looks for the faces of one chunk in a thread while the one before is passed on.

    So the detector never waits for crops, tables' rows and the classifier, nor they for it.
    """

    def __init__(self, settings: Settings, model: ModelSpec) -> None:
        self._settings = settings
        self._model = model

    def setup(self) -> None:
        cv2.setNumThreads(1)  # the cores are busy with pictures of their own
        self._detector: Detector = load_detector(self._settings)
        self._mesh = load_mesh()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detector")

    def start_bundle(self) -> None:
        self._ahead: tuple[FrameChunk, Future[tuple[list[list[FaceView]], float]]] | None = None

    def process(self, chunk: FrameChunk) -> Iterator[FaceCrop | TaggedOutput[Literal["samples"], Sample]]:
        before, self._ahead = self._ahead, (chunk, self._thread.submit(self._detect, chunk))
        if before is not None:
            yield from self._found(*before)

    def finish_bundle(self) -> Iterator[WindowedValue | TaggedOutput[Literal["samples"], WindowedValue]]:
        if self._ahead is None:
            return
        before, self._ahead = self._ahead, None
        for item in self._found(*before):
            if isinstance(item, TaggedOutput):
                yield TaggedOutput(item.tag, GlobalWindows.windowed_value(item.value))
            else:
                yield GlobalWindows.windowed_value(item)

    def _detect(self, chunk: FrameChunk) -> tuple[list[list[FaceView]], float]:
        """The faces of each frame, and the seconds it took."""
        started = time.monotonic()
        found = see_faces(self._detector, self._mesh, [frame.image for frame in chunk.frames])
        return found, time.monotonic() - started

    def _found(
        self, chunk: FrameChunk, detection: Future[tuple[list[list[FaceView]], float]]
    ) -> Iterator[FaceCrop | TaggedOutput[Literal["samples"], Sample]]:
        found, seconds = detection.result()
        metrics.DETECT_MS.update(round(1000 * seconds))
        faces = 0
        for sample, crops in look_at_chunk(chunk, found, self._model, self._settings):
            yield TaggedOutput(SAMPLES, sample)
            yield from crops
            faces += len(crops)
        metrics.SAMPLES_SEARCHED.inc(len(chunk.frames))
        advance(chunk.advance_us / 1e6, len(chunk.frames), faces)

    def teardown(self) -> None:
        self._thread.shutdown()


class DetectFaces(beam.PTransform):
    """PCollection[FrameChunk] → FaceCrops (main), Samples (`samples`)."""

    def __init__(self, settings: Settings, model: ModelSpec) -> None:
        """Use the settings' detector and cut crops as the model asks."""
        super().__init__()
        self._settings = settings
        self._model = model

    def expand(self, chunks: beam.PCollection[FrameChunk]) -> beam.pvalue.DoOutputsTuple:
        """Wire the step."""
        return chunks | beam.ParDo(_DetectFaces(self._settings, self._model)).with_outputs(
            SAMPLES, main="crops"
        )
