"""What holds before a command is told anything."""

import copy
from collections.abc import Iterator

import click
from click.core import ParameterSource

from pipeline.cli.command import CONFIG, Command, Setting, key, whence, words_to
from pipeline.cli.options import debug_option
from schemas.errors import UsageError


@click.command(cls=Command)
@click.argument("words", nargs=-1, metavar="[COMMAND]...")
@debug_option
@click.pass_context
def config(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Print what each option of COMMAND is where it is not given, and where that comes from.

    COMMAND is `run` when left out. What is printed may be kept as a file for --config.
    """
    at = ctx.find_root()
    command: click.Command = at.command
    for number, word in enumerate(words or ("run",), 1):
        if not isinstance(command, click.Group) or word not in command.commands:
            raise UsageError(
                f"There is no command '{' '.join(words[:number])}'; `affectline --help` lists all of them."
            )
        command = command.commands[word]
        at = click.Context(command, at, word)
    if not isinstance(command, Command):
        raise UsageError(f"'{' '.join(words)}' stands for several commands; name one of them.")
    for line in _lines(command, at, ctx.meta.get(CONFIG)):
        click.echo(line)


def _lines(command: Command, at: click.Context, path: str | None) -> Iterator[str]:
    """TOML: what commands share, then what this one alone has; each with its origin as a comment."""
    asked = copy.copy(command)
    asked.params = [_optional(parameter) for parameter in command.params]
    with asked.make_context(at.info_name, ["--config", path] if path else [], at.parent) as ctx:
        shown = [parameter for parameter in asked.params if parameter.expose_value]
        lines = [(parameter, _line(parameter, ctx)) for parameter in shown]
    yield from (line for parameter, line in lines if isinstance(parameter, Setting))
    if own := [line for parameter, line in lines if not isinstance(parameter, Setting)]:
        yield from ("", f"[{'.'.join(words_to(at))}]", *own)


def _optional(parameter: click.Parameter) -> click.Parameter:
    """The same parameter where nothing is missing yet."""
    optional = copy.copy(parameter)
    optional.required = False
    return optional


def _line(parameter: click.Parameter, ctx: click.Context) -> str:
    from pipeline.run.settings_file import as_assignment

    value = ctx.params[str(parameter.name)]
    if ctx.get_parameter_source(str(parameter.name)) is ParameterSource.DEFAULT:
        if not value and isinstance(parameter.default, str):  # a word that stands for no value, such as auto
            value = parameter.default
        value = None if value == () else value
    elif not isinstance(value, bool | int | float | str):
        value, _ = parameter.consume_value(ctx, {})  # as it was written
    return f"{as_assignment(key(parameter), value):<40}  # {whence(ctx, parameter) or 'default'}"
