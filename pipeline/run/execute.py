"""One run: from a checked request to tables that add up."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import PipelineOptions

from models.classify.spec import ModelRef
from models.thread_pool import core_count
from pipeline.build import Execution, unfinished
from pipeline.run import dataflow, local
from pipeline.run.ask import Ask, refuse
from pipeline.run.bars import in_notebook
from pipeline.run.lock import locked
from pipeline.run.log import RunLog, run_log
from pipeline.run.progress_line import ProgressLine, smoothing, watch
from pipeline.run.reconcile import check_sums, vanished
from pipeline.run.request import BEAM_RUNNERS, Request
from pipeline.run.settings_file import write_settings
from pipeline.run.stderr import redirect_stderr
from pipeline.run.waves import headers, waves, workers_that_pay
from schemas.elements import FAILED, RETRY, Video
from schemas.errors import RunError, UsageError
from schemas.settings import Settings
from transforms.remote import delete, join, list_files
from transforms.steps import metrics
from transforms.steps.find_videos import FindVideos
from transforms.tables.files import clear_folder, clear_scratch, scratch_folder
from transforms.tables.receipts import Receipt, read_receipt, read_receipts
from transforms.tables.resume import State, differences, video_row
from transforms.tables.rows import drop_compacted, drop_replaced, list_video_ids, require_own_tables
from transforms.tables.sources import known_sources, remember_sources
from transforms.timelines.stored import resmooth_video
from transforms.video.inputs import FoundFile, assign_ids, find_files, find_moved

_READS_AT_ONCE = 32


@dataclass(frozen=True)
class Outcome:
    """How a run ended: the row in `videos` of every input, and how many of them it did not read."""

    rows: list[dict[str, Any]]
    skipped: int  # done before
    smoothed: int = 0  # smoothed again from their tables
    measured: metrics.Measured = field(default_factory=dict)
    vanished: Sequence[str] = ()  # files that have rows from an earlier run and are no longer there

    @property
    def exit_code(self) -> int:
        """What the command ends with: 3 when some inputs could not be read."""
        return 3 if self.failed or self.to_retry else 0

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The inputs of which nothing could be read."""
        return [row for row in self.rows if row["status"] == FAILED]

    @property
    def to_retry(self) -> list[dict[str, Any]]:
        """The inputs that could not be read for a reason that is not theirs."""
        return [row for row in self.rows if row["status"] == RETRY]


def execute(request: Request, ask: Ask = refuse) -> Outcome | None:
    """Find the videos, process those that are not done, and check that all tables add up.

    None when all there is to do is to write a template, which others will run.

    ask: what to do where the user must decide.

    Raises UsageError before anything is written, and RunError when the run itself fails.
    """
    if request.runner == dataflow.RUNNER:  # refuse what cannot be sent before anything far away is listed
        dataflow.job_options(request.cloud, request.out, request.beam_options)
    out = request.out
    require_own_tables(out)
    # What cannot be read is refused before anything is written.
    files = find_files(request.inputs, request.options.root)
    if request.runner != BEAM_RUNNERS["local"]:
        local.make_output_folder(out)
        _keep_settings(request)
        with run_log(request) as log:
            return _told(log, _submit(request, files, ask, log))
    local.make_output_folder(out)
    with locked(out):
        clear_scratch(out)
        drop_replaced(out)
        videos = _name(files, request, ask)
        states = _states(request, videos, ask)
        remember_sources(out, videos)
        _keep_settings(request)
        with (
            run_log(request) as log,
            redirect_stderr(local.chatter_path(out)) as stderr,
            open(os.devnull, "w", encoding="utf-8") as nowhere,
        ):
            # A notebook shows what is written to Python's own stderr.
            shown = sys.stderr if in_notebook() else stderr
            terminal = nowhere if request.options.quiet else shown
            return _told(log, _run_here(request, videos, states, terminal, log))


def _keep_settings(request: Request) -> None:
    with contextlib.suppress(OSError):  # as with the log, a full disk is told where tables are written
        write_settings(request)


def _told(log: RunLog, outcome: Outcome | None) -> Outcome | None:
    """The outcome, once the log has it."""
    if outcome is not None:
        log.sums(outcome.rows)
        log.exit_code = outcome.exit_code
    return outcome


def _name(files: Sequence[FoundFile], request: Request, ask: Ask) -> list[Video]:
    """The videos with their ids; asks about those that seem to have moved."""
    out, root = request.out, request.options.root
    known = known_sources(out)
    moved = find_moved(files, known, out, root)
    if moved and not root:
        uris = {video_id: uri for uri, video_id in known.items()}
        shown = [f"{uris[video_id]} → {uri}" for uri, video_id in sorted(moved.items())[:2]]
        more = ", …" if len(moved) > len(shown) else ""
        same = ask(
            f"{len(moved)} videos lie elsewhere than before ({', '.join(shown)}{more}) with the same content",
            "are they the same?",
            "give --root, the folder that their paths count from, if they are the same",
        )
        moved = moved if same else {}
    return assign_ids(files, known, moved)


def _states(request: Request, videos: Sequence[Video], ask: Ask) -> dict[str, State]:
    """What is left to do with each video, by id; asks before any is decoded anew for other settings."""
    out, settings = request.out, request.settings
    known = set(list_video_ids(join(out, "videos")))
    states = {video.video_id: State.NEW for video in videos}
    present = [video for video in videos if video.video_id in known]
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        found = pool.map(lambda video: request.resume.state(video, out, settings), present)
        states |= dict(zip((video.video_id for video in present), found, strict=True))
    others = [video_id for video_id, state in states.items() if state == State.OTHER_SETTINGS]
    if others and not request.options.redo:
        rows = filter(None, (video_row(out, video_id) for video_id in others))
        why = "; ".join(differences((Settings.from_json(row["config_json"]) for row in rows), settings))
        if not ask(
            f"{len(others)} of {len(videos)} videos were read with other settings ({why})",
            "read them again?",
            "give --redo to read them again, or another output folder",
        ):
            raise UsageError("Nothing was done; choose another output folder, or the settings from before.")
    return states


def _run_here(
    request: Request, videos: Sequence[Video], states: Mapping[str, State], terminal: IO[str], log: RunLog
) -> Outcome:
    out, settings = request.out, request.settings
    done = [video for video in videos if states[video.video_id] == State.DONE]
    smoothed = [video for video in videos if states[video.video_id] == State.OTHER_SMOOTHING]
    pending = [video for video in videos if states[video.video_id].needs_decoding]
    size = _size(pending)
    log.tell(
        "inputs",
        videos=len(videos),
        done_before=len(done),
        to_smooth=len(smoothed),
        to_do=len(pending),
        bytes=size,
    )
    rows = check_sums(done, _receipts_before(done, out), settings)
    if smoothed:
        receipts = {
            video.video_id: resmooth_video(out, video.video_id, settings)
            for video in smoothing(smoothed, terminal, log.tell)
        }
        again = check_sums(smoothed, receipts, settings)
        rows += again
        log.videos(again, out)
        drop_compacted(out, receipts)
    _check_failures(rows, len(videos), request.options.max_failure_ratio)
    measured: metrics.Measured = {}
    with contextlib.ExitStack() as stack:
        stack.callback(clear_scratch, out)  # also where the run is stopped or fails
        look = stack.enter_context(headers())
        count = request.options.workers or workers_that_pay(
            pending,
            settings.sampling_rate,
            request.options.segment_seconds,
            look,
            core_count(),
            psutil.virtual_memory().available,
        )
        workers = stack.enter_context(local.worker_environment(count, request.beam_options))
        progress = ProgressLine(terminal, workers.events, len(pending), size, count, log.tell)
        with watch(progress):
            cut = waves(pending, request.options.wave_minutes * 60, look)
            for number, (wave, seconds) in enumerate(cut, 1):
                log.tell("wave", number=number, videos=len(wave), about_s=round(seconds, 1))
                progress.wave(len(wave), seconds, _size(wave))
                execution = request.execution
                result = local.run_wave(
                    wave, settings, request.model, execution, workers, request.beam_options
                )
                metrics.add_up(measured, metrics.measured(result))
                written = check_sums(wave, _take_receipts(execution), settings)
                drop_compacted(out, {video.video_id for video in wave})
                rows += written
                log.videos(written, out)
                progress.finished(len(wave))
                _check_failures(rows, len(videos), request.options.max_failure_ratio)
    rows.sort(key=lambda row: row["video_id"])
    return Outcome(rows, len(done), len(smoothed), measured, vanished(videos, out))


def _size(videos: Sequence[Video]) -> int:
    return sum(video.size_bytes for video in videos)


def _receipts_before(videos: Sequence[Video], out: str) -> dict[str, Receipt]:
    """What the tables hold of videos that were done before; many at once, since far away it means waiting."""
    with ThreadPoolExecutor(_READS_AT_ONCE) as pool:
        found = pool.map(lambda video: read_receipt(out, video.video_id), videos)
        return {receipt["video_id"]: receipt for receipt in found if receipt}


def _take_receipts(execution: Execution) -> dict[str, Receipt]:
    """What a finished pipeline has written; its files are removed."""
    receipts = read_receipts(execution.receipts)
    for path in list_files(execution.receipts):
        delete(path)
    return receipts


def _submit(request: Request, files: Sequence[FoundFile], ask: Ask, log: RunLog) -> Outcome | None:
    """Run one pipeline on another runner, wait for it, and check its tables."""
    out, execution = request.out, request.execution
    drop_replaced(out)
    videos = _name(files, request, ask)
    states = _states(request, videos, ask)
    log.tell("inputs", videos=len(videos), bytes=_size(videos))
    if request.runner == dataflow.RUNNER:
        dataflow.check_inputs([video.uri for video in videos], out)  # what @lists name
        result, scratch = _send_to_dataflow(request, videos, execution)
        if not result.has_job:
            return None
        dataflow.wait(result)
        if scratch.startswith(scratch_folder(out)):  # a folder of the user's own is the user's to clear
            clear_folder(scratch)
    else:
        options = PipelineOptions(
            [f"--runner={request.runner}", *request.beam_options], save_main_session=False
        )
        pipeline = _pipeline(request, request.model, execution, options)
        remember_sources(out, videos)
        result = pipeline.run()
        result.wait_until_finish()
    written = _take_receipts(execution)
    # A worker may have found less to do than was seen from here: then the tables themselves tell.
    before = [video for video in videos if video.video_id not in written]
    rows = check_sums(videos, _receipts_before(before, out) | written, request.settings)
    drop_compacted(out, written)
    clear_scratch(out)
    log.videos(rows, out)
    _check_failures(rows, len(videos), request.options.max_failure_ratio)
    found = list(states.values())
    skipped, smoothed = found.count(State.DONE), found.count(State.OTHER_SMOOTHING)
    return Outcome(rows, skipped, smoothed, metrics.measured(result))


def _send_to_dataflow(request: Request, videos: Sequence[Video], execution: Execution) -> tuple[Any, str]:
    """The job that was sent, and the folder of what it needs while it lives."""
    options = dataflow.job_options(request.cloud, request.out, request.beam_options)
    dataflow.check_region_has_gpu(request.cloud, options)
    model = dataflow.for_workers(request.model, options)
    dataflow.upload_model(request.model, model.location)
    with tempfile.TemporaryDirectory(prefix="affectline-") as folder:
        wheel = dataflow.build_wheel(Path(folder))
        pipeline = _pipeline(request, model, execution, dataflow.pipeline_options(options, wheel))
        remember_sources(request.out, videos)  # nothing is refused any more
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
        result = _pipeline(request, model, request.execution, dry).run()
        return list(dataflow.describe(options, model.location, wheel, result.job.proto_pipeline))


def _pipeline(
    request: Request, model: ModelRef, execution: Execution, options: PipelineOptions
) -> beam.Pipeline:
    """One pipeline over everything, for runners elsewhere."""
    if request.settings.detector_weights:
        raise UsageError("--detector-weights names a file here, which workers elsewhere do not have.")
    pipeline = beam.Pipeline(options=options)
    found = pipeline | "FindVideos" >> FindVideos(request.inputs, request.out, request.options.root)
    unfinished(found, request.settings, model, execution, request.resume)
    return pipeline


def _check_failures(rows: Sequence[dict[str, Any]], videos: int, max_ratio: float) -> None:
    """RunError when more of all videos than allowed could not be read, of those that were tried so far."""
    failed = sum(row["status"] in (FAILED, RETRY) for row in rows)
    if failed > max_ratio * videos:
        raise RunError(
            f"{failed} of {videos} videos could not be read, more than --max-failure-ratio {max_ratio:g} "
            "allows; see the `failures` table."
        )
