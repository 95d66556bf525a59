"""What Dataflow's template launcher calls: turns the template's parameters into an `affectline run`."""

import sys
from typing import Any, Final

from pipeline.cli.command import shown_flag
from pipeline.cli.main import main
from pipeline.cli.videos import run

# A template's launch names these as Beam does, and Beam's word wins.
_BEAMS: Final = ("runner", "project", "region")


def command(arguments: list[str]) -> list[str]:
    """The words of `affectline` for the launcher's `--name=value`; what is not ours goes to Beam.

    `inputs` may name several, with commas between. A flag's value is true or false.
    """
    options = _options()
    inputs: list[str] = []
    ours: list[str] = []
    beams: list[str] = []
    for argument in arguments:
        name, _, value = argument.removeprefix("--").partition("=")
        option = f"--{name.replace('_', '-')}"
        if name == "inputs":
            inputs = [text.strip() for text in value.split(",")]
        elif name in _BEAMS or option not in options:
            beams.append(argument)
        elif not options[option].is_flag:
            ours.append(f"{option}={value}")
        elif value.lower() == "true":
            ours.append(option)
    return ["run", *inputs, *ours, "--runner=dataflow", "--", *beams]


def _options() -> dict[str, Any]:
    return {shown_flag(parameter): parameter for parameter in run.params}


if __name__ == "__main__":
    main(command(sys.argv[1:]))
