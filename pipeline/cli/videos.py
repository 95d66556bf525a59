"""Commands on videos and their tables."""

import json
import os
import sys
from dataclasses import asdict
from typing import Any

import click

from pipeline.cli.command import Command, Grouped, RunCommand
from pipeline.cli.options import FACE_OPTIONS, debug_option, mesh_option, options_of
from pipeline.run.options import RUNNERS, TOLD, RunOptions, SettingsOptions


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, required=True, metavar="DIR|VIDEO...")
@click.option("-o", "--output", required=True, metavar="FOLDER", help="New folder, of one folder a class.")
@options_of(SettingsOptions, "fps", *FACE_OPTIONS, fps="1")
@debug_option
@click.pass_context
def crops(ctx: click.Context, /, inputs: tuple[str, ...], output: str, fps: str, **tools: Any) -> None:
    """Write the faces of videos as the model sees them, to look at and to label.

    Of a DIR that `run` wrote, the faces of its videos, with its model and detector where no other is given.
    """
    from pathlib import Path

    from tqdm import tqdm

    from pipeline.commands.crops import crops_lines, is_tables, sources_of, write_crops
    from pipeline.run.stderr import redirect_stderr

    if len(inputs) == 1 and is_tables(inputs[0]):
        inputs_given, settings = sources_of(inputs[0])
        for name in FACE_OPTIONS:
            if ctx.get_parameter_source(name) is click.core.ParameterSource.DEFAULT:
                tools[name] = getattr(settings, name)
    else:
        inputs_given = list(inputs)
    with redirect_stderr(os.devnull) as terminal:
        from transforms.faces.analyzer import Analyzer

        analyzer = Analyzer.load(**tools)
        with tqdm(desc="crops", unit="video", file=terminal, disable=not _is_at_terminal()) as bar:
            done = write_crops(inputs_given, analyzer, fps, Path(output), lambda _: bar.update())
    for line in crops_lines(done, Path(output)):
        click.echo(line)
    sys.exit(3 if done.unread else 0)


@click.command(cls=RunCommand, epilog="Options for Beam itself come after `--`.")
@click.argument("inputs", nargs=-1, required=True)
@click.option("-o", "--output", "out", required=True, metavar="DIR", help="Folder for the tables.")
@options_of(RunOptions)
@click.option(
    "--dry-run",
    cls=Grouped,
    group=RUNNERS,
    is_flag=True,
    help="Show what Dataflow would be sent, and send nothing.",
)
@click.option("--beam-options", multiple=True, hidden=True)
@click.option("--metrics", cls=Grouped, group=TOLD, is_flag=True, help="Print what was counted and timed.")
@debug_option
def run(
    inputs: tuple[str, ...],
    out: str,
    dry_run: bool,
    beam_options: tuple[str, ...],
    metrics: bool,
    **options: Any,
) -> None:
    """Turn videos into tables: INPUTS are files, folders, globs, URIs or @lists of them."""
    from pipeline.run.ask import refuse
    from pipeline.run.execute import dry_run_lines, execute
    from pipeline.run.request import check_request
    from pipeline.run.summary import error_for_machines, summary, summary_for_machines, write_json
    from transforms.steps.metrics import describe

    chosen = RunOptions(**options)
    with error_for_machines(chosen.summary_json):
        request = check_request(inputs, out, chosen, beam_options)
        if dry_run:
            for line in dry_run_lines(request):
                click.echo(line)
            return
        outcome = execute(request, ask_user if _is_at_terminal() else refuse)
        if outcome is None:
            return
        write_json(summary_for_machines(outcome, request.out), chosen.summary_json)
    if chosen.summary_json != "-":
        for line in summary(outcome, request.out):
            click.echo(line)
        for line in describe(outcome.measured) if metrics else ():
            click.echo(line)
    sys.exit(outcome.exit_code)


def _is_at_terminal() -> bool:
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def ask_user(situation: str, question: str, instead: str) -> bool:
    """Put a question on the terminal; no is what Enter means."""
    return click.confirm(f"{situation}; {question}", err=True)


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, required=True)
@options_of(SettingsOptions)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@debug_option
def plan(inputs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Say what a run over INPUTS would take; nothing is written."""
    from pipeline.run.plan import plan_inputs, plan_lines

    planned = plan_inputs(inputs, SettingsOptions(**options))
    if as_json:
        click.echo(json.dumps(asdict(planned), indent=2))
    else:
        for line in plan_lines(planned):
            click.echo(line)


@click.command(cls=Command)
@click.argument("out", metavar="DIR")
@options_of(SettingsOptions, "smoothing", "window")
@debug_option
def resmooth(out: str, smoothing: str, window: float | None) -> None:
    """Track and smooth the tables in DIR again from their raw columns."""
    from pipeline.commands.resmooth import resmooth_folder
    from pipeline.run.settings import check_smoothing

    check_smoothing(smoothing)
    click.echo(f"{resmooth_folder(out, smoothing, window)} videos smoothed again with {smoothing}.")


@click.command(cls=Command)
@click.option("-o", "--output", "out", help="Folder for the tables; a new one when left out.")
@debug_option
@click.pass_context
def demo(ctx: click.Context, out: str | None) -> None:
    """Run everything on the clip that comes with the package."""
    from pipeline.commands.demo import clip, new_folder

    click.echo(f"affectline run {clip()} …\n")
    ctx.invoke(run, inputs=(str(clip()),), out=out or new_folder())


@click.command(cls=Command)
@click.argument("video")
@click.argument("out", metavar="DIR")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE.mp4|FOLDER",
    help="The video to write; of a folder of videos, the folder for their copies.",
)
@mesh_option
@debug_option
def annotate(video: str, out: str, output: str, mesh: bool) -> None:
    """Draw what the tables in DIR say of VIDEO's faces into a copy of it; VIDEO may be a folder of them."""
    from pipeline.commands.annotate import Copy, annotate_all, holds_several
    from pipeline.commands.annotate import annotate as annotate_video

    if holds_several(video):
        copies = annotate_all(video, out, output, mesh)
    else:
        copies = iter([Copy(output, annotate_video(video, out, output, mesh), None)])
    missing = 0
    for copy in copies:
        if copy.done is None:
            missing += 1
            click.echo(f"affectline: {copy.error}", err=True)
            continue
        sound = "with sound" if copy.done.has_sound else "without sound"
        with_face = copy.done.frames_with_face
        click.echo(f"{copy.output}: {copy.done.frames} frames, {with_face} with a face, {sound}.")
        for problem in copy.done.problems:
            click.echo(f"  {problem}")
    sys.exit(3 if missing else 0)


@click.command(cls=Command)
@click.argument("out", metavar="DIR")
@click.option(
    "-o", "--output", "html", metavar="HTML_DIR", help="Folder for the pages.  [default: DIR/report]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a video, and make no pages.")
@click.option("--no-crops", is_flag=True, help="Show no pictures of faces.")
@debug_option
def report(out: str, html: str | None, as_json: bool, no_crops: bool) -> None:
    """Make pages of the tables in DIR: an index, and one for each video."""
    from tqdm import tqdm

    from pipeline.report.pages import check_tables, pages_folder, write_report
    from pipeline.report.summarize import as_json_line, summaries

    folder = None if as_json else pages_folder(out, html)
    ids = check_tables(out)
    shown = tqdm(ids, unit=" videos", disable=None, leave=False)
    if folder is None:
        for summary in summaries(out, shown):
            click.echo(as_json_line(summary))
    else:
        click.echo(write_report(out, folder, shown, crops=not no_crops))


@click.command(cls=Command)
@click.argument("out", metavar="DIR")
@debug_option
def compact(out: str) -> None:
    """Gather the many small files of the tables in DIR into few large ones."""
    from tqdm import tqdm

    from pipeline.commands.compact import compact as gather
    from pipeline.commands.compact import compact_lines

    with tqdm(unit=" steps", disable=None, leave=False) as bar:
        done = gather(out, bar.update)
    for line in compact_lines(done):
        click.echo(line)


@click.command(cls=Command)
@click.argument("out", metavar="DIR")
@debug_option
def cite(out: str) -> None:
    """Write the methods paragraph for what the tables in DIR hold."""
    from pipeline.commands.cite import methods
    from pipeline.report.pages import check_tables

    click.echo("\n\n".join(methods(out, check_tables(out))))
