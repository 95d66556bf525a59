"""Settings from a file and from the environment, and the file that a run leaves of them."""

import tomllib

import pytest

from pipeline.cli.command import commands
from pipeline.cli.main import main
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load


def settings(*arguments):
    result = affectline("config", *arguments)
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


def origins(*arguments):
    lines = affectline("config", *arguments).stdout.splitlines()
    return {line.strip("# ").split()[0]: line.rpartition("# ")[2] for line in lines if " =" in line}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'fps = 0.1\ncrops = false\n[run]\nworkers = 2\noutput = "tables"\n[live]\nmin-face = 0.2\n'
    )
    return path


def test_the_environment_counts_before_the_file_and_a_commands_own_name_first(file, monkeypatch):
    held = settings("--config", file)
    assert (held["fps"], held["crops"], held["workers"], held["run"]["output"]) == ("0.1", False, 2, "tables")
    assert settings("live", "--config", file)["min-face"] == 0.2
    monkeypatch.setenv("AFFECTLINE_FPS", "3")
    monkeypatch.setenv("AFFECTLINE_WORKERS", "3")
    monkeypatch.setenv("AFFECTLINE_RUN_WORKERS", "4")
    monkeypatch.setenv("AFFECTLINE_RUN_OUTPUT", "elsewhere")
    monkeypatch.setenv("AFFECTLINE_CONFIG", str(file))
    held = settings("run")
    assert (held["fps"], held["crops"], held["workers"], held["run"]["output"]) == (
        "3",
        False,
        4,
        "elsewhere",
    )
    assert settings("plan")["fps"] == "3"


def test_each_line_says_where_it_comes_from(file, monkeypatch):
    monkeypatch.setenv("AFFECTLINE_MODEL", "ferplus")
    told = origins("--config", file)
    assert {name: told[name] for name in ("fps", "model", "detector", "window", "output")} == {
        "fps": str(file),
        "model": "AFFECTLINE_MODEL",
        "detector": "default",
        "window": "default",
        "output": str(file),
    }


def test_what_config_prints_is_a_file_for_config(tmp_path, file):
    (tmp_path / "printed.toml").write_text(affectline("config", "--config", file).stdout)
    assert settings("--config", tmp_path / "printed.toml") == settings("--config", file)


def test_every_command_can_be_asked(monkeypatch):
    for words, command in commands(main).items():
        if not hasattr(command, "commands"):
            settings(*words.split())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "worker = 2",
            "there is no 'worker' among the settings that commands share; did you mean 'workers'?",
        ),
        ('outcome = "x"', "among the settings that commands share; what one command has stands below it"),
        ("[run]\noutputs = 1", "there is no 'outputs' in [run]; did you mean 'output'?"),
        ("[explain.gradcam]\nlayers = 1", "there is no 'layers' in [gradcam]; did you mean 'layer'?"),
        ("workers = none", "is not a TOML file: "),
        (
            "[run]\nworkers = 0",
            "Invalid value for '--workers': '0' is neither a whole number from 1 on nor auto (",
        ),
    ],
)
def test_what_a_file_says_wrongly_is_told_with_its_name(tmp_path, text, sentence):
    file = tmp_path / "wrong.toml"
    file.write_text(text)
    result = affectline("run", tmp_path, "-o", tmp_path / "out", "--config", file)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "wrong.toml" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_wrong_variable_is_told_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setenv("AFFECTLINE_MIN_FACE", "2")
    result = affectline("run", tmp_path, "-o", tmp_path / "out")
    assert result.stderr.endswith("2.0 is not in the range 0<x<=1 (AFFECTLINE_MIN_FACE).\n")


def test_the_settings_as_used_lie_in_the_output_folder_and_do_the_same_again(
    tmp_path, untrained_model, monkeypatch
):
    astronaut_clip(tmp_path / "clip.mp4", 1)
    monkeypatch.chdir(tmp_path)
    model = untrained_model.relative_to(untrained_model.anchor)
    monkeypatch.chdir(untrained_model.anchor)
    first = affectline(
        *("run", tmp_path / "clip.mp4", "-o", tmp_path / "out", *FAST, "--model", model),
        *("--fps", "2.5", "--no-crops", "--force", "--max-failure-ratio", "0.5", "--", "--hints=x"),
    )
    assert first.exit_code == 0, first.output
    file = tmp_path / "out/affectline.toml"
    kept = tomllib.loads(file.read_text())
    assert (kept["smoothing"], kept["window"], kept["fps"], kept["crops"]) == ("ema", 0.5, "2.5", False)
    assert "force" not in kept
    assert kept["run"]["inputs"] == [str(tmp_path / "clip.mp4")]
    assert kept["run"]["beam-options"] == ["--hints=x"]
    assert kept["model"] == str(untrained_model)

    monkeypatch.chdir(tmp_path)
    again = affectline("run", "--config", file)
    assert "1 were done before" in again.output
    assert tomllib.loads(file.read_text()) == kept
    other = affectline("run", "--config", file, "-o", "other", "--crops")
    assert other.exit_code == 0, other.output
    one, two = (load(out, "videos").iloc[0] for out in ("out", "other"))
    assert (one["model_sha256"], one["samples"]) == (two["model_sha256"], two["samples"])
    assert tomllib.loads((tmp_path / "other/affectline.toml").read_text())["crops"] is True
