"""Writes metadata.json from the command line's own definitions: `python -m flex_template.metadata`."""

import json
from pathlib import Path
from typing import Any, Final

import click

from pipeline.cli.command import shown_flag
from pipeline.cli.videos import run

FILE: Final = Path(__file__).with_name("metadata.json")

# What a template's launch decides elsewhere, or what only a run on one's own machine has.
LEFT_OUT: Final = (
    "runner",
    "project",
    "region",
    "detector_weights",
    "workers",
    "wave_minutes",
    "log_format",
    "quiet",
    "summary_json",
    "dry_run",
    "metrics",
    "debug",
    "beam_options",
    "config",
)


def parameters() -> list[click.Parameter]:
    """The parameters of `affectline run` that the template takes too."""
    return [parameter for parameter in run.params if parameter.name not in LEFT_OUT]


def parameter_name(parameter: click.Parameter) -> str:
    """A parameter's name in the template: its long option, with underscores."""
    return shown_flag(parameter).lstrip("-").replace("-", "_")


def metadata() -> dict[str, Any]:
    """The template's description as Dataflow reads it."""
    return {
        "name": "affectline",
        "description": run.help,
        "parameters": [_entry(parameter) for parameter in parameters()],
    }


def _entry(parameter: click.Parameter) -> dict[str, Any]:
    name = parameter_name(parameter)
    entry: dict[str, Any] = {
        "name": name,
        "label": name.replace("_", " ").capitalize(),
        "helpText": getattr(parameter, "help", None)
        or "Folders, globs or @lists on gs://, commas between them.",
        "isOptional": not parameter.required,
    }
    if getattr(parameter, "is_flag", False):
        return entry | {"paramType": "BOOLEAN", "defaultValue": "false"}
    if isinstance(parameter.default, str | int | float):
        entry["defaultValue"] = str(parameter.default)
    return entry | {"paramType": "TEXT"}


if __name__ == "__main__":
    FILE.write_text(json.dumps(metadata(), indent=2) + "\n", encoding="utf-8")
