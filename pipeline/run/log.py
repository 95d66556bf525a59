"""The log of a run, written as it happens: what was asked for, videos, failures, waves, sums, the end."""

import contextlib
import json
import os
import platform
import shlex
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from typing import IO, Any, Final

from pipeline.run.request import Request
from schemas import VERSION
from schemas.errors import exit_code
from transforms.remote import is_remote
from transforms.tables.rows import read_rows
from transforms.timelines.smoothing import SMOOTHING_METHODS

LOG_NAME: Final = "affectline.log"
LIBRARIES_LOG_NAME: Final = "affectline-libraries.log"
# What a result may depend on.
_PACKAGES: Final = ("apache-beam", "tensorflow", "keras", "ai-edge-litert", "av", "opencv-python-headless")
_PACKAGES_TOO: Final = ("numpy", "scipy", "pyarrow")


class RunLog:
    """Appends one record a line, each whole at once; a disk that is full loses records, never the run."""

    def __init__(self, file: IO[bytes] | None, as_json: bool) -> None:
        """Write into an unbuffered file, or nowhere; one JSON object a line, or text for people."""
        self._file, self._as_json = file, as_json
        self._lock = threading.Lock()
        self.exit_code = 0  # that the command will end with, unless something is raised

    def tell(self, event: str, **fields: Any) -> None:
        """Write what happened now; fields that are None are left out."""
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {name: value for name, value in fields.items() if value is not None}
        if self._as_json:
            line = json.dumps({"time": now, "event": event, **known})
        else:
            line = " ".join(
                [now, f"{event:<8}", *(f"{name}={_text(value)}" for name, value in known.items())]
            )
        with self._lock, contextlib.suppress(OSError):
            self._file.write(line.encode("utf-8", "backslashreplace") + b"\n")

    def videos(self, rows: Iterable[Mapping[str, Any]], out: str) -> None:
        """Write what became of each video: its row in `videos`, and what went wrong if it is not whole."""
        names = ("video_id", "uri", "status", "error", "samples", "faces", "tracks")
        kinds = ("stage", "error_type", "message")
        for row in rows:
            times = {name: row[name] and round(row[name], 3) for name in ("duration_s", "seconds")}
            self.tell("video", **{name: row[name] for name in names}, **times)
            if row["status"] == "ok":
                continue
            failures = read_rows(out, "failures", row["video_id"], list(kinds)).to_pylist()
            counted = Counter(tuple(failure[name] for name in kinds) for failure in failures)
            for kind, number in counted.items():
                self.tell("failure", uri=row["uri"], **dict(zip(kinds, kind, strict=True)), times=number)

    def sums(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write what all tables together hold."""
        statuses = Counter(row["status"] for row in rows)
        counted = ("samples", "samples_with_face", "faces", "tracks")
        self.tell(
            "sums",
            videos=len(rows),
            **dict(sorted(statuses.items())),
            video_s=round(sum(row["duration_s"] or 0 for row in rows), 1),
            **{name: sum(row[name] for row in rows) for name in counted},
        )


def _text(value: Any) -> str:
    """A value in a line of text: bare where that is clear, else as JSON."""
    text = str(value) if isinstance(value, str | int | float) else json.dumps(value)
    plain = text.isprintable() and not set(text) & set(' "=')
    return text if plain or not isinstance(value, str) else json.dumps(text, ensure_ascii=False)


@contextlib.contextmanager
def run_log(request: Request) -> Iterator[RunLog]:
    """The log in the output folder, from the start of a run to its end and exit code.

    A remote folder gets none: its file systems cannot append.
    """
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        file = None
        if not is_remote(request.out):
            with contextlib.suppress(OSError):
                path = os.path.join(request.out, LOG_NAME)
                file = stack.enter_context(open(path, "ab", buffering=0))
        log = RunLog(file, request.options.log_format == "json")
        log.tell("start", command=shlex.join(sys.argv), folder=os.getcwd(), **_versions())
        log.tell("settings", **settings_as_used(request))
        try:
            yield log
        except BaseException as error:
            log.exit_code = exit_code(error)
            log.tell("error", type=type(error).__name__, message=str(error).strip() or None)
            raise
        finally:
            log.tell("end", exit_code=log.exit_code, seconds=round(time.monotonic() - started, 1))


def _versions() -> dict[str, Any]:
    installed = {}
    for name in (*_PACKAGES, *_PACKAGES_TOO):
        with contextlib.suppress(metadata.PackageNotFoundError):
            installed[name] = metadata.version(name)
    return {
        "affectline": VERSION,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpus": os.cpu_count(),
        **installed,
    }


def settings_as_used(request: Request) -> dict[str, Any]:
    """Everything that this run was told or took by itself; the window is the one that smooths."""
    settings = asdict(request.settings)
    if settings["window_s"] is None:
        settings["window_s"] = SMOOTHING_METHODS[request.settings.smoothing].window_s
    options = asdict(request.options)
    return {
        "inputs": list(request.inputs),
        "out": request.out,
        **settings,
        **{name: value for name, value in options.items() if name not in settings and name != "window"},
        "runner": request.runner,
        "beam_options": list(request.beam_options),
    }
