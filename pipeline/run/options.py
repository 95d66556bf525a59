"""The options of a run, listed once: the command and the flex template take theirs from here."""

from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import Any, Final, TypedDict

from schemas import defaults
from schemas.errors import UsageError

# The headings that the command's help has them under.
COMMON: Final = "Options"
FACES: Final = "Faces and what is kept of them"
AGAIN: Final = "Videos that have rows already"
WORK: Final = "How the work is done"
RUNNERS: Final = "Dataflow and other runners"
TOLD: Final = "What a run tells"


def _option(
    default: Any,
    text: str,
    group: str = COMMON,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    metavar: str | None = None,
) -> Any:
    """A field with what the command's help says of it, and the numbers that it may be."""
    limits = {"at_least": at_least, "above": above, "at_most": at_most}
    return field(default=default, metadata={"help": text, "group": group, "metavar": metavar, **limits})


@dataclass(frozen=True, kw_only=True)
class SettingsOptions:
    """What decides the tables' content, as a user says it."""

    fps: str | float = _option(defaults.FPS, "Samples a second; 0: every frame.")
    model: str = _option(defaults.MODEL, "A model's name, or its file: .keras, .onnx, .tflite, .affectline.")
    detector: str = _option(defaults.DETECTOR, "Face detector: mtcnn, haar, yunet, or an installed one.")
    smoothing: str = _option(defaults.SMOOTHING, "hmm, ema, median, mode or none.")
    window: float | None = _option(
        None, "Smoothing window in seconds; each method has its own.", FACES, above=0, metavar="SECONDS"
    )
    min_face: float = _option(
        defaults.MIN_FACE, "Smallest face, as a part of the frame's shorter side.", FACES, above=0, at_most=1
    )
    detector_weights: str | None = _option(
        None, "Weights for yunet, instead of a download.", FACES, metavar="FILE"
    )
    crops: bool = _option(
        True,
        "Store no pictures of faces but `appearance`, 4 by 5 points of colour each, for tracking.",
        FACES,
    )
    appearance: bool = _option(
        True, "Store no `appearance` either; other smoothing then keeps the tracks as they are.", FACES
    )


@dataclass(frozen=True, kw_only=True)
class RunOptions(SettingsOptions):
    """What a run may be told; but for the settings, none of it changes what is written."""

    workers: int | None = _option(
        None, "Local processes; auto: as many as pay.", at_least=1, metavar="N|auto"
    )
    force: bool = _option(False, "Do finished videos again.", AGAIN)
    redo: bool = _option(
        False, "Do those again that were read with other settings, without being asked.", AGAIN
    )
    retry_failed: bool = _option(False, "Do those again that failed or were read in part.", AGAIN)
    root: str | None = _option(
        None,
        "Folder that videos' paths count from: where a corpus lies now that has moved.",
        AGAIN,
        metavar="DIR",
    )
    segment_seconds: float = _option(
        60.0, "Cut videos into pieces of this length for workers; 0: one piece.", WORK, at_least=0
    )
    segment_timeout: float = _option(
        300.0, "Seconds a decoder may take for a minute of video.", WORK, above=0
    )
    wave_minutes: float = _option(30.0, "Minutes of video committed together in a local run.", WORK, above=0)
    batch_size: int | None = _option(
        None, "Faces classified at once; auto: as many as pay and fit.", WORK, at_least=1, metavar="N|auto"
    )
    max_failure_ratio: float = _option(
        1.0, "End the run when more than this part of all videos cannot be read.", WORK, at_least=0, at_most=1
    )
    runner: str = _option("local", "local, dataflow, or the name of another Beam runner.", RUNNERS)
    project: str | None = _option(None, "Google Cloud project that Dataflow runs in.", RUNNERS)
    region: str | None = _option(None, "Google Cloud region that Dataflow runs in.", RUNNERS)
    gpu: str | None = _option(None, "GPU of Dataflow's workers, such as nvidia-l4.", RUNNERS)
    separate_gpu_stage: bool = _option(
        False, "Decode and detect on CPU workers, classify on GPU workers.", RUNNERS
    )
    log_format: str = _option("text", "How affectline.log is written: text, or json for machines.", TOLD)
    quiet: bool = _option(False, "Show nothing on stderr but errors.", TOLD)
    summary_json: str | None = _option(
        None,
        "Write how the run ended as one JSON object; -: to stdout, instead of text.",
        TOLD,
        metavar="FILE",
    )


class SettingsKeywords(TypedDict, total=False):
    """The fields of SettingsOptions, for a function's keywords."""

    fps: str | float
    detector: str
    detector_weights: str | None
    min_face: float
    model: str
    smoothing: str
    window: float | None
    crops: bool
    appearance: bool


class RunKeywords(SettingsKeywords, total=False):
    """The fields of RunOptions, for a function's keywords."""

    segment_seconds: float
    segment_timeout: float
    wave_minutes: float
    workers: int | None
    batch_size: int | None
    force: bool
    redo: bool
    retry_failed: bool
    root: str | None
    max_failure_ratio: float
    runner: str
    project: str | None
    region: str | None
    gpu: str | None
    separate_gpu_stage: bool
    log_format: str
    quiet: bool
    summary_json: str | None


def check_rate(value: str | float) -> Fraction:
    """Samples a second, exactly as said: a number, its decimal, a fraction; UsageError for anything else."""
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError) as error:
        raise UsageError(f"{value!r} is not a number.") from error
    if rate < 0:
        raise UsageError("samples a second cannot be negative; 0 takes every frame.")
    return rate


def check_limits(options: SettingsOptions) -> None:
    """UsageError for a number that its option may not be."""
    check_rate(options.fps)
    for option in fields(options):
        value, limits = getattr(options, option.name), option.metadata
        low, above, high = limits["at_least"], limits["above"], limits["at_most"]
        if value is None or (low, above, high) == (None, None, None):
            continue
        if (low is not None and value < low) or (above is not None and value <= above):
            raise UsageError(f"{option.name} is {value}; give {_more_than(low, above)}.")
        if high is not None and value > high:
            raise UsageError(f"{option.name} is {value}; give at most {high}.")


def _more_than(low: float | None, above: float | None) -> str:
    return f"more than {above}" if low is None else f"at least {low}"
