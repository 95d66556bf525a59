"""Readers that leave early and streams that are closed: a quiet end, exit 0."""

import os
import subprocess
import sys

import pytest

from tests.helpers import synthetic
from tests.helpers.needs import ROOT

AFFECTLINE = f"{sys.executable} -P -m pipeline.cli"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    out = tmp_path_factory.mktemp("tables")
    synthetic.write_corpus(out)
    return out


def shell(line):
    """The exit codes of all parts of a pipe, what came out of it, and what was complained."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    script = f"{line}; echo ${{PIPESTATUS[@]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    *output, codes = done.stdout.splitlines()
    return codes.split(), output, done.stderr


COMMANDS = ["--help", "run --help", "--version", "models", "report {} --json"]


@pytest.mark.parametrize(
    ("command", "reader"), [*((command, "head -1") for command in COMMANDS), ("models", "true")]
)
def test_a_reader_that_leaves_early_is_no_error(tables, command, reader):
    codes, output, errors = shell(f"{AFFECTLINE} {command.format(tables)} | {reader}")
    assert (codes, errors) == (["0", "0"], "")
    assert len(output) == (reader == "head -1")


@pytest.mark.parametrize(
    ("command", "closed"),
    [
        *(("models", closed) for closed in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-")),
        *((command, ">&- 2>&-") for command in COMMANDS if command != "models"),
    ],
)
def test_closed_streams_are_no_error(tables, command, closed):
    codes, _, errors = shell(f"{AFFECTLINE} {command.format(tables)} {closed}")
    assert (codes, errors) == (["0"], "")


def test_an_error_keeps_its_exit_code_when_nobody_hears_it():
    for closed in ("2>&-", ">&- 2>&-"):
        codes, _, _ = shell(f"{AFFECTLINE} report /nowhere {closed}")
        assert codes[0] == "2", closed


def test_a_whole_answer_is_written_before_a_quiet_end(tables):
    codes, output, errors = shell(f"{AFFECTLINE} report {tables} --json | cat")
    assert (codes, len(output), errors) == (["0", "0"], 4, "")
