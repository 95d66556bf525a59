"""The `affectline` command: all its commands, and how errors leave it. Heavy imports wait until one runs."""

import itertools
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from pipeline.cli import models, pictures, serving, videos
from pipeline.cli.command import DEBUG, VARIABLES, first_sentence
from pipeline.cli.config import config
from pipeline.run import PIPELINE_THREAD
from schemas import VERSION
from schemas.errors import AffectlineError, TerminatedError, exit_code
from transforms.remote import local_path

_RUNS: Final = ("run", "demo")  # commands that go on where they were stopped


class _Affectline(click.Group):
    """The command group; every error leaves it as one sentence with its exit code."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Print errors as one line; click's own would repeat the usage first."""
        with _open_streams():
            try:
                with _orderly_end():
                    return super().main(*args, **kwargs | {"standalone_mode": False})
            except click.exceptions.NoArgsIsHelpError as error:
                error.show()
                sys.exit(2)
            except click.ClickException as error:
                click.echo(f"affectline: {error.format_message()}", err=True)
                _leave(error.exit_code)
            except (click.Abort, KeyboardInterrupt) as error:  # while arguments are read, or a question asked
                cause = error if isinstance(error, KeyboardInterrupt) else error.__context__
                click.echo("affectline: stopped.", err=True)
                _leave(exit_code(cause or error))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by heading, each with its whole first sentence."""
        for heading, commands in _COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl([(str(each.name), first_sentence(each)) for each in commands])

    def make_context(
        self, info_name: str | None, args: list[str], *rest: Any, **kwargs: Any
    ) -> click.Context:
        """Read the arguments, with paths for `file:` URIs; `--help` prints here."""
        with _reader_may_leave():
            return super().make_context(info_name, [local_path(each) for each in args], *rest, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and put what it raises into a sentence."""
        try:
            with _reader_may_leave():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, _ReaderLeftError):
            raise
        except KeyboardInterrupt as error:
            kept = ctx.invoked_subcommand in _RUNS
            raise _Sentence(
                "stopped; finished videos are kept, and the same command goes on." if kept else "stopped.",
                exit_code(error),
            ) from error
        except Exception as error:
            if ctx.meta.get(DEBUG):
                traceback.print_exc()
            if isinstance(error, AffectlineError):
                raise _Sentence(str(error), error.exit_code) from error
            last_line = (str(error).strip() or type(error).__name__).splitlines()[-1]
            raise _Sentence(f"the run failed: {last_line} (--debug shows the traceback).", 1) from error


def _leave(code: int) -> NoReturn:
    """End the process with this code, without waiting for a thread of Beam's that will never end."""
    if any(thread.name == PIPELINE_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


@contextmanager
def _orderly_end() -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does: everything that it has open is closed and removed."""

    def end(*_: object) -> None:
        raise TerminatedError

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _ReaderLeftError(Exception):
    """Whoever read stdout or stderr has enough. Not an OSError, which click would end with 1."""


@contextmanager
def _reader_may_leave() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ReaderLeftError from error


@contextmanager
def _open_streams() -> Iterator[None]:
    """Let nobody miss a stdout or stderr that is closed; where a reader leaves early, end quietly with 0."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_WRONLY)
            if nothing != number:
                os.dup2(nothing, number)  # or the next file that is opened would get it
            setattr(sys, name, open(number, "w", encoding="utf-8"))  # noqa: SIM115 - open to the end
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except (BrokenPipeError, _ReaderLeftError):
        # What is left in the buffer would be complained about when the process ends.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        sys.exit(0)


class _Sentence(click.ClickException):
    """One sentence for the user, and the exit code that goes with it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


@click.group(
    cls=_Affectline,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "auto_envvar_prefix": VARIABLES,
    },
    epilog="Options are also taken from variables such as AFFECTLINE_FPS or AFFECTLINE_RUN_OUTPUT, and from "
    "a TOML file that --config names; `affectline config` prints what holds.",
)
@click.version_option(VERSION, prog_name="affectline")
def main() -> None:
    """Turn folders of videos into emotion timelines that can be queried."""
    # Libraries talk to a run's log file, or to nobody.
    logging.getLogger().addHandler(logging.NullHandler())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


_COMMANDS: Final = {
    "Videos": (videos.run, videos.plan, videos.demo, videos.crops),
    "Finished tables": (videos.report, videos.annotate, videos.resmooth, videos.compact, videos.cite),
    "Pictures and cameras": (pictures.predict, serving.live, serving.app),
    "Models": (models.models_group, models.train, models.evaluate, models.wrap, pictures.explain),
    "Settings": (config,),
}
for _command in itertools.chain.from_iterable(_COMMANDS.values()):
    main.add_command(_command)
