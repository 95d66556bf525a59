"""Runs on this machine: a row of waves, each one Beam pipeline, committed when done."""

import contextlib
import errno
import os
import re
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import apache_beam as beam
import psutil
from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, PortableOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult
from apache_beam.transforms.environments import Environment, ExternalEnvironment, SubprocessSDKEnvironment

from models.classify.spec import ModelRef
from models.thread_pool import CORES_VARIABLE, core_count
from pipeline.build import Execution, emotion_timelines
from pipeline.run import PIPELINE_THREAD
from pipeline.run.fork_server import fork_server
from pipeline.run.log import LIBRARIES_LOG_NAME
from schemas import errors
from schemas.elements import Video
from schemas.errors import AffectlineError, RunError, UsageError, WorkerDiedError
from schemas.settings import Settings
from transforms.remote import is_remote
from transforms.steps.progress import EVENTS_FILE, EVENTS_NAME, TEMP_PREFIX, Events
from transforms.steps.stopping import stopping
from transforms.tables.files import scratch_folder

# For children to be gone, and for Beam's threads to end the piece they are at.
_STOP_S = 30.0


@dataclass(frozen=True)
class Workers:
    """The processes that do the work.

    are_elsewhere: in a pool that others started. command: what starts one; None: Beam's own way, or this
    process where it is the only one. events: what they tell of their progress.
    """

    count: int
    are_elsewhere: bool
    command: str | None
    events: Events


def run_wave(
    videos: Sequence[Video],
    settings: Settings,
    model: ModelRef,
    execution: Execution,
    workers: Workers,
    beam_options: Sequence[str],
) -> PipelineResult:
    """Run one pipeline over these videos to its end.

    Raises WorkerDiedError when a worker process ends by itself, RunError when the disk is full, and what a
    step raises: our own errors as they are, others as Beam wraps them.
    """
    options = PipelineOptions(
        [f"--direct_num_workers={workers.count}", *beam_options],
        runner="FnApiRunner",
        save_main_session=False,
    )
    environment: Environment | None = None
    if workers.are_elsewhere:
        environment = ExternalEnvironment.from_options(options.view_as(PortableOptions))
    elif workers.command:
        environment = SubprocessSDKEnvironment.from_command_string(workers.command)
    elif workers.count > 1:
        options.view_as(DirectOptions).direct_running_mode = "multi_processing"

    def run(execution: Execution) -> PipelineResult:
        pipeline = beam.Pipeline(FnApiRunner(default_environment=environment), options)
        # Into the run's own folder, which goes also where Beam is not left the time to clear up.
        os.rmdir(pipeline.local_tempdir)
        pipeline.local_tempdir = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
        with _plain_labels():
            emotion_timelines(pipeline | "FindVideos" >> beam.Create(videos), settings, model, execution)
        result = pipeline.run()
        result.wait_until_finish()
        return result

    scratch = None  # the system's folder for temporary files
    if not is_remote(execution.out):
        scratch = scratch_folder(execution.out)
        os.makedirs(scratch, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(
            prefix="affectline-", dir=scratch, ignore_cleanup_errors=True
        ) as rows_folder:
            if not workers.are_elsewhere:  # they may see other disks
                execution = replace(execution, rows_folder=rows_folder)
            return _run_watched(lambda: run(execution))
    except Exception as error:
        if os.strerror(errno.ENOSPC) in str(error):  # a worker's error arrives as text
            raise RunError(
                f"The disk of {execution.out} is full; finished videos are kept, and the same command "
                "continues once there is room."
            ) from error
        if (told := find_told(error)) is not None:
            raise told from error
        raise


@contextlib.contextmanager
def _plain_labels() -> Iterator[None]:
    """While it lasts, Beam names steps in a notebook as anywhere else.

    To put the cell's number before them it loads its data frames, which fail with pandas 3.
    """
    usual = beam.pipeline.alter_label_if_ipython
    beam.pipeline.alter_label_if_ipython = lambda transform, pvalueish: None
    try:
        yield
    finally:
        beam.pipeline.alter_label_if_ipython = usual


_TOLD = re.compile(r"^schemas\.errors\.(\w+): (.+)$", re.MULTILINE)
_BEAMS_REMARK = " [while running '"


def find_told(error: Exception) -> AffectlineError | None:
    """What a step told the user by raising it, found in what Beam makes of it; None where there is nothing.

    Beam adds a remark to it, and from a worker process it passes on no more than the traceback's text.
    """
    if isinstance(error, AffectlineError):
        kind, text = type(error), str(error)
    else:
        found = _TOLD.findall(str(error))
        if not found:
            return None
        name, text = found[-1]
        kind = getattr(errors, name)
    return kind(text.partition(_BEAMS_REMARK)[0])


def _run_watched(run: Callable[[], PipelineResult]) -> PipelineResult:
    """Call `run` in a thread, and stop waiting for it when a worker process dies or the user stops the run.

    Beam starts each worker from a thread named run_worker, which raises when the process ends with
    an error; nobody looks at that thread, so the pipeline would wait for ever.
    """
    ended = threading.Event()
    outcome: list[BaseException | PipelineResult] = []

    def target() -> None:
        try:
            outcome.append(run())
        except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
            outcome.append(error)
        ended.set()

    def on_thread_error(report: threading.ExceptHookArgs) -> None:
        usual_hook(report)
        if report.thread is not None and report.thread.name == "run_worker" and not ended.is_set():
            outcome.append(
                WorkerDiedError(
                    f"A worker process ended unexpectedly ({report.exc_value}); finished videos are kept, "
                    "and the same command continues with the rest."
                )
            )
            ended.set()

    usual_hook = threading.excepthook
    threading.excepthook = on_thread_error
    others = set(psutil.Process().children(recursive=True))
    thread = threading.Thread(target=target, name=PIPELINE_THREAD, daemon=True)
    try:
        thread.start()
        ended.wait()  # here Ctrl-C and SIGTERM arrive, and not inside of Beam
    except KeyboardInterrupt:
        with stopping():
            _kill_children(others)
            thread.join(_STOP_S)
        raise
    finally:
        threading.excepthook = usual_hook
    if isinstance(outcome[0], WorkerDiedError):
        _kill_children(others)
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return outcome[0]


def _kill_children(others: Collection[psutil.Process]) -> None:
    """End what this run has started, the workers before their decoders; `others` were there before."""
    started = [child for child in psutil.Process().children(recursive=True) if child not in others]
    for child in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(started, _STOP_S)


@contextlib.contextmanager
def worker_environment(count: int, beam_options: Sequence[str] = ()) -> Iterator[Workers]:
    """While it lasts, worker processes inherit where our packages are and their share of the cores.

    Their temporary files lie in one folder, which goes at the end, whether they ended by themselves or were
    killed. With PYTHONSAFEPATH a folder called `models` where the user stands cannot shadow ours.
    """
    ours = str(Path(__file__).resolve().parents[2])
    paths = [ours, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # tempfile in this process has made up its mind, so that only children take the folder.
    with tempfile.TemporaryDirectory(prefix=TEMP_PREFIX, ignore_cleanup_errors=True) as folder:
        events = os.path.join(folder, EVENTS_NAME)
        variables = {
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "PYTHONSAFEPATH": "1",
            "TMPDIR": folder,
            EVENTS_FILE: events,
            CORES_VARIABLE: str(max(1, core_count() // count)),
        }
        for name in ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
            # Pictures are shared out among the cores, not operations.
            variables[name] = os.environ.get(name, "1")
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            portable = PipelineOptions([*beam_options]).view_as(PortableOptions)
            are_elsewhere = portable.environment_type == "EXTERNAL"
            forks = count > 1 and not are_elsewhere
            with fork_server(folder) if forks else contextlib.nullcontext() as command:
                yield Workers(count, are_elsewhere, command, Events(events))
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value


def chatter_path(out: str) -> str:
    """Where libraries' chatter goes: into the output folder, or nowhere when that is remote."""
    return os.devnull if is_remote(out) else os.path.join(out, LIBRARIES_LOG_NAME)


def make_output_folder(out: str) -> None:
    """Create the output folder; UsageError when its path is taken or not writable."""
    if is_remote(out):
        return
    try:
        os.makedirs(out, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{out} is a file; give a folder to write the tables to.") from error
    except OSError as error:
        raise UsageError(f"{out} cannot be created: {error.strerror}.") from error
    if not os.access(out, os.W_OK):
        raise UsageError(f"{out} is not writable; choose another output folder.")
