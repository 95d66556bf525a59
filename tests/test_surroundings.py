"""The process around the package: foreign packages of our names, and what stays in the environment."""

import os
import subprocess
import sys

import pytest

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


def test_keras_gets_its_backend_and_the_caller_keeps_his_environment(tmp_path):
    code = (
        "import models, os; assert 'KERAS_BACKEND' not in os.environ; os.environ['KERAS_BACKEND'] = 'jax'; "
        "import keras; print(keras.backend.backend(), os.environ['KERAS_BACKEND'])"
    )
    done = python("-c", code, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert done.stdout == "tensorflow jax\n", done.stderr
