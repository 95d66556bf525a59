"""In a notebook: pictures, progress, and nothing left running when a cell is interrupted."""

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import ROOT

INTERRUPTED = """
import os, signal, sys, threading, time
import psutil
import affectline as af

me = psutil.Process()

def children():
    return me.children(recursive=True)

def interrupt_once_there_are(number):
    def wait():
        while len(children()) < number:
            time.sleep(0.05)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)
    threading.Thread(target=wait, daemon=True).start()

def left():
    psutil.wait_procs(children(), 10)
    return [child for child in children() if child.status() != psutil.STATUS_ZOMBIE]
"""
VIDEO = """
analyzer = af.Analyzer(detector="haar")
interrupt_once_there_are(1)
try:
    analyzer.video("long.mp4", fps=0)
except KeyboardInterrupt:
    print("interrupted", left())
"""
RUN = """
interrupt_once_there_are(4)  # two workers and their decoders
try:
    af.run("long.mp4", "out", fps=0, workers=2, detector="haar", segment_seconds=10)
except KeyboardInterrupt:
    print("interrupted", left())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("notebook")
    astronaut_clip(folder / "clip.mp4", seconds=1)
    astronaut_clip(folder / "long.mp4", seconds=40)
    return folder


@pytest.mark.parametrize("cell", [VIDEO, pytest.param(RUN, marks=pytest.mark.slow)], ids=["video", "run"])
def test_an_interrupted_cell_leaves_nothing_running(folder, cell):
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED + cell],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "interrupted []\n", done.stderr


@pytest.mark.slow
def test_cells_show_progress_and_pictures(folder, monkeypatch):
    cells = [
        "import affectline as af\nclip = af.Analyzer(detector='haar').video('clip.mp4')\nclip",
        "result = af.run('clip.mp4', 'shown', detector='haar')\nprint(result)",
        "import psutil\npsutil.Process().children()",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    video, run, children = notebook.cells
    assert "<svg" in video.outputs[-1]["data"]["text/html"]
    for cell in (video, run):
        shown = "".join(output.get("text", "") for output in cell.outputs if output.get("name") == "stderr")
        assert "s of video" in shown
        assert "warning" not in shown.lower()
    assert "videos   1 of 1 done" in "".join(output.get("text", "") for output in run.outputs)
    assert children.outputs[-1]["data"]["text/plain"] == "[]"
