"""One run: from what the user asked for to tables that add up."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from models.classifier import ModelSpec, read_model_spec
from models.detectors import DETECTORS
from pipeline import local
from pipeline.build import Execution, emotion_timelines
from pipeline.errors import RunError, UsageError
from pipeline.progress import watch
from pipeline.reconcile import check_sums
from schemas.elements import Video
from schemas.settings import Settings
from transforms.find_videos import FindVideos, InputError, find_videos
from transforms.smoothing import SMOOTHING_METHODS
from transforms.storage import clear_scratch
from transforms.video_tables import compacted_ids, drop_compacted
from transforms.write_tables import is_done

_RUNNERS = {"local": "FnApiRunner", "directrunner": "FnApiRunner", "dataflow": "DataflowRunner"}


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


def check_settings(
    *,
    fps: str,
    detector: str,
    min_face: float,
    model: str,
    smoothing: str,
    window: float | None,
    no_crops: bool,
) -> tuple[Settings, ModelSpec]:
    """The settings as asked for; UsageError says what to do about a name that there is not."""
    if detector not in DETECTORS:
        raise UsageError(f"There is no detector '{detector}'; choose one of {', '.join(DETECTORS)}.")
    if smoothing not in SMOOTHING_METHODS:
        raise UsageError(
            f"There is no smoothing '{smoothing}'; choose one of {', '.join(SMOOTHING_METHODS)}."
        )
    try:
        spec = read_model_spec(model)
    except ValueError as error:
        raise UsageError(str(error)) from error
    settings = Settings(
        fps=fps,
        detector=detector,
        min_face=min_face,
        model=model,
        model_sha256=spec.sha256,
        smoothing=smoothing,
        window_s=window,
        crops=not no_crops,
    )
    return settings, spec


def check_runner(name: str) -> str:
    """Beam's name of a runner; UsageError for one that loses data."""
    if "dask" in name.lower():
        raise UsageError(
            "Beam's DaskRunner reports success and loses rows (RunInference answered for 16 of 20 "
            "elements); choose another runner."
        )
    return _RUNNERS.get(name.lower(), name)


def match(inputs: Sequence[str]) -> list[Video]:
    """Every video that the inputs name; UsageError when one names nothing readable."""
    try:
        return find_videos(inputs)
    except InputError as error:
        raise UsageError(str(error)) from error


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the row in `videos` of every input, and how many were done before it."""

    rows: list[dict[str, Any]]
    skipped: int

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The inputs of which nothing could be read."""
        return [row for row in self.rows if row["status"] == "failed"]


def execute(request: Request) -> Outcome:
    """Find the videos, process those that are not done, and check that all tables add up.

    Raises UsageError before anything is written, and RunError when the run itself fails.
    """
    videos = match(request.inputs)
    if request.runner != _RUNNERS["local"]:
        return _submit(request, videos)
    out = request.execution.out
    local.make_output_folder(out)
    with local.locked(out), local.chatter_to(local.log_path(out)) as terminal:
        return _run_here(request, videos, terminal)


def _run_here(request: Request, videos: Sequence[Video], terminal: IO[str]) -> Outcome:
    out, config_hash = request.execution.out, request.settings.config_hash()
    done = [video for video in videos if not request.force and is_done(video, out, config_hash)]
    pending = [video for video in videos if video not in set(done)]
    rows = check_sums(done, out, config_hash)
    local.prepare_workers(request.workers)
    clear_scratch(out)
    drop_compacted(out, {video.video_id for video in pending})
    with watch(terminal, len(pending), sum(video.size_bytes for video in pending)) as progress:
        for wave, seconds in local.waves(pending, request.wave_minutes * 60):
            progress.wave(seconds, sum(video.size_bytes for video in wave))
            local.run_wave(
                wave,
                request.settings,
                request.model,
                request.execution,
                request.workers,
                request.beam_options,
            )
            rows += check_sums(wave, out, config_hash)
            progress.finished(len(wave))
            _check_failures(rows, request.max_failure_ratio)
    clear_scratch(out)
    return Outcome(sorted(rows, key=lambda row: row["video_id"]), len(done))


def _submit(request: Request, videos: Sequence[Video]) -> Outcome:
    """Run one pipeline on another runner, wait for it, and check its tables."""
    out, config_hash = request.execution.out, request.settings.config_hash()
    options = PipelineOptions([f"--runner={request.runner}", *request.beam_options], save_main_session=False)
    in_large_files = compacted_ids(out)
    held = [video for video in videos if video.video_id in in_large_files]
    redone = [video for video in held if request.force or not is_done(video, out, config_hash)]
    drop_compacted(out, {video.video_id for video in redone})
    pipeline = beam.Pipeline(options=options)
    found = pipeline | "FindVideos" >> FindVideos(request.inputs)
    if not request.force:
        found |= "NotDone" >> beam.Filter(lambda video: not is_done(video, out, config_hash))
    emotion_timelines(found, request.settings, request.model, request.execution)
    pipeline.run().wait_until_finish()
    rows = check_sums(videos, out, config_hash)
    _check_failures(rows, request.max_failure_ratio)
    return Outcome(rows, 0)


def _check_failures(rows: Sequence[dict[str, Any]], max_ratio: float) -> None:
    failed = sum(row["status"] == "failed" for row in rows)
    if rows and failed / len(rows) > max_ratio:
        raise RunError(
            f"{failed} of {len(rows)} videos could not be read, more than --max-failure-ratio {max_ratio:g} "
            "allows; see the `failures` table."
        )
