"""The process around the package: foreign packages of our names, and what stays in the environment."""

import os
import subprocess
import sys

import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.needs import ROOT

NAMES = ("models", "pipeline", "schemas", "transforms")


def python(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env=os.environ | environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize("names", [["models"], NAMES])
def test_packages_of_our_names_on_the_users_path_do_not_matter(tmp_path, names):
    for name in names:
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text("raise ImportError('theirs')")
    script = tmp_path / "affectline"
    script.write_text(
        f"import sys; sys.path.append({str(ROOT)!r}); from affectline_command import main; sys.exit(main())"
    )
    done = python("-P", script, "models", cwd=tmp_path, PYTHONPATH=str(tmp_path / "theirs"))
    assert (done.returncode, done.stderr) == (0, "")
    assert "resnet48" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_module_of_our_name_beside_a_notebook_is_named_and_does_not_matter(tmp_path, name):
    (tmp_path / f"{name}.py").write_text("raise SystemExit('theirs')")
    code = "import affectline as af; print(len(af.detectors()), af.__version__)"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] == "3"
    assert (
        f"{tmp_path / name}.py cannot be imported beside affectline, which has a package called '{name}'; "
        "rename it."
    ) in done.stderr


@pytest.mark.parametrize("kind", ["module", "package", "namespace"])
def test_a_module_of_our_name_that_was_imported_before_is_named(tmp_path, kind):
    place = tmp_path / ("pipeline.py" if kind == "module" else "pipeline")
    if kind == "module":
        place.touch()
    else:
        place.mkdir()
        (place / ("__init__.py" if kind == "package" else "steps.py")).touch()
    code = f"import pipeline, sys; sys.path.append({str(ROOT)!r}); import affectline"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH="")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        f"ImportError: {place} was imported as 'pipeline', which is also the name of a package of "
        "affectline's; rename it, or use affectline in another process."
    )


def test_folders_of_data_with_our_names_are_nothing_to_remark_on(tmp_path):
    (tmp_path / "models").mkdir()
    done = python("-c", "import affectline; affectline.UsageError", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def overwritten(tmp_path):
    """A folder as another distribution leaves it that has a package `models` too."""
    for each in ROOT.iterdir():
        if each.name in (*NAMES, "affectline", "affectline_command.py"):
            (tmp_path / each.name).symlink_to(each)
    (tmp_path / "models").unlink()
    (tmp_path / "models").mkdir()
    (tmp_path / "models/__init__.py").write_text("raise SystemExit('theirs')")
    return tmp_path


@pytest.mark.parametrize("code", ["import affectline", "from affectline_command import main; main()"])
def test_another_package_in_the_place_of_ours_is_named(overwritten, code):
    (overwritten / "affectline_command.py").unlink()
    (overwritten / "affectline_command.py").write_text((ROOT / "affectline_command.py").read_text())
    done = python("-c", code, cwd=overwritten, PYTHONPATH=str(overwritten))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(
        f"{overwritten / 'models'} holds another package's files in place of affectline's own 'models'; "
        "install affectline in an environment of its own."
    )
    assert ("Traceback" in done.stderr) == (code == "import affectline")


def test_a_folder_with_modules_of_our_names_runs_in_workers(tmp_path):
    """A user's folder, in which both the command and a notebook stand, with two worker processes."""
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('theirs')")
    astronaut_clip(tmp_path / "clip.mp4", 1)
    code = "import affectline as af; print(af.run('clip.mp4', 'out', workers=2, detector='haar'))"
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stderr
    assert "videos   1 of 1 done" in done.stdout
    done = python("-m", "affectline", "plan", "clip.mp4", cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert (done.returncode, done.stderr.count("theirs")) == (0, 0), done.stderr


def test_keras_gets_its_backend_and_the_caller_keeps_his_environment(tmp_path):
    code = (
        "import models, os; assert 'KERAS_BACKEND' not in os.environ; os.environ['KERAS_BACKEND'] = 'jax'; "
        "import keras; print(keras.backend.backend(), os.environ['KERAS_BACKEND'])"
    )
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout == "tensorflow jax\n", done.stderr
