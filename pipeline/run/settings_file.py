"""The settings of a run as a TOML file, as `affectline run --config` reads it."""

import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from transforms.remote import is_remote, join, local_uri

if TYPE_CHECKING:  # it brings Beam, and `affectline --help` shall be there at once
    from pipeline.run.request import Request

FILE_NAME: Final = "affectline.toml"
# Meant for the rows that stood at that time: said again, a finished run would be done anew.
_SAID_ONCE: Final = ("force", "redo", "retry_failed")


def as_assignment(name: str, value: Any) -> str:
    """One line of TOML: text, a number, a flag or a list of texts; a comment where there is no value."""
    if value is None:
        return f"# {name} ="
    return f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")


def write_settings(request: "Request") -> None:
    """Leave in the output folder what the run was told and what it took by itself, paths in full."""
    from transforms.tables.files import write_text  # brings Arrow

    options = asdict(request.options)
    _, options["window"] = request.settings.smoothed_by()
    for name in ("workers", "batch_size"):
        options[name] = options[name] or "auto"
    for name in ("model", "detector_weights", "root", "summary_json"):
        if options[name] and os.path.exists(options[name]):
            options[name] = _in_full(options[name])
    lines = [
        f"# `affectline run --config {FILE_NAME}` does it again; what is given beside it comes first.",
        *(as_assignment(name.replace("_", "-"), options[name]) for name in options if name not in _SAID_ONCE),
        "",
        "[run]",
        as_assignment("inputs", [_in_full(text) for text in request.inputs]),
        as_assignment("output", _in_full(request.out)),
        as_assignment("beam-options", list(request.beam_options)),
    ]
    write_text("\n".join(lines) + "\n", join(request.out, FILE_NAME), request.out)


def _in_full(path: str) -> str:
    """A path that means the same from any folder; of a @list too."""
    mark = "@" if path.startswith("@") else ""
    path = path.removeprefix(mark)
    return mark + (path if is_remote(path) else local_uri(os.path.abspath(path)))
