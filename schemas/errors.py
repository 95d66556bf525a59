"""Everything that affectline raises for a user to read; each message is one sentence that says what to do.

A ValueError or TypeError that is none of these means that a program called a function wrongly.
"""


class AffectlineError(Exception):
    """The root: catch it to catch all of them."""

    exit_code = 1


class UsageError(AffectlineError, ValueError):
    """What was asked for cannot be done as asked; nothing was written."""

    exit_code = 2


class RunError(AffectlineError):
    """The run itself failed; what was finished before stays."""


class WorkerDiedError(RunError):
    """A worker process ended by itself, and the pipeline's own thread waits for it for ever."""


class ModelChangedError(RunError):
    """A model's file is no longer the one that was asked for."""


class MissingGpuError(RunError):
    """A GPU was asked for and none can be used."""


class IncompleteVideoError(RunError):
    """Rows of a video are missing, doubled or contradict each other: none of them can be trusted."""


class UnreadableVideoError(AffectlineError, ValueError):
    """No frame of a video file can be used."""


class UnavailableError(UnreadableVideoError):
    """A video file cannot be read now, for want of disk, network, permission or the like: it may be later."""


class DecoderStoppedError(UnreadableVideoError):
    """The decoder was stopped because it took too long."""


class DecoderKilledError(UnreadableVideoError):
    """Somebody else killed the decoder: the system, as a rule, because memory ran out."""


class UnreadablePictureError(AffectlineError, ValueError):
    """A file holds no picture that can be read; the message does not name the file."""


class TerminatedError(KeyboardInterrupt):
    """The process was asked to end (SIGTERM), which it does in order, as after Ctrl-C (SIGINT)."""


def exit_code(error: BaseException) -> int:
    """The code that a command ends with because of this error."""
    if isinstance(error, TerminatedError):
        return 143
    if isinstance(error, KeyboardInterrupt):
        return 130
    return error.exit_code if isinstance(error, AffectlineError) else 1
