"""What a command is: its help, and where its options come from when they are not on the command line.

A flag counts before the environment, and that before the file of `--config`. In both, what several
commands share (a `Setting`) may be said once for all of them; under a command's own name it counts for
that one, and first.
"""

import copy
import difflib
import os
import tomllib
from collections.abc import Collection, Mapping
from typing import Any, Final

import click
from click.core import ParameterSource

from pipeline.run.options import COMMON
from schemas.errors import UsageError
from transforms.remote import local_path

VARIABLES: Final = "AFFECTLINE"  # how the name of every environment variable begins
DEBUG: Final = "debug"
CONFIG: Final = "config"
_GENERAL: Final = "General"  # heading of what every command has


class Grouped(click.Option):
    """An option that stands under a heading in the help."""

    def __init__(self, *args: Any, group: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.group = group


class Setting(Grouped):
    """An option that several commands share, so that a file or a variable may set it for all of them."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Of a pair of flags, the one that changes something."""
        shown = copy.copy(self)
        if self.secondary_opts:
            shown.opts, shown.secondary_opts = [shown_flag(self)], []
            shown.show_default = False
        return super(Setting, shown).get_help_record(ctx)


def shown_flag(option: click.Parameter) -> str:
    """The long form of an option; of a pair of flags, the one that changes the default."""
    switches_off = bool(option.secondary_opts) and option.default is True
    return max(option.secondary_opts if switches_off else option.opts, key=len)


class Command(click.Command):
    """A command that takes options from a file and the environment too, and lists them by heading."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            Setting(
                ["--config"],
                group=_GENERAL,
                metavar="FILE.toml",
                is_eager=True,
                expose_value=False,
                callback=_take_file,
                help="Take options that are not given here from this file.",
            )
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments, the environment and the file; an error names where a wrong value stands."""
        for option in self.params:
            if isinstance(option, click.Option):
                option.envvar = _variables(ctx, option)
        try:
            return super().parse_args(ctx, args)
        except click.BadParameter as error:
            if error.param is None or not (place := whence(ctx, error.param)):
                raise
            message = f"{error.message.rstrip('.')} ({place})."
            raise click.BadParameter(message, error.ctx, error.param) from error

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options by heading, the common ones first and what every command has last."""
        groups: dict[str, list[tuple[str, str]]] = {COMMON: []}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                usual = _GENERAL if option.is_eager or option.name == DEBUG else COMMON
                groups.setdefault(getattr(option, "group", usual), []).append(record)
        for group in sorted(filter(groups.get, groups), key=lambda group: group == _GENERAL):
            with formatter.section(group):
                formatter.write_dl(groups[group])


class CommandGroup(click.Group):
    """A group whose help has each command's first sentence whole."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in the order they were added."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, first_sentence(each)) for name, each in self.commands.items()])


def first_sentence(command: click.Command) -> str:
    """What a command is for, as lists of commands say it."""
    return command.get_short_help_str(limit=1000)


class RunCommand(Command):
    """A command after whose `--` come options for Beam."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Turn what follows `--` into values of the hidden option that a file may hold too."""
        at = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, args[:at] + [f"--beam-options={each}" for each in args[at + 1 :]])


def key(parameter: click.Parameter) -> str:
    """What a file calls a parameter: its long option, or an argument's own name."""
    if isinstance(parameter, click.Option):
        return max(parameter.opts, key=len).lstrip("-")
    return parameter.human_readable_name.lower()


def whence(ctx: click.Context, parameter: click.Parameter) -> str | None:
    """Where a parameter's value comes from, if neither from the command line nor from its default."""
    source = ctx.get_parameter_source(parameter.name or "")
    if source is ParameterSource.DEFAULT_MAP:
        return str(ctx.meta[CONFIG])
    if source is ParameterSource.ENVIRONMENT:
        return next(name for name in parameter.envvar or () if os.environ.get(name))
    return None


def _variables(ctx: click.Context, option: click.Option) -> list[str]:
    """The environment variables that an option is taken from; the first that is set counts."""
    own = [ctx.auto_envvar_prefix] if ctx.auto_envvar_prefix else []
    prefixes = [*own, VARIABLES] if isinstance(option, Setting) else own
    return [f"{prefix}_{key(option).replace('-', '_').upper()}" for prefix in prefixes]


def _take_file(ctx: click.Context, _option: click.Parameter, path: str | None) -> None:
    """Let a command's parameters default to what a file says."""
    if path is None:
        return
    try:
        with open(path, "rb") as file:
            content = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # neither TOML nor UTF-8
        raise UsageError(f"{path} is not a TOML file: {error}.") from error
    root = ctx.find_root().command
    assert isinstance(root, click.Group)
    _check_names(content, root, path)
    own: Mapping[str, Any] = content
    for name in words_to(ctx):
        own = own.get(name, {})
    ctx.meta[CONFIG] = path
    ctx.default_map = {
        str(parameter.name): _as_written(values[key(parameter)], parameter)
        for parameter in ctx.command.params
        for values in (own, content if isinstance(parameter, Setting) else {})
        if key(parameter) in values
    }


def words_to(ctx: click.Context) -> list[str]:
    """The words that call a command, after the root's own."""
    return [] if ctx.parent is None else [*words_to(ctx.parent), str(ctx.info_name)]


def _check_names(content: Mapping[str, Any], root: click.Group, path: str) -> None:
    """UsageError for a name that no command has, since it would be passed over without a word."""
    shared = {
        key(parameter)
        for command in commands(root).values()
        for parameter in command.params
        if isinstance(parameter, Setting)
    }
    _check_table(content, shared, root, "among the settings that commands share", path)


def _check_table(
    content: Mapping[str, Any], known: Collection[str], command: click.Command, place: str, path: str
) -> None:
    tables = command.commands if isinstance(command, click.Group) else {}
    for name, value in content.items():
        if name in tables and isinstance(value, dict):
            below = {key(parameter) for parameter in tables[name].params}
            _check_table(value, below, tables[name], f"in [{name}]", path)
        elif name not in known or name == CONFIG or isinstance(value, dict):
            close = difflib.get_close_matches(name, [*known, *tables], 1)
            hint = (
                f"did you mean '{close[0]}'?"
                if close
                else "what one command has stands below it, as in [run]."
            )
            raise UsageError(f"{path}: there is no '{name}' {place}; {hint}")


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    """Every command below a group, groups included, by the words that call it."""
    found: dict[str, click.Command] = {}
    for name, command in sorted(group.commands.items()):
        found[prefix + name] = command
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
    return found


def _as_written(value: Any, parameter: click.Parameter) -> Any:
    """A value of a file as the command line would have it, so that both are read alike and exactly."""

    def text(each: Any) -> Any:
        return each if isinstance(each, bool) else local_path(str(each))

    if parameter.multiple or parameter.nargs == -1:
        return [text(each) for each in (value if isinstance(value, list) else [value])]
    return text(value)
