"""Options that several commands share."""

import dataclasses
from collections.abc import Callable
from typing import Any

import click

from pipeline.cli.command import DEBUG, Setting
from pipeline.run.options import SettingsOptions, check_rate
from schemas.errors import UsageError

# What finds faces and names emotions, also where no video is run.
FACE_OPTIONS = ("detector", "detector_weights", "min_face", "model")


class _Rate(click.ParamType):
    """Samples a second, exactly as written: a decimal or a fraction."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_rate(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return str(value)


class _NumberOrAuto(click.ParamType):
    """A whole number, or None for auto."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if value == "auto":
            return None
        if not str(value).isdecimal() or int(value) < 1:
            self.fail(f"{value!r} is neither a whole number from 1 on nor auto.", param, ctx)
        return int(value)


mesh_option = click.option(
    "--mesh", is_flag=True, help="Draw the mesh of each face too; JSON has its points."
)
debug_option = click.option(
    "--debug",
    is_flag=True,
    expose_value=False,
    callback=lambda ctx, _parameter, value: ctx.meta.__setitem__(DEBUG, value),
    help="Show the traceback of an error.",
)


def options_of(
    options: type[SettingsOptions], *names: str, **defaults: Any
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorates a command with the options of that class, or with those of these names.

    defaults: those that differ in this command.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        fields = [each for each in dataclasses.fields(options) if not names or each.name in names]
        for each in reversed(fields):
            command = _option(each, defaults.get(each.name, each.default))(command)
        return command

    return decorate


def _option(option: dataclasses.Field[Any], default: Any) -> Callable[[Any], Any]:
    limits, flag = option.metadata, "--" + option.name.replace("_", "-")
    shown = {"cls": Setting, "group": limits["group"], "help": limits["help"]}
    if option.type is bool:
        return click.option(f"{flag}/{flag.replace('--', '--no-', 1)}", default=default, **shown)
    low = limits["at_least"] if limits["above"] is None else limits["above"]
    numbers = {"min": low, "max": limits["at_most"], "min_open": limits["above"] is not None}
    types: dict[Any, click.ParamType] = {
        "fps": _Rate(),
        int: click.IntRange(**numbers),
        int | None: _NumberOrAuto(),
        float: click.FloatRange(**numbers),
        float | None: click.FloatRange(**numbers),
    }
    kind = types.get(option.name) or types.get(option.type, click.STRING)
    taken = "auto" if isinstance(kind, _NumberOrAuto) else default
    return click.option(flag, default=taken, type=kind, metavar=limits["metavar"], **shown)
