"""What a user asks of a run, checked before anything is done."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from models.classify.spec import ModelSpec, read_model_spec
from models.detectors import DETECTORS, make_detector
from pipeline.build import Execution
from pipeline.errors import UsageError
from pipeline.run import dataflow
from schemas.elements import Video
from schemas.settings import Settings
from transforms.remote import LocalCopies
from transforms.timelines.smoothing import SMOOTHING_METHODS
from transforms.video.inputs import InputError, find_videos

BEAM_RUNNERS = {"local": "FnApiRunner", "directrunner": "FnApiRunner", "dataflow": dataflow.RUNNER}


@dataclass(frozen=True)
class Request:
    """What was asked for, checked."""

    inputs: Sequence[str]
    settings: Settings
    model: ModelSpec
    execution: Execution
    workers: int
    wave_minutes: float
    force: bool
    max_failure_ratio: float
    runner: str  # Beam's name
    beam_options: Sequence[str]
    cloud: dataflow.Cloud


def check_settings(
    *,
    fps: str,
    detector: str,
    detector_weights: str | None,
    min_face: float,
    model: str,
    smoothing: str,
    window: float | None,
    no_crops: bool,
) -> tuple[Settings, ModelSpec]:
    """The settings as asked for; UsageError says what to do about a name that there is not."""
    weights_sha256 = _check_detector(detector, min_face, detector_weights)
    check_smoothing(smoothing)
    spec = _model_spec(model)
    settings = Settings(
        fps=fps,
        detector=detector,
        detector_weights=detector_weights,
        detector_sha256=weights_sha256,
        min_face=min_face,
        model=model,
        model_sha256=spec.sha256,
        classes=spec.classes,
        prior=spec.prior,
        smoothing=smoothing,
        window_s=window,
        crops=not no_crops,
    )
    return settings, spec


def _check_detector(name: str, min_face: float, weights: str | None) -> str | None:
    """The hash of the weights file, if one is given; UsageError when the detector cannot be had."""
    if name not in DETECTORS:
        raise UsageError(f"There is no detector '{name}'; choose one of {', '.join(DETECTORS)}.")
    if name != "yunet" and weights is None:
        return None  # comes with its weights; loading it can wait for the workers
    try:
        make_detector(name, min_face, Path(weights) if weights else None)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return hashlib.sha256(Path(weights).read_bytes()).hexdigest() if weights else None


def check_smoothing(name: str) -> None:
    """UsageError when there is no such way to smooth."""
    if name not in SMOOTHING_METHODS:
        raise UsageError(f"There is no smoothing '{name}'; choose one of {', '.join(SMOOTHING_METHODS)}.")


def check_runner(name: str, cloud: dataflow.Cloud, inputs: Sequence[str], out: str) -> str:
    """Beam's name of a runner; UsageError for one that loses data, or that cannot do this job."""
    if "dask" in name.lower():
        raise UsageError(
            "Beam's DaskRunner reports success and loses rows (RunInference answered for 16 of 20 "
            "elements); choose another runner."
        )
    beam_runner = BEAM_RUNNERS.get(name.lower(), name)
    if beam_runner == dataflow.RUNNER:
        cloud.check()
        dataflow.check_inputs(inputs, out)
    elif cloud != dataflow.Cloud():
        raise UsageError("--project, --region, --gpu and --separate-gpu-stage go with --runner dataflow.")
    return beam_runner


def match(inputs: Sequence[str], out: str | None = None) -> list[Video]:
    """Every video that the inputs name, with the ids that they have below `out`.

    Raises UsageError when one names nothing readable.
    """
    try:
        return find_videos(inputs, out)
    except InputError as error:
        raise UsageError(str(error)) from error


def _model_spec(model: str) -> ModelSpec:
    """What is known of a model by its name, its file or the URI of its file."""
    try:
        with LocalCopies() as copies:
            return replace(read_model_spec(copies.path(model, fingerprint="")), name=model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    except OSError as error:
        raise UsageError(f"The model {model} cannot be read: {error}.") from error
