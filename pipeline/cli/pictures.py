"""Commands on single pictures."""

import csv
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from pipeline.cli.command import Command, CommandGroup
from pipeline.cli.options import FACE_OPTIONS, debug_option, mesh_option, options_of
from pipeline.run.options import SettingsOptions
from schemas.errors import UsageError


def _picture_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that decide which faces of pictures are seen, and by which model."""
    whole = click.option(
        "--crop", is_flag=True, help="The picture is a face from edge to edge; look for none."
    )
    for option in (debug_option, whole, options_of(SettingsOptions, *FACE_OPTIONS)):
        command = option(command)
    return command


@click.command(cls=Command)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@_picture_options
@click.option(
    "--annotate",
    metavar="FILE",
    help="Draw what was found into a copy; with several pictures or a folder, a folder of copies.",
)
@mesh_option
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a picture.")
@click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values, a line a face.")
def predict(
    images: tuple[str, ...], crop: bool, annotate: str | None, as_json: bool, as_csv: bool, **tools: Any
) -> None:
    """Find the faces in pictures and their emotions; an IMAGE may be a folder of them."""
    if as_json and as_csv:
        raise UsageError("--json and --csv are two ways to print; choose one.")
    from pipeline.run.stderr import redirect_stderr

    unread = 0
    with redirect_stderr(os.devnull) as terminal:
        from pipeline.commands.predict import (
            PictureTable,
            as_csv_rows,
            as_json_line,
            csv_head,
            load_analyzer,
            plan_tasks,
        )
        from pipeline.commands.predict import predict as predict_all

        tasks = plan_tasks(images, annotate)
        analyzer = load_analyzer(crop, **tools)
        table = PictureTable(max(len(task.picture) for task in tasks), analyzer.spec.classes, boxes=not crop)
        rows = csv.DictWriter(sys.stdout, csv_head(analyzer.spec.classes), lineterminator="\n")
        if as_csv:
            rows.writeheader()
        elif not as_json:
            click.echo(table.head())
        for prediction in predict_all(tasks, analyzer):
            if prediction.error:
                unread += 1
                click.echo(f"affectline: {prediction.picture}: {prediction.error}", file=terminal)
            if as_csv:
                rows.writerows(as_csv_rows(prediction))
                continue
            for line in [as_json_line(prediction)] if as_json else table.rows(prediction):
                click.echo(line)
    sys.exit(3 if unread else 0)


@click.group(cls=CommandGroup)
def explain() -> None:
    """Look inside a model: each command writes one picture."""


_layer_option = click.option("--layer", metavar="NAME", help="A layer's name; a wrong one lists them.")
_picture_file_option = click.option(
    "-o", "--output", required=True, metavar="FILE.png", help="The picture to write."
)


@explain.command(cls=Command)
@_picture_file_option
@options_of(SettingsOptions, "model")
@_layer_option
@debug_option
def kernels(output: str, model: str, layer: str | None) -> None:
    """Draw the kernels of a convolution; without --layer, of the first."""
    from pipeline.run.stderr import redirect_stderr

    with redirect_stderr(os.devnull):
        from pipeline.commands.explain import explain_kernels

        done = explain_kernels(model, layer, output)
    click.echo(done)


@explain.command(cls=Command)
@click.argument("image")
@_picture_file_option
@_picture_options
@_layer_option
def features(image: str, output: str, layer: str | None, crop: bool, **tools: Any) -> None:
    """Draw what a layer answers to the surest face in IMAGE; without --layer, the first convolution."""
    from pipeline.run.stderr import redirect_stderr

    with redirect_stderr(os.devnull):
        from pipeline.commands.explain import explain_features
        from pipeline.commands.predict import load_analyzer

        done = explain_features(image, load_analyzer(crop, **tools), layer, output)
    click.echo(done)


@explain.command(cls=Command)
@click.argument("image")
@_picture_file_option
@_picture_options
@_layer_option
def gradcam(image: str, output: str, layer: str | None, crop: bool, **tools: Any) -> None:
    """Draw where the surest face in IMAGE speaks for each emotion (Grad-CAM).

    Without --layer, at the last convolution.
    """
    from pipeline.run.stderr import redirect_stderr

    with redirect_stderr(os.devnull):
        from pipeline.commands.explain import explain_gradcam
        from pipeline.commands.predict import load_analyzer

        done = explain_gradcam(image, load_analyzer(crop, **tools), layer, output)
    click.echo(done)
