"""What `--help` shows on a terminal of 80 columns."""

import re

import click
import pytest
from click.testing import CliRunner

from pipeline.cli.command import Command, commands, first_sentence
from pipeline.cli.main import main

COMMANDS = commands(main)


def shown(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = CliRunner().invoke(main, [*words.split(), "--help"])
    assert result.exit_code == 0
    return result.stdout


def joined(text):
    return re.sub(r"\s+", " ", re.sub(r"-\n\s+", "-", text))


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_nothing_is_cut_at_80_columns(words, monkeypatch):
    command = COMMANDS.get(words, main)
    text = shown(words, monkeypatch)
    assert max(map(len, text.splitlines())) <= 80
    assert joined(command.help.partition("\b")[0]) in joined(text)
    below = command.commands.values() if isinstance(command, click.Group) else ()
    for each in below:
        assert joined(first_sentence(each)) in joined(text)
        assert not first_sentence(each).endswith("...")
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert joined(option.help) in joined(text), option.name


def test_every_command_has_its_place_in_the_list_and_takes_a_file():
    listed = shown_names()
    assert sorted(listed) == sorted(main.commands)
    leaves = [each for each in COMMANDS.values() if not isinstance(each, click.Group)]
    assert all(isinstance(each, Command) for each in leaves)


def shown_names():
    text = CliRunner().invoke(main, ["--help"]).stdout
    return re.findall(r"^  ([a-z]+)  ", text, re.MULTILINE)


def test_the_common_options_come_first_and_those_of_every_command_last(monkeypatch):
    headings = re.findall(r"^(\S.*):$", shown("run", monkeypatch), re.MULTILINE)
    assert (headings[0], headings[-1], len(headings)) == ("Options", "General", 7)
    common = shown("run", monkeypatch).partition("\n\n")[2].partition("Options:\n")[2].partition("\n\n")[0]
    assert re.findall(r"--[a-z-]+", common) == [
        *("--output", "--fps", "--model", "--detector", "--smoothing", "--workers")
    ]


def test_of_a_pair_of_flags_the_help_shows_the_one_that_changes_something(monkeypatch):
    text = shown("run", monkeypatch)
    assert "--no-crops " in text
    assert "--crops" not in text
    assert "--no-force" not in text
