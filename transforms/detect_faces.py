"""DetectFaces: find the faces of each chunk of frames and cut them out."""

import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Final, Literal, NamedTuple

import apache_beam as beam
import cv2
import numpy as np
from apache_beam.pvalue import TaggedOutput

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


def load_detector(settings: Settings) -> Detector:
    """The detector that the settings name."""
    weights = settings.detector_weights
    return make_detector(settings.detector, settings.min_face, Path(weights) if weights else None)


class _DetectFaces(beam.DoFn):
    def __init__(self, settings: Settings, model: ModelSpec) -> None:
        self._settings = settings
        self._model = model
        self._thumbnail_interval = thumbnail_interval(settings.sampling_rate)

    def setup(self) -> None:
        self._detector: Detector = load_detector(self._settings)

    def process(self, chunk: FrameChunk) -> Iterator[FaceCrop | TaggedOutput[Literal["samples"], Sample]]:
        started = time.monotonic()
        found = self._detector.detect([frame.image for frame in chunk.frames])
        metrics.DETECT_MS.update(round(1000 * (time.monotonic() - started)))
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
