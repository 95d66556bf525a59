"""Where the command comes in, and what lets `schemas`, `models`, `transforms` and `pipeline` be ours.

They are private and have everyday names: a folder called `models` or a file called `pipeline.py` on the path
of a user's program comes before installed packages. So ours are found first, beside this file, whose own name
no package of the user's has.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Final

NAMES: Final = ("schemas", "models", "transforms", "pipeline")
_HOME: Final = os.path.dirname(os.path.realpath(__file__))
_MARK: Final = b"Private to affectline."  # in the docstring of each


class _OwnPackages(MetaPathFinder):
    """Finds the four beside this file, wherever else there are some of their names."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The package, if it is one of ours."""
        if fullname not in NAMES:
            return None
        folder = os.path.join(_HOME, fullname)
        return spec_from_file_location(
            fullname, os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
        )


def find_own_packages() -> None:
    """Let the four names mean our packages, in this process.

    Raises ImportError, with the path of what is in the way, when another package has put its files in the
    place of ours, or when the program has imported something else under one of the names.
    """
    for name in NAMES:
        folder = os.path.join(_HOME, name)
        if not _is_ours(folder):
            raise ImportError(
                f"{folder} holds another package's files in place of affectline's own '{name}'; install "
                "affectline in an environment of its own."
            )
        loaded = sys.modules.get(name)
        if loaded is not None and _place(loaded) != folder:
            raise ImportError(
                f"{_place(loaded)} was imported as '{name}', which is also the name of a package of "
                "affectline's; rename it, or use affectline in another process."
            )
    if not any(isinstance(finder, _OwnPackages) for finder in sys.meta_path):
        sys.meta_path.insert(0, _OwnPackages())


def warn_of_hidden_modules() -> None:
    """Say which modules of the user's cannot be imported any more, since ours have their names."""
    for name in NAMES:
        found = PathFinder.find_spec(name)
        place = found and found.origin and _package(found.origin)
        if place and os.path.realpath(place) != os.path.join(_HOME, name):
            warnings.warn(
                f"{place} cannot be imported beside affectline, which has a package called '{name}'; "
                "rename it.",
                stacklevel=3,
            )


def _is_ours(folder: str) -> bool:
    try:
        with open(os.path.join(folder, "__init__.py"), "rb") as file:
            return _MARK in file.read()
    except OSError:
        return False


def _place(module: ModuleType) -> str:
    """Where a loaded module came from: a package's folder, or a file."""
    origin = getattr(module, "__file__", None)
    if origin is None:  # a namespace package
        return os.path.realpath(next(iter(getattr(module, "__path__", ())), module.__name__))
    return os.path.realpath(_package(origin))


def _package(origin: str) -> str:
    folder, name = os.path.split(origin)
    return folder if name == "__init__.py" else origin


def main() -> None:
    """Run the command."""
    try:
        find_own_packages()
    except ImportError as error:
        sys.exit(f"affectline: {error}")
    from pipeline.cli.main import main as command

    command()
