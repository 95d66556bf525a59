"""Packages that only an extra brings."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from schemas.errors import UsageError


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Around imports of packages that only `pip install affectline[extra]` brings."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise UsageError(
            f"{package} is not installed; get it with: pip install 'affectline[{extra}]'"
        ) from error


def needs_train_extra() -> AbstractContextManager[None]:
    """Around imports that need what only training and evaluation use."""
    return needs_extra("train", "sklearn", "matplotlib")
