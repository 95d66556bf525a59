"""The two ways a command can end badly; both messages are one sentence for the user."""


class UsageError(Exception):
    """What was asked for cannot be done as asked; nothing was written."""


class RunError(Exception):
    """The run itself failed; what was finished before stays."""


class WorkerDiedError(RunError):
    """A worker process ended by itself, and the pipeline's own thread waits for it for ever."""
