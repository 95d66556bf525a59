"""Options that several commands share."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import click

BEAM_OPTIONS = "beam_options"
DEBUG = "debug"


class RunCommand(click.Command):
    """A command after whose `--` come options for Beam."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Set what follows `--` aside before click reads the rest."""
        at = args.index("--") if "--" in args else len(args)
        ctx.meta[BEAM_OPTIONS] = args[at + 1 :]
        return super().parse_args(ctx, args[:at])


def _fps(_ctx: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        rate = Fraction(value)
    except (ValueError, ZeroDivisionError) as error:
        raise click.BadParameter(f"{value!r} is not a number.") from error
    if rate < 0:
        raise click.BadParameter("samples a second cannot be negative; 0 takes every frame.")
    return value


class BatchSize(click.ParamType):
    """A whole number, or None for auto."""

    name = "batch size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a whole number from 1 on nor auto.", param, ctx)
        return int(value)


debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _parameter, value: ctx.meta.__setitem__(DEBUG, value),
    help="Show the traceback of an error.",
)
smoothing_options = (
    click.option("--smoothing", default="hmm", help="hmm, ema, median, mode or none."),
    click.option(
        "--window",
        type=click.FloatRange(0, min_open=True),
        help="Smoothing window in seconds; each method has its own.",
    ),
)
face_options = (
    click.option("--detector", default="mtcnn", help="Face detector: mtcnn, haar or yunet."),
    click.option("--detector-weights", metavar="FILE", help="Weights for yunet, instead of a download."),
    click.option(
        "--min-face",
        default=0.08,
        type=click.FloatRange(0, 1, min_open=True),
        help="Smallest face, as a part of the frame's shorter side.",
    ),
    click.option("--model", default="default", help="A shipped model's name, or a .keras file."),
)


def settings_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that decide what is written, for `run` and `plan` alike."""
    options = [
        click.option("--fps", default="5", callback=_fps, help="Samples a second; 0: every frame."),
        *face_options,
        *smoothing_options,
        click.option("--no-crops", is_flag=True, help="Store no pictures of faces."),
        debug_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command
