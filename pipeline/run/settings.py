"""Settings as a user says them, checked; without Beam."""

import hashlib
from dataclasses import replace
from pathlib import Path

from models.classify.spec import ModelRef
from models.detectors import get_detector, make_detector
from pipeline.run.options import SettingsOptions, check_limits
from schemas.errors import UsageError
from schemas.settings import WINDOWS_S, Settings
from transforms.faces.look import find_model_anywhere
from transforms.timelines.smoothing import SMOOTHING_METHODS


def check_settings(options: SettingsOptions) -> tuple[Settings, ModelRef]:
    """The settings as asked for; UsageError says what to do about a name that there is not."""
    check_limits(options)
    weights_sha256 = _check_detector(options.detector, options.min_face, options.detector_weights)
    check_smoothing(options.smoothing)
    model = find_model_anywhere(options.model)
    settings = Settings(
        fps=str(options.fps),
        detector=options.detector,
        detector_weights=options.detector_weights,
        detector_sha256=weights_sha256,
        min_face=options.min_face,
        model=options.model,
        model_sha256=model.sha256,
        model_head=model.head,
        classes=model.spec.classes,
        prior=model.spec.prior,
        crops=options.crops,
        appearance=options.appearance,
    )
    return smoothed_settings(settings, options.smoothing, options.window), model


def _check_detector(name: str, min_face: float, weights: str | None) -> str | None:
    """The hash of the weights file, if one is given; UsageError when the detector cannot be had.

    Of another package's detector it is that of the package's name and version: another may find other faces.
    """
    kind = get_detector(name)
    if not (kind.takes_weights or kind.origin or weights):
        return None  # comes with its weights; loading it can wait for the workers
    make_detector(name, min_face, weights)
    if kind.origin:
        return hashlib.sha256(kind.origin.encode()).hexdigest()
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest() if weights else None


def check_smoothing(name: str) -> None:
    """UsageError when there is no such way to smooth."""
    if name not in SMOOTHING_METHODS:
        raise UsageError(f"There is no smoothing '{name}'; choose one of {', '.join(SMOOTHING_METHODS)}.")


def smoothed_settings(settings: Settings, smoothing: str, window: float | None) -> Settings:
    """The settings with other smoothing; UsageError when there is none such.

    window: seconds; None for the method's own.
    """
    check_smoothing(smoothing)
    if window is not None and not window > 0:
        raise UsageError(f"The smoothing window is {window} seconds; it must be above 0.")
    return replace(settings, smoothing=smoothing, window_s=window or WINDOWS_S.get(smoothing))
