"""`affectline run` and `affectline plan` as functions."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

from pipeline.api.tables import Tables, open_tables
from pipeline.run.bars import is_watched
from pipeline.run.options import RunKeywords, RunOptions, SettingsKeywords, SettingsOptions
from pipeline.run.plan import Plan, plan_inputs
from schemas.elements import OK, PARTIAL

if TYPE_CHECKING:
    from pipeline.run.execute import Outcome

Inputs = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


class RunResult:
    """How a run ended, and where its tables are. `affectline.run` makes one; printed it is a summary."""

    def __init__(self, path: str, outcome: "Outcome | None") -> None:
        self.path = path
        self._outcome = outcome

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, or 3 when some inputs could not be read."""
        return self._outcome.exit_code if self._outcome else 0

    @property
    def status(self) -> str:
        """`ok`: every video is whole. `partial`: something was lost. `failed`: no video could be read."""
        statuses = {row["status"] for row in self._rows}
        if statuses <= {OK}:
            return OK
        return PARTIAL if statuses & {OK, PARTIAL} else "failed"

    @property
    def counts(self) -> dict[str, int]:
        """Sums: `videos`, `done_before`, videos of each status, `samples`, `faces`, `tracks` and the like."""
        names = ("samples", "samples_with_face", "faces", "tracks")
        return {
            "videos": len(self._rows),
            "done_before": self._outcome.skipped if self._outcome else 0,
            **dict(sorted(Counter(row["status"] for row in self._rows).items())),
            **{name: sum(row[name] for row in self._rows) for name in names},
        }

    @property
    def problems(self) -> list[dict[str, Any]]:
        """The inputs that are not `ok`: `video_id`, `uri`, `status` and `error` of each."""
        names = ("video_id", "uri", "status", "error")
        return [{name: row[name] for name in names} for row in self._rows if row["status"] != OK]

    @cached_property
    def tables(self) -> Tables:
        """The tables that were written."""
        return open_tables(self.path)

    def __repr__(self) -> str:
        told = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        return f"<RunResult {self.status} in {self.path}: {told}>"

    def __str__(self) -> str:
        from pipeline.run.summary import summary

        return "\n".join(summary(self._outcome, self.path)) if self._outcome else repr(self)

    @property
    def _rows(self) -> Sequence[dict[str, Any]]:
        return self._outcome.rows if self._outcome else ()


def run(
    inputs: Inputs,
    out: str | os.PathLike[str],
    *,
    progress: bool | None = None,
    beam_options: Sequence[str] = (),
    **options: Unpack[RunKeywords],
) -> RunResult:
    """Turn videos into tables, as `affectline run` does; videos that are done are not read again.

    An interrupted run leaves no process behind, keeps finished videos, and goes on when it is called again.

    Args:
        inputs: files, folders, globs, URIs or @lists of them.
        out: the folder for the tables, here or at a URI.
        progress: show how far it is; None to do so where somebody watches, on a terminal or in a notebook.
        beam_options: for Beam itself, as after `--` on the command line.
        **options: those of `affectline run --help`, with _ for -, such as `fps=5`, `workers=4`,
            `detector="haar"`, `smoothing="median"`, `crops=False`.

    Returns:
        How it ended, also where some inputs could not be read.

    Raises:
        UsageError: what was asked for cannot be done as asked; nothing was written.
        RunError: the run itself failed; finished videos are kept.
    """
    from pipeline.run.execute import execute
    from pipeline.run.request import check_request
    from pipeline.run.summary import error_for_machines, summary_for_machines, write_json

    quiet = not (is_watched() if progress is None else progress)
    chosen = replace(RunOptions(**_plain(options)), quiet=options.get("quiet", quiet))
    with error_for_machines(chosen.summary_json):
        request = check_request(_texts(inputs), os.fspath(out), chosen, beam_options)
        outcome = execute(request)
        if outcome is not None:
            write_json(summary_for_machines(outcome, request.out), chosen.summary_json)
    return RunResult(request.out, outcome)


def plan(inputs: Inputs, **options: Unpack[SettingsKeywords]) -> Plan:
    """What a run over these inputs would take, from opening them and a few seconds' real work on some.

    Args:
        inputs: as for `run`; nothing is written.
        **options: those of `affectline plan --help`, with _ for -.

    Raises:
        UsageError: an input matches nothing, or an option is out of range.
    """
    return plan_inputs(_texts(inputs), SettingsOptions(**_plain(options)))


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as the command has them: paths and rates as text."""
    texts = {name: os.fspath(value) for name, value in options.items() if isinstance(value, os.PathLike)}
    rate = {"fps": str(options["fps"])} if "fps" in options else {}
    return {**options, **texts, **rate}


def _texts(inputs: Inputs) -> list[str]:
    if isinstance(inputs, str | os.PathLike):
        return [os.fspath(inputs)]
    return [os.fspath(each) for each in inputs]
