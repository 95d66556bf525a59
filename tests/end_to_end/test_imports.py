"""What the commands load: TensorFlow only where it computes, Beam only where it runs."""

import subprocess
import sys

import cv2
import pytest
from skimage import data

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import ROOT

COMMAND = """
import sys
from pipeline.cli.main import main
code = 0
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code
"""

PAGE = """
import sys
from starlette.testclient import TestClient
from pipeline.app.engines import Engines
from pipeline.app.server import make_app
address = "http://127.0.0.1:8123"
picture = open("face.png", "rb").read()
with TestClient(make_app(Engines(), "127.0.0.1", None), base_url=address) as page:
    answer = page.post("/api/picture", content=picture, headers={"Origin": address})
code = int(answer.status_code != 200 or len(answer.json()["faces"]) != 1)
"""

LOADED = """
known = {"tensorflow", "keras", "apache_beam", "scipy", "pandas", "numpy", "cv2"}
print("loaded:", code, *(known & set(sys.modules)))
"""


def loaded_by(folder, program, *arguments):
    """The heavy packages that a fresh interpreter holds after a program that ended well."""
    done = subprocess.run(
        [sys.executable, "-c", program + LOADED, *arguments],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
    )
    assert "loaded:" in done.stdout, done.stderr
    code, *packages = done.stdout.rpartition("loaded:")[2].split()
    assert code == "0", done.stdout + done.stderr
    return set(packages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A clip, a picture, and `out` with the clip's tables; what making those loaded stands in `run`."""
    folder = tmp_path_factory.mktemp("imports")
    astronaut_clip(folder / "clip.mp4", 1)
    cv2.imwrite(str(folder / "face.png"), cv2.cvtColor(data.astronaut()[:240, 100:340], cv2.COLOR_RGB2BGR))
    (folder / "run").write_text(" ".join(loaded_by(folder, COMMAND, "run", "clip.mp4", "-o", "out")))
    return folder


def test_a_run_needs_no_tensorflow(folder):
    assert not {"tensorflow", "keras"} & set((folder / "run").read_text().split())


@pytest.mark.parametrize("arguments", [("plan", "clip.mp4"), ("live", "clip.mp4")])
def test_looking_at_video_needs_no_tensorflow(folder, arguments):
    assert not {"tensorflow", "keras"} & loaded_by(folder, COMMAND, *arguments)


def test_the_page_needs_no_tensorflow(folder):
    assert not {"tensorflow", "keras"} & loaded_by(folder, PAGE)


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "out"),
        ("predict", "face.png"),
        ("models",),
        ("annotate", "clip.mp4", "out", "-o", "drawn.mp4"),
        ("compact", "out"),
        ("report", "out", "--json"),  # from compacted tables
    ],
    ids=" ".join,
)
def test_what_runs_no_pipeline_needs_neither_tensorflow_nor_beam(folder, arguments):
    assert not {"tensorflow", "keras", "apache_beam", "scipy"} & loaded_by(folder, COMMAND, *arguments)


def test_a_record_and_the_help_need_next_to_nothing(folder):
    assert not loaded_by(folder, COMMAND, "--help")
    assert loaded_by(folder, "import sys; import schemas.elements; code = 0") <= {"numpy"}
