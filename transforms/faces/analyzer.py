"""A detector and a classifier as one: what finds the faces in a picture and names their emotions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from models.classify.classifier import Classifier
from models.classify.crop import make_crop
from models.classify.spec import ModelRef, ModelSpec
from models.detectors import Box, Detector, make_detector
from models.detectors.boxes import check_image
from models.mesh import FaceMesh, load_mesh
from schemas import defaults
from schemas.emotions import EMOTIONS, all_emotions
from transforms.faces.look import find_model_anywhere, load_model
from transforms.faces.view import FaceView, see_faces


@dataclass(frozen=True)
class Analyzer:
    """A loaded detector, classifier and face mesh. For one thread at a time, as its parts are.

    keep_mesh: whether the faces that are found keep their meshes, for drawing and JSON.
    """

    detector: Detector
    classifier: Classifier
    mesh: FaceMesh = field(default_factory=load_mesh)
    keep_mesh: bool = False

    @property
    def spec(self) -> ModelSpec:
        """How the classifier wants a face cut out, and which classes it knows."""
        return self.classifier.spec

    @classmethod
    def load(
        cls,
        model: str | ModelRef = defaults.MODEL,
        detector: str = defaults.DETECTOR,
        min_face: float = defaults.MIN_FACE,
        detector_weights: str | Path | None = None,
        mesh: bool = False,
    ) -> Self:
        """Load both, ready to use.

        Args:
            model: a shipped name, the path or URI of a file, or a file found before.
            detector: one of `models.detectors.DETECTORS`.
            min_face: the smallest face wanted, as a part of the picture's shorter side.
            detector_weights: a file for a detector that takes one.
            mesh: let faces keep their mesh, for drawing and JSON.

        Raises:
            UsageError: one of them cannot be had; nothing slow was done by then.
            ModelChangedError: the model's file is no longer the one found before.
        """
        found = _find(model)
        found_by = make_detector(detector, min_face, detector_weights)
        return cls(found_by, load_model(found), keep_mesh=mesh)

    @classmethod
    def load_for_crops(cls, model: str | ModelRef = defaults.MODEL, mesh: bool = False) -> Self:
        """Load a model for pictures that are a face from edge to edge, as training pictures are."""
        found = _find(model)
        return cls(_WholePicture(found.spec.crop.scale), load_model(found), keep_mesh=mesh)


def _find(model: str | ModelRef) -> ModelRef:
    return find_model_anywhere(model) if isinstance(model, str) else model


class _WholePicture:
    """Takes each picture for one face, which a model's crop then leaves as it is.

    One that is not square is completed by repeating its border.
    """

    name = "whole picture"

    def __init__(self, crop_scale: float) -> None:
        self._frame_scale = 1 / crop_scale

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        for image in images:
            check_image(image)
        sizes = [(float(image.shape[1]), float(image.shape[0])) for image in images]
        return [[Box(0.0, 0.0, w, h, score=1.0, frame_scale=self._frame_scale)] for w, h in sizes]


@dataclass(frozen=True)
class AnalyzedFace:
    """A face in a picture and what the model says of it.

    view: in pixels of the upright picture, with the detector's score. emotions: the seven, then those
    classes of the model that are beside them. probabilities: float32, one for each of `emotions`; nan for
    classes that the model does not know, the others sum to 1.
    """

    view: FaceView
    probabilities: np.ndarray
    emotions: tuple[str, ...] = field(default=EMOTIONS, kw_only=True)

    @property
    def box(self) -> Box:
        """Where it is."""
        return self.view.box

    @property
    def emotion(self) -> str:
        """The most probable class."""
        return self.emotions[int(np.nanargmax(self.probabilities))]

    @property
    def confidence(self) -> float:
        """The probability of that class, 0 to 1."""
        return float(np.nanmax(self.probabilities))

    def as_json(self) -> dict[str, Any]:
        """The face for machines: pixels, degrees, and probabilities by emotion, null where not known."""
        mesh = self.view.mesh
        return {
            **{name: round(value, 2) for name, value in zip("xywh", self.box[:4], strict=True)},
            "score": round(self.box.score, 4),
            **{name: _known(value, 1) for name, value in self.view.pose._asdict().items()},
            "sharpness": _known(self.view.sharpness, 2),
            "face_px": round(self.view.face_px, 2),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 4),
            "probabilities": {
                emotion: _known(float(value), 4)
                for emotion, value in zip(self.emotions, self.probabilities, strict=True)
            },
            **({} if mesh is None else {"mesh": np.round(mesh[:, :2].astype(float), 1).tolist()}),
        }


def _known(value: float, digits: int) -> float | None:
    return None if np.isnan(value) else round(value, digits)


@dataclass(frozen=True)
class TrackedFace(AnalyzedFace):
    """A face that is followed through a video: its probabilities are smoothed, its track has a number."""

    track: int

    def as_json(self) -> dict[str, Any]:
        """The face for machines, with its track."""
        return {"track": self.track, **super().as_json()}


def find_faces(picture: np.ndarray, analyzer: Analyzer) -> list[AnalyzedFace]:
    """The faces in a picture with their emotions, the surest face first.

    picture: uint8 RGB [H, W, 3], upright. Raises ValueError for an array of another kind.
    """
    [views] = see_faces(analyzer.detector, analyzer.mesh, [picture])
    if not views:
        return []
    crops = np.stack([make_crop(picture, view.box.frame, analyzer.spec) for view in views])
    probabilities = analyzer.classifier.predict_emotions(crops)
    emotions = all_emotions(analyzer.spec.classes)
    if not analyzer.keep_mesh:
        views = [view._replace(mesh=None) for view in views]
    return [
        AnalyzedFace(view, row, emotions=emotions) for view, row in zip(views, probabilities, strict=True)
    ]
