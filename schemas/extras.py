"""Packages that only an extra brings."""

from collections.abc import Iterator
from contextlib import contextmanager

from schemas.errors import UsageError


@contextmanager
def needs_extra(extra: str, *packages: str) -> Iterator[None]:
    """Around imports of packages that only an extra brings; UsageError that names it without them."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise UsageError(
            f"{package} is not installed; get it with: pip install 'affectline[{extra}]'"
        ) from error
