"""What a frame contributes: its sample, its faces, and the model's picture of each."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import numpy as np

from models.classify.classifier import GPU_BATCH_SIZE, Classifier, check_model
from models.classify.crop import make_crop
from models.classify.spec import ModelRef, ModelSpec, find_model, is_shipped
from models.classify.wrapped import needs_description
from models.detectors import Detector, make_detector
from schemas.elements import NO_FACE, OK, Face, Sample
from schemas.errors import UnavailableError, UsageError
from schemas.settings import Settings
from transforms.faces.thumbnails import carries_thumbnails, make_thumbnail
from transforms.faces.view import FaceView
from transforms.remote import LocalCopies, is_remote
from transforms.timelines.shots import frame_signature
from transforms.timelines.tracking import describe_face
from transforms.video.chunks import FrameChunk
from transforms.video.records import SampledFrame


class FaceCrop(NamedTuple):
    """A face whose probabilities are still to come, with the model's picture of it."""

    face: Face
    crop: np.ndarray  # uint8 [H, W, C]


def look_at(
    video_id: str, frame: SampledFrame, views: list[FaceView], model: ModelSpec, thumbnails: bool
) -> tuple[Sample, list[FaceCrop]]:
    """What one frame contributes: its sample row, and each face with the crop the model wants."""
    sample = Sample(
        video_id=video_id,
        sample=frame.sample,
        pts_us=frame.pts_us,
        status=OK if views else NO_FACE,
        faces=len(views),
        signature=frame_signature(frame.image),
    )
    crops = [
        FaceCrop(
            Face(
                video_id=video_id,
                sample=frame.sample,
                pts_us=frame.pts_us,
                x=view.box.x,
                y=view.box.y,
                w=view.box.w,
                h=view.box.h,
                score=view.box.score,
                yaw=view.pose.yaw,
                pitch=view.pose.pitch,
                roll=view.pose.roll,
                sharpness=view.sharpness,
                raw=[],
                appearance=describe_face(frame.image, np.array(view.box[:4], np.float32)),
                thumbnail=make_thumbnail(frame.image, view.box) if thumbnails else b"",
            ),
            make_crop(frame.image, view.box.frame, model),
        )
        for view in views
    ]
    return sample, crops


def look_at_chunk(
    chunk: FrameChunk, found: Sequence[list[FaceView]], model: ModelSpec, settings: Settings
) -> Iterator[tuple[Sample, list[FaceCrop]]]:
    """What each frame contributes, as `look_at`; found: the faces of each."""
    for frame, views in zip(chunk.frames, found, strict=True):
        pictured = carries_thumbnails(frame.sample, frame.pts_us, settings.sampling_rate)
        yield look_at(chunk.video_id, frame, views, model, settings.crops and pictured)


def classify(crops: Sequence[FaceCrop], classifier: Classifier) -> list[Face]:
    """One Face with its probabilities for each of at least one crop, in order.

    Raises RuntimeError when the model answers for another number, ValueError as `predict_emotions` does.
    """
    probabilities = classifier.predict_emotions(np.stack([item.crop for item in crops]))
    if len(probabilities) != len(crops):
        raise RuntimeError(f"The model gave {len(probabilities)} answers for {len(crops)} faces.")
    return [item.face._replace(raw=row) for item, row in zip(crops, probabilities.tolist(), strict=True)]


def load_detector(settings: Settings) -> Detector:
    """The detector that the settings name."""
    return make_detector(settings.detector, settings.min_face, settings.detector_weights)


def find_model_anywhere(model: str) -> ModelRef:
    """A saved model by its name, its file or the URI of its file; UsageError when it cannot be had."""
    if is_remote(model) and needs_description(model):
        raise UsageError(
            f"The model {model} is elsewhere, where no description is looked for: make one file of both with "
            "`affectline wrap`, and give that."
        )
    try:
        with LocalCopies() as copies:
            return replace(find_model(copies.path(model, fingerprint="")), name=model, location=model)
    except (OSError, UnavailableError) as error:
        raise UsageError(f"The model {model} cannot be read: {str(error).removesuffix('.')}.") from error


@cache
def check_model_anywhere(model: ModelRef) -> None:
    """UsageError when a user's own model cannot be run; those in the package are known by their hash."""
    if is_shipped(model.location):
        return
    with LocalCopies() as copies:
        check_model(replace(model, location=copies.path(model.location, model.sha256)))


def load_model(model: ModelRef, batch_size: int = GPU_BATCH_SIZE) -> Classifier:
    """Load a model from wherever it lies; ModelChangedError when its file is no longer the described one."""
    with LocalCopies() as copies:
        return Classifier(replace(model, location=copies.path(model.location, model.sha256)), batch_size)
