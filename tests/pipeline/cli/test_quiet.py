"""What libraries say while a command works is not for the terminal."""

import os
import sys

from pipeline.run.stderr import quiet_libraries
from tests.helpers.commands import start
from tests.helpers.tiny_faces import write_faces


def test_what_c_libraries_write_goes_to_the_file_and_python_still_speaks(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("sys.stderr", open(2, "w", closefd=False))  # noqa: SIM115 - as in a terminal
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    with quiet_libraries(str(tmp_path / "libraries.log")):
        os.write(2, b"E0000 a library\n")
        print("epoch 1", file=sys.stderr, flush=True)
    assert capfd.readouterr().err == "epoch 1\n"
    assert "a library" in (tmp_path / "libraries.log").read_text()


def test_a_network_is_drawn_without_a_word_of_tensorflows(tmp_path):
    process = start("models", "show", "cnn48", cwd=tmp_path)
    printed, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    assert printed.endswith("Drawn in cnn48.png.\n")


def test_an_evaluation_leaves_what_libraries_said_in_its_folder(tmp_path, untrained_model):
    write_faces(tmp_path / "faces.parquet")
    arguments = ("--data", "faces.parquet", "--model", untrained_model, "-o", "measured")
    process = start("evaluate", *arguments, cwd=tmp_path)
    _, said = process.communicate(timeout=300)
    assert (process.returncode, said) == (0, "")
    assert (tmp_path / "measured/libraries.log").exists()
