"""What docs/own-model.md shows: descriptions that can be followed, commands with their options, queries."""

import re
import shlex
import tomllib

import click
import pytest

from models.classify.wrapped import parse_description
from pipeline.cli.main import main
from tests.helpers.commands import ROOT

PAGE = (ROOT / "docs/own-model.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


COMMANDS = [
    shlex.split(line)[1:]
    for block in blocks("sh")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("affectline ")
]


def test_the_description_can_be_followed():
    described = parse_description(blocks("toml")[0].encode(), "model.toml")
    assert described.classes[0] == "neutral"
    assert described.classes[-2:] == ("fear", "contempt")
    assert (described.size, described.colour, described.mean[2]) == (64, "rgb", 103.53)


def test_the_entry_points_are_the_examples():
    project = tomllib.loads((ROOT / "examples/affectline-centre-face/pyproject.toml").read_text())["project"]
    assert tomllib.loads(blocks("toml")[1])["project"]["entry-points"] == project["entry-points"]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_every_command_has_the_options_that_are_shown(arguments, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.onnx").touch()
    (tmp_path / "labelled").mkdir()
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[arguments[0]]
        arguments = arguments[1:]
    command.make_context(command.name, [*arguments])
