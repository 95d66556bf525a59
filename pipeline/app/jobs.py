"""Videos of the page: each runs through `affectline run`, `report` and `annotate` as child processes."""

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from pipeline.app.engines import Choice, Engines
from pipeline.app.uploads import MAX_VIDEO_SECONDS, UploadError
from schemas.errors import UnreadableVideoError
from schemas.tables import TABLES
from transforms.steps.progress import EVENTS_NAME, TEMP_PREFIX, Events
from transforms.tables.rows import list_video_ids, read_rows
from transforms.video.decoder import Decoder

MAX_JOBS: Final = 8
"""Videos kept at a time, with all that was made of them."""

_PREFIX: Final = "affectline-app-"
_LOCK: Final = "_lock"
_GRACE_S: Final = 5.0  # for a child to end by itself
_LOOK_S: Final = 0.3  # between looks at a child's progress
_NAME_LENGTH: Final = 200

_ROOT: Final = str(Path(__file__).resolve().parent.parent.parent)

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"


@dataclass
class Job:
    """One video and what was made of it."""

    id: str
    name: str  # as the browser called it: shown; files are called by what is safe of it
    choice: Choice
    folder: Path
    video: Path
    duration_s: float
    status: str = QUEUED
    stage: str = ""
    done_s: float = 0.0
    faces: int = 0
    error: str = ""
    note: str = ""  # a sentence where only a part could be read
    files: dict[str, Path] = field(default_factory=dict)  # all that a browser may get, by its address
    task: asyncio.Task[None] | None = None

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.status in (QUEUED, RUNNING)

    def as_json(self) -> dict[str, Any]:
        """What the page shows."""
        shown = ("id", "name", "status", "stage", "error", "note", "duration_s", "done_s", "faces")
        page = next((name for name in self.files if name.startswith("report/pages/")), None)
        return {name: getattr(self, name) for name in shown} | {
            "report": page,
            "stem": self.video.stem,
            "clip": "annotated.mp4" if "annotated.mp4" in self.files else None,
            "tables": "tables.zip" if "tables.zip" in self.files else None,
        }


class StageError(Exception):
    """A child ended badly; the message is its sentence."""


class Jobs:
    """The videos, one running at a time, and the folder that holds them. For one event loop."""

    def __init__(self, engines: Engines) -> None:
        self._engines = engines
        self._jobs: dict[str, Job] = {}
        self._turn = asyncio.Lock()
        self._folder, self._lock = _own_folder()

    @property
    def all(self) -> list[Job]:
        """Every video kept, the oldest first."""
        return list(self._jobs.values())

    @property
    def folder(self) -> Path:
        """Where all of it lies."""
        return self._folder

    def get(self, job_id: str) -> Job | None:
        """The video of that id."""
        return self._jobs.get(job_id)

    def new_folder(self) -> Path:
        """An empty folder for a video about to be received; UploadError when too many wait."""
        # Those of videos that are still being received count too.
        if sum(path.is_dir() for path in self._folder.iterdir()) >= MAX_JOBS:
            oldest = next((job for job in self._jobs.values() if not job.active), None)
            if oldest is None:
                raise UploadError(429, f"There are {MAX_JOBS} videos waiting; cancel one or try later.")
            self._forget(oldest)
        return Path(tempfile.mkdtemp(dir=self._folder))

    async def add(self, name: str, choice: Choice, folder: Path, video: Path) -> Job:
        """Queue a received video; UploadError when it cannot be opened or is too long."""
        duration_s = await asyncio.to_thread(_duration_s, video)
        job = Job(secrets.token_urlsafe(12), name[:_NAME_LENGTH], choice, folder, video, duration_s)
        self._jobs[job.id] = job
        job.task = asyncio.create_task(self._run(job))
        return job

    async def remove(self, job: Job) -> None:
        """Cancel a video that waits or runs; forget one that is over, with all its files."""
        if not job.active:
            self._forget(job)
            return
        await self._cancel(job)
        _empty(job.folder)

    async def close(self) -> None:
        """End all and remove every file."""
        for job in self.all:
            if job.active:
                await self._cancel(job)
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.close()

    def _forget(self, job: Job) -> None:
        del self._jobs[job.id]
        shutil.rmtree(job.folder, ignore_errors=True)

    async def _cancel(self, job: Job) -> None:
        assert job.task is not None
        job.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job.task
        job.status, job.error = CANCELLED, ""

    async def _run(self, job: Job) -> None:
        async with self._turn:
            job.status = RUNNING
            try:
                await self._make(job)
                job.status = DONE
            except StageError as error:
                job.status, job.error = FAILED, str(error)
                _empty(job.folder)
            finally:
                job.stage = ""
                if job.status == RUNNING:  # cancelled, or what nobody foresaw
                    job.status, job.error = FAILED, "The run broke off; see the terminal of the server."

    async def _make(self, job: Job) -> None:
        out, clip = job.folder / "out", job.folder / "annotated.mp4"
        job.stage = "Looking for faces"
        arguments = [
            *self._engines.detector_arguments(job.choice),
            *["--model", self._engines.model_argument(job.choice), "--smoothing", job.choice.smoothing],
        ]
        code, said = await self._child(job, ["run", str(job.video), "-o", str(out), *arguments])
        if code not in (0, 3):
            raise StageError(_last_sentence(said))
        row = await asyncio.to_thread(_video_row, out)
        if row["status"] == "failed":
            raise StageError(row["error"])
        if row["status"] == "partial":
            job.note = row["error"] or ""
        job.done_s, job.faces = job.duration_s, row["faces"]
        mesh = ["--mesh"] if job.choice.shows_mesh else []
        for stage, command in (
            ("Writing the report", ["report", str(out)]),
            ("Drawing the clip", ["annotate", str(job.video), str(out), "-o", str(clip), *mesh]),
        ):
            job.stage = stage
            code, said = await self._child(job, command)
            if code:
                raise StageError(_last_sentence(said))
        job.files = await asyncio.to_thread(_collect, job.folder, out, clip)

    async def _child(self, job: Job, arguments: Sequence[str]) -> tuple[int, str]:
        """Run `affectline` to its end: its exit code and what it said on stderr.

        A child of its own group, so that cancelling ends its decoder and its workers too. All that it
        leaves in the folder for temporary files goes when the video goes.
        """
        temp = job.folder / "tmp"
        temp.mkdir(exist_ok=True)
        paths = [_ROOT, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
        environment = os.environ | {
            "TMPDIR": str(temp),
            "PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)),
            "PYTHONSAFEPATH": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pipeline.cli", *arguments),
            cwd=temp,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        watching = asyncio.create_task(_watch_progress(job, temp))
        try:
            _, said = await process.communicate()
        except asyncio.CancelledError:
            await _end(process)
            raise
        finally:
            watching.cancel()
        assert process.returncode is not None
        return process.returncode, said.decode(errors="replace")


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a child and everything that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_S)
        os.killpg(process.pid, signal.SIGKILL)  # the group outlives its first process
    await process.wait()


async def _watch_progress(job: Job, temp: Path) -> None:
    """Read what the run's workers tell, as its own progress line does."""
    events: Events | None = None
    while True:
        if events is None:
            events = next((Events(str(path)) for path in temp.glob(f"{TEMP_PREFIX}*/{EVENTS_NAME}")), None)
        else:
            events.look()
            job.faces, job.done_s = events.faces, min(events.seconds, job.duration_s)
        await asyncio.sleep(_LOOK_S)


def _duration_s(video: Path) -> float:
    with Decoder() as decoder:
        try:
            seconds = decoder.probe(str(video)).duration_us / 1e6
        except UnreadableVideoError as error:
            raise UploadError(415, str(error)) from error
    if seconds > MAX_VIDEO_SECONDS:
        raise UploadError(
            413,
            f"The video is {seconds / 60:.0f} minutes long, and the page takes up to "
            f"{MAX_VIDEO_SECONDS / 60:.0f}; `affectline run` takes any length.",
        )
    return seconds


def _video_row(out: Path) -> dict[str, Any]:
    [video_id] = list_video_ids(str(out / "videos"))
    row: dict[str, Any]
    [row] = read_rows(str(out), "videos", video_id).to_pylist()
    return row


def _collect(folder: Path, out: Path, clip: Path) -> dict[str, Path]:
    """Zip the tables; every file that the page may hand out, by its address."""
    report = out / "report"
    files = {f"report/{path.relative_to(report)}": path for path in report.rglob("*") if path.is_file()}
    tables = folder / "tables.zip"
    with zipfile.ZipFile(tables, "w") as archive:  # Parquet is compressed already
        for table in TABLES:
            for path in sorted((out / table).rglob("*.parquet")):
                archive.write(path, path.relative_to(out))
    return files | {"annotated.mp4": clip, "tables.zip": tables}


def _last_sentence(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1].removeprefix("affectline: ") if lines else "The run ended without a word."


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _own_folder() -> tuple[Path, IO[str]]:
    """A new folder for temporary files, with the open lock that says it is in use.

    Those of servers that were killed, whose locks nobody holds, are removed first.
    """
    for old in Path(tempfile.gettempdir()).glob(_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if old.is_symlink() or old.stat().st_uid != os.getuid():
                continue
            with (old / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(old, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = (folder / _LOCK).open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock
