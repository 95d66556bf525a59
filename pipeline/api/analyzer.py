"""A detector and a model, loaded once: pictures to faces, a video to its timeline."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.api.html import face_html
from pipeline.api.timeline import Timeline
from pipeline.run.bars import bar_of_seconds
from pipeline.run.options import SettingsOptions, check_rate
from pipeline.run.settings import check_settings, smoothed_settings
from pipeline.run.stderr import redirect_stderr
from schemas import defaults
from schemas.errors import UnreadablePictureError, UsageError
from schemas.tables import POSE
from transforms.faces import analyzer, pictures
from transforms.faces.thumbnails import make_thumbnail
from transforms.process import process_video
from transforms.remote import LocalCopies, exists, require_file_system


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a picture.

    x, y, w, h: its box in pixels of the upright picture. score: the detector's, 0 to 1. yaw, pitch,
    roll: how the head is turned, in degrees, None where that cannot be known; these and sharpness as in
    docs/pose.md. probabilities: of each emotion that the model knows; they sum to 1. thumbnail: a small
    JPEG of it.
    """

    x: float
    y: float
    w: float
    h: float
    score: float
    yaw: float | None
    pitch: float | None
    roll: float | None
    sharpness: float
    probabilities: Mapping[str, float]
    thumbnail: bytes

    @property
    def emotion(self) -> str:
        """The most probable emotion."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """Its probability, 0 to 1."""
        return self.probabilities[self.emotion]

    @property
    def face_px(self) -> float:
        """The shorter side of its box, in pixels."""
        return min(self.w, self.h)

    def as_dict(self) -> dict[str, Any]:
        """The face as a row with the columns of `timelines`, for a data frame."""
        names = ("x", "y", "w", "h", "score")
        measures = (*POSE, "sharpness", "face_px")
        return {
            **{name: getattr(self, name) for name in names},
            **self.probabilities,
            "emotion": self.emotion,
            "confidence": self.confidence,
            **{name: getattr(self, name) for name in measures},
        }

    def __repr__(self) -> str:
        box = f"x={self.x:.0f}, y={self.y:.0f}, w={self.w:.0f}, h={self.h:.0f}"
        return f"<Face {self.emotion} {self.confidence:.0%}, {box}>"

    def _repr_html_(self) -> str:
        return face_html(self.thumbnail, self.probabilities)


class Analyzer:
    """A face detector and a model, loaded once, for any number of pictures and videos.

    For one thread at a time.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = defaults.MODEL,
        detector: str = defaults.DETECTOR,
        min_face: float = defaults.MIN_FACE,
        *,
        detector_weights: str | os.PathLike[str] | None = None,
    ) -> None:
        """Load both.

        Args:
            model: one of `affectline.models()` by name, or the path or URI of a file: see docs/models.md.
            detector: one of `affectline.detectors()` by name.
            min_face: the smallest face wanted, as a part of the picture's shorter side.
            detector_weights: a file for a detector that takes one.

        Raises:
            UsageError: one of them cannot be had.
        """
        options = SettingsOptions(
            model=os.fspath(model),
            detector=detector,
            min_face=min_face,
            detector_weights=None if detector_weights is None else os.fspath(detector_weights),
        )
        self._settings, found = check_settings(options)
        with redirect_stderr(os.devnull):  # libraries talk while they load and compute for the first time
            self._analyzer = analyzer.Analyzer.load(found, detector, min_face, options.detector_weights)
            spec = self._analyzer.spec
            nothing = np.zeros((1, spec.input_size, spec.input_size, spec.channels), np.uint8)
            self._analyzer.classifier.predict_emotions(nothing)

    def image(self, picture: str | os.PathLike[str] | bytes | npt.NDArray[np.uint8]) -> list[Face]:
        """The faces in a picture, the surest first; none is no error.

        Args:
            picture: the path or URI of a file, a file's bytes, or pixels: uint8 RGB [height, width, 3].

        Raises:
            UsageError: there is no such file.
            UnreadablePictureError: what is there is no picture.
            ValueError: pixels of another shape or type.
        """
        pixels = picture if isinstance(picture, np.ndarray) else _read(picture)
        return [_face(found, pixels) for found in analyzer.find_faces(pixels, self._analyzer)]

    def video(
        self,
        path: str | os.PathLike[str],
        fps: str | float = defaults.FPS,
        *,
        smoothing: str = defaults.SMOOTHING,
        window: float | None = None,
        crops: bool = True,
        progress: bool | None = None,
    ) -> Timeline:
        """A video's timeline, with the very rows that a run writes; read here, in this process.

        A video that cannot be read gives a timeline without rows, whose `status` and `error` say so.

        Args:
            path: a file, or a URI that Beam reads.
            fps: samples a second, as a number, its decimal or a fraction; 0 takes every frame.
            smoothing: `hmm`, `ema`, `median`, `mode` or `none`.
            window: of the smoothing, in seconds; None for the method's own.
            crops: whether each track keeps a picture of its face.
            progress: show a bar; None to do so where somebody watches, on a terminal or in a notebook.

        Raises:
            UsageError: `path` names no video, or an argument is out of range.
        """
        check_rate(fps)
        settings = replace(smoothed_settings(self._settings, smoothing, window), fps=str(fps), crops=crops)
        with bar_of_seconds(progress) as watch:
            timeline = process_video(os.fspath(path), self._analyzer, settings, watch)
        return Timeline(timeline, settings)


def _read(picture: str | os.PathLike[str] | bytes) -> npt.NDArray[np.uint8]:
    if isinstance(picture, bytes):
        return pictures.read_picture(BytesIO(picture))
    path = os.fspath(picture)
    require_file_system(path)
    if not exists(path):
        raise UsageError(f"{path} does not exist.")
    try:
        with LocalCopies() as copies:
            return pictures.read_picture(copies.path(path, fingerprint=""))
    except UnreadablePictureError as error:
        raise UnreadablePictureError(f"{path}: {error}") from error


def _face(found: analyzer.AnalyzedFace, pixels: npt.NDArray[np.uint8]) -> Face:
    known = {
        name: float(value)
        for name, value in zip(found.emotions, found.probabilities, strict=True)
        if not np.isnan(value)
    }
    box = found.box
    yaw, pitch, roll = (None if np.isnan(degrees) else degrees for degrees in found.view.pose)
    return Face(
        x=box.x,
        y=box.y,
        w=box.w,
        h=box.h,
        score=box.score,
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        sharpness=found.view.sharpness,
        probabilities=known,
        thumbnail=make_thumbnail(pixels, box),
    )
