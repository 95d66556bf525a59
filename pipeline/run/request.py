"""What a user asks of a run, checked before anything is done."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from models.classify.spec import ModelRef
from models.detectors import get_detector, make_detector
from pipeline.build import Execution
from pipeline.run import dataflow
from schemas.errors import UsageError
from schemas.settings import Settings
from transforms.faces.look import find_model_anywhere
from transforms.timelines.smoothing import SMOOTHING_METHODS

BEAM_RUNNERS = {"local": "FnApiRunner", "directrunner": "FnApiRunner", "dataflow": dataflow.RUNNER}


@dataclass(frozen=True)
class Request:
    """What was asked for, checked."""

    inputs: Sequence[str]
    settings: Settings
    model: ModelRef
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
) -> tuple[Settings, ModelRef]:
    """The settings as asked for; UsageError says what to do about a name that there is not."""
    weights_sha256 = _check_detector(detector, min_face, detector_weights)
    check_smoothing(smoothing)
    found = find_model_anywhere(model)
    settings = Settings(
        fps=fps,
        detector=detector,
        detector_weights=detector_weights,
        detector_sha256=weights_sha256,
        min_face=min_face,
        model=model,
        model_sha256=found.sha256,
        classes=found.spec.classes,
        prior=found.spec.prior,
        smoothing=smoothing,
        window_s=window,
        crops=not no_crops,
    )
    return settings, found


def _check_detector(name: str, min_face: float, weights: str | None) -> str | None:
    """The hash of the weights file, if one is given; UsageError when the detector cannot be had."""
    if not get_detector(name).takes_weights and weights is None:
        return None  # comes with its weights; loading it can wait for the workers
    make_detector(name, min_face, weights)
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
