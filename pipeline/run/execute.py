"""One run: from a checked request to tables that add up."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from pipeline.build import emotion_timelines
from pipeline.run import dataflow, local
from pipeline.run.lock import locked
from pipeline.run.log import RunLog, run_log
from pipeline.run.progress_line import ProgressLine, watch
from pipeline.run.reconcile import check_sums, vanished
from pipeline.run.request import BEAM_RUNNERS, Request
from pipeline.run.stderr import redirect_stderr
from schemas.elements import Video
from schemas.errors import RunError, UsageError
from transforms.steps import metrics
from transforms.steps.find_videos import FindVideos
from transforms.tables.files import clear_folder, clear_scratch, scratch_folder
from transforms.tables.rows import compacted_ids, drop_compacted, require_own_tables
from transforms.tables.sources import remember_sources
from transforms.tables.write import is_done
from transforms.video.inputs import find_videos

_CHECKS_AT_ONCE = 32


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the row in `videos` of every input, and how many were done before it."""

    rows: list[dict[str, Any]]
    skipped: int
    measured: metrics.Measured = field(default_factory=dict)
    vanished: Sequence[str] = ()  # files that have rows from an earlier run and are no longer there

    @property
    def exit_code(self) -> int:
        """What the command ends with: 3 when some inputs failed."""
        return 3 if self.failed else 0

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The inputs of which nothing could be read."""
        return [row for row in self.rows if row["status"] == "failed"]


def execute(request: Request) -> Outcome | None:
    """Find the videos, process those that are not done, and check that all tables add up.

    None when all there is to do is to write a template, which others will run.

    Raises UsageError before anything is written, and RunError when the run itself fails.
    """
    if request.runner == dataflow.RUNNER:  # refuse what cannot be sent before anything far away is listed
        dataflow.job_options(request.cloud, request.out, request.beam_options)
    out = request.out
    require_own_tables(out)
    if request.runner != BEAM_RUNNERS["local"]:
        videos = find_videos(request.inputs, out)
        local.make_output_folder(out)
        with run_log(request) as log:
            return _told(log, _submit(request, videos, log))
    find_videos(request.inputs)  # what cannot be read is refused before anything is written
    local.make_output_folder(out)
    with (
        locked(out),
        run_log(request) as log,
        redirect_stderr(local.chatter_path(out)) as stderr,
        open(os.devnull, "w", encoding="utf-8") as nowhere,
    ):
        videos = find_videos(request.inputs, out)
        remember_sources(out, videos)
        return _told(log, _run_here(request, videos, nowhere if request.options.quiet else stderr, log))


def _told(log: RunLog, outcome: Outcome | None) -> Outcome | None:
    """The outcome, once the log has it."""
    if outcome is not None:
        log.sums(outcome.rows)
        log.exit_code = outcome.exit_code
    return outcome


def _run_here(request: Request, videos: Sequence[Video], terminal: IO[str], log: RunLog) -> Outcome:
    out, config_hash = request.out, request.settings.config_hash()
    done: list[Video] = []
    pending: list[Video] = []
    for video in videos:
        finished = not request.options.force and is_done(video, out, config_hash)
        (done if finished else pending).append(video)
    rows = check_sums(done, out, config_hash)
    measured: metrics.Measured = {}
    clear_scratch(out)
    drop_compacted(out, {video.video_id for video in pending})
    size = _size(pending)
    log.tell("inputs", videos=len(videos), done_before=len(done), to_do=len(pending), bytes=size)
    with contextlib.ExitStack() as stack:
        stack.callback(clear_scratch, out)  # also where the run is stopped or fails
        events = stack.enter_context(local.worker_environment(request.options.workers))
        progress = ProgressLine(terminal, events, len(pending), size, log.tell)
        with watch(progress):
            for number, (wave, seconds) in enumerate(
                local.waves(pending, request.options.wave_minutes * 60), 1
            ):
                log.tell("wave", number=number, videos=len(wave), about_s=round(seconds, 1))
                progress.wave(len(wave), seconds, _size(wave))
                result = local.run_wave(
                    wave,
                    request.settings,
                    request.model,
                    request.execution,
                    request.options.workers,
                    request.beam_options,
                )
                metrics.add_up(measured, metrics.measured(result))
                written = check_sums(wave, out, config_hash)
                rows += written
                for row in written:
                    log.video(row, out)
                progress.finished(len(wave))
                _check_failures(rows, request.options.max_failure_ratio)
    return Outcome(sorted(rows, key=lambda row: row["video_id"]), len(done), measured, vanished(videos, out))


def _size(videos: Sequence[Video]) -> int:
    return sum(video.size_bytes for video in videos)


def _submit(request: Request, videos: Sequence[Video], log: RunLog) -> Outcome | None:
    """Run one pipeline on another runner, wait for it, and check its tables."""
    log.tell("inputs", videos=len(videos), bytes=_size(videos))
    if request.runner == dataflow.RUNNER:
        dataflow.check_inputs([video.uri for video in videos], request.out)  # what @lists name
        result, scratch = _send_to_dataflow(request, videos)
        if not result.has_job:
            return None
        dataflow.wait(result)
        if scratch.startswith(
            scratch_folder(request.out)
        ):  # a folder of the user's own is the user's to clear
            clear_folder(scratch)
        clear_scratch(request.out)
    else:
        options = PipelineOptions(
            [f"--runner={request.runner}", *request.beam_options], save_main_session=False
        )
        pipeline = _pipeline(request, options)
        _take_out_of_compacted(request, videos)
        remember_sources(request.out, videos)
        result = pipeline.run()
        result.wait_until_finish()
    rows = _check_remote_sums(videos, request.out, request.settings.config_hash())
    for row in rows:
        log.video(row, request.out)
    _check_failures(rows, request.options.max_failure_ratio)
    return Outcome(rows, 0, metrics.measured(result))


def _take_out_of_compacted(request: Request, videos: Sequence[Video]) -> None:
    """Remove the rows of videos that will be written anew, so that no reader meets them twice."""
    out, config_hash = request.out, request.settings.config_hash()
    held = compacted_ids(out)
    redone = (
        v
        for v in videos
        if v.video_id in held and (request.options.force or not is_done(v, out, config_hash))
    )
    drop_compacted(out, {video.video_id for video in redone})


def _check_remote_sums(videos: Sequence[Video], out: str, config_hash: str) -> list[dict[str, Any]]:
    """As `check_sums`, for tables so far away that waiting is all there is to do."""
    with ThreadPoolExecutor(_CHECKS_AT_ONCE) as pool:
        return [row for [row] in pool.map(lambda video: check_sums([video], out, config_hash), videos)]


def _send_to_dataflow(request: Request, videos: Sequence[Video]) -> tuple[Any, str]:
    """The job that was sent, and the folder of what it needs while it lives."""
    options = dataflow.job_options(request.cloud, request.out, request.beam_options)
    dataflow.check_region_has_gpu(request.cloud, options)
    model = dataflow.for_workers(request.model, options)
    dataflow.upload_model(request.model, model.location)
    with tempfile.TemporaryDirectory(prefix="affectline-") as folder:
        wheel = dataflow.build_wheel(Path(folder))
        pipeline = _pipeline(replace(request, model=model), dataflow.pipeline_options(options, wheel))
        _take_out_of_compacted(request, videos)  # nothing is refused any more
        remember_sources(request.out, videos)
        result = pipeline.run()
    for line in dataflow.how_to_watch(result, options) if result.has_job else ():
        print(line, file=sys.stderr)
    return result, options["temp_location"]


def dry_run_lines(request: Request) -> list[str]:
    """What Dataflow would be sent, built by Beam to the end; nothing is listed, sent or written."""
    if request.runner != dataflow.RUNNER:
        raise UsageError("--dry-run goes with --runner dataflow; for a run here, see `affectline plan`.")
    options = dataflow.job_options(request.cloud, request.out, request.beam_options)
    model = dataflow.for_workers(request.model, options)
    with tempfile.TemporaryDirectory(prefix="affectline-") as folder:
        wheel = dataflow.build_wheel(Path(folder))
        dry = dataflow.pipeline_options(options | {"dry_run": True}, wheel)
        result = _pipeline(replace(request, model=model), dry).run()
        return list(dataflow.describe(options, model.location, wheel, result.job.proto_pipeline))


def _pipeline(request: Request, options: PipelineOptions) -> beam.Pipeline:
    """One pipeline over everything, for runners elsewhere."""
    if request.settings.detector_weights:
        raise UsageError("--detector-weights names a file here, which workers elsewhere do not have.")
    pipeline = beam.Pipeline(options=options)
    found = pipeline | "FindVideos" >> FindVideos(request.inputs, request.out)
    if not request.options.force:
        found |= "NotDone" >> beam.Filter(_is_pending, request.out, request.settings.config_hash())
    emotion_timelines(found, request.settings, request.model, request.execution)
    return pipeline


def _is_pending(video: Video, out: str, config_hash: str) -> bool:
    return not is_done(video, out, config_hash)


def _check_failures(rows: Sequence[dict[str, Any]], max_ratio: float) -> None:
    failed = sum(row["status"] == "failed" for row in rows)
    if rows and failed / len(rows) > max_ratio:
        raise RunError(
            f"{failed} of {len(rows)} videos could not be read, more than --max-failure-ratio {max_ratio:g} "
            "allows; see the `failures` table."
        )
