"""DetectFaces: find the faces of each chunk of frames and cut them out."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Final, Literal, NamedTuple

import apache_beam as beam
import cv2
import numpy as np
from apache_beam.pvalue import TaggedOutput
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from models.classifier import ModelSpec, make_crop
from models.detectors import Box, Detector, face_frame, make_detector
from schemas.elements import NO_FACE, OK, Face, Sample
from schemas.settings import Settings
from transforms import metrics
from transforms.progress import advance
from transforms.sample_frames import SAMPLES, FrameChunk
from transforms.shots import frame_signature
from transforms.tracking import describe_face
from transforms.video import SampledFrame

THUMBNAIL_SIZE: Final = 72
THUMBNAILS_PER_SECOND: Final = Fraction(5, 2)
_FPS_OF_EVERY_FRAME: Final = 30  # assumed for thumbnails alone


class FaceCrop(NamedTuple):
    """A face whose probabilities are still to come, with the model's picture of it."""

    face: Face
    crop: np.ndarray  # uint8 [H, W, C]


def thumbnail_interval(fps: Fraction) -> int:
    """Every how many samples faces carry a thumbnail, so that rows stay small at any rate."""
    return max(1, round((fps or _FPS_OF_EVERY_FRAME) / THUMBNAILS_PER_SECOND))


def make_thumbnail(image: np.ndarray, box: Box) -> bytes:
    """A square JPEG of a face and a little around it, from an RGB picture uint8 [H, W, 3]."""
    height, width = image.shape[:2]
    half = 0.65 * max(box.w, box.h)
    center_x, center_y = box.x + box.w / 2, box.y + box.h / 2
    left, right = max(0, round(center_x - half)), min(width, round(center_x + half))
    top, bottom = max(0, round(center_y - half)), min(height, round(center_y + half))
    face = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    scale = THUMBNAIL_SIZE / max(face.shape[:2])
    size = (max(1, round(face.shape[1] * scale)), max(1, round(face.shape[0] * scale)))
    small = cv2.resize(face, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return encoded.tobytes()


def look_at(
    video_id: str, frame: SampledFrame, boxes: list[Box], detector: str, model: ModelSpec, thumbnails: bool
) -> tuple[Sample, list[FaceCrop]]:
    """What one frame contributes: its sample row, and each face with the crop the model wants.

    detector: the name of the one that found the boxes.
    """
    sample = Sample(
        video_id=video_id,
        sample=frame.sample,
        pts_us=frame.pts_us,
        status=OK if boxes else NO_FACE,
        faces=len(boxes),
        signature=frame_signature(frame.image),
    )
    crops = [
        FaceCrop(
            Face(
                video_id=video_id,
                sample=frame.sample,
                pts_us=frame.pts_us,
                x=box.x,
                y=box.y,
                w=box.w,
                h=box.h,
                score=box.score,
                raw=[],
                appearance=describe_face(frame.image, np.array(box[:4], np.float32)),
                thumbnail=make_thumbnail(frame.image, box) if thumbnails else b"",
            ),
            make_crop(frame.image, face_frame(detector, box), model),
        )
        for box in boxes
    ]
    return sample, crops


def detect_changes(detector: Detector, images: Sequence[np.ndarray]) -> list[list[Box]]:
    """The faces of neighbouring frames, looked for only where a frame differs from the one before it.

    images: uint8 [height, width, 3]. A frame's faces depend on nothing but its pixels, so those of an equal
    frame are the same; slides and stills are full of them.
    """
    changed = [number == 0 or not _equal(images[number - 1], images[number]) for number in range(len(images))]
    found = detector.detect([image for image, new in zip(images, changed, strict=True) if new])
    return [found[place - 1] for place in accumulate(changed)]


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    middle = len(a) // 2
    # One row tells most unequal frames apart.
    return a.shape == b.shape and np.array_equal(a[middle], b[middle]) and np.array_equal(a, b)


def load_detector(settings: Settings) -> Detector:
    """The detector that the settings name."""
    weights = settings.detector_weights
    return make_detector(settings.detector, settings.min_face, Path(weights) if weights else None)


class _DetectFaces(beam.DoFn):
    """Looks for the faces of one chunk in a thread while the one before is passed on.

    So the detector never waits for crops, tables' rows and the classifier, nor they for it.
    """

    def __init__(self, settings: Settings, model: ModelSpec) -> None:
        self._settings = settings
        self._model = model
        self._thumbnail_interval = thumbnail_interval(settings.sampling_rate)

    def setup(self) -> None:
        cv2.setNumThreads(1)  # the cores are busy with pictures of their own
        self._detector: Detector = load_detector(self._settings)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="detector")

    def start_bundle(self) -> None:
        self._ahead: tuple[FrameChunk, Future[tuple[list[list[Box]], float]]] | None = None

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

    def _detect(self, chunk: FrameChunk) -> tuple[list[list[Box]], float]:
        """The boxes of each frame, and the seconds it took."""
        started = time.monotonic()
        found = detect_changes(self._detector, [frame.image for frame in chunk.frames])
        return found, time.monotonic() - started

    def _found(
        self, chunk: FrameChunk, detection: Future[tuple[list[list[Box]], float]]
    ) -> Iterator[FaceCrop | TaggedOutput[Literal["samples"], Sample]]:
        found, seconds = detection.result()
        metrics.DETECT_MS.update(round(1000 * seconds))
        faces = 0
        for frame, boxes in zip(chunk.frames, found, strict=True):
            thumbnails = self._settings.crops and frame.sample % self._thumbnail_interval == 0
            sample, crops = look_at(
                chunk.video_id, frame, boxes, self._detector.name, self._model, thumbnails
            )
            yield TaggedOutput(SAMPLES, sample)
            yield from crops
            faces += len(boxes)
        metrics.SAMPLES.inc(len(chunk.frames))
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
