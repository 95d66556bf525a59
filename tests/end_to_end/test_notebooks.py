"""The manual's notebooks: kept with their outputs, and run anew."""

import pytest

from tests.helpers.needs import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

STUDY = ROOT / "docs/notebooks/interview_study.ipynb"


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return ["image/png" in output.get("data", {}) for output in outputs(notebook)]


def test_the_interview_study_shows_what_comes_of_it_and_nothing_of_the_machine():
    notebook = nbformat.read(STUDY, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert any(pictures(notebook))
    assert not any(output.output_type == "error" for output in outputs(notebook))
    text = STUDY.read_text(encoding="utf-8")
    assert not any(place in text for place in ("/tmp/", "/home/", "/root/", "/work/"))


@pytest.mark.slow
def test_the_interview_study_runs(tmp_path, monkeypatch):
    pytest.importorskip("affectline")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(STUDY, as_version=4)
    kept = pictures(notebook)
    nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    assert sum(pictures(notebook)) == sum(kept)
    [difference] = [cell for cell in notebook.cells if "exam − holiday" in cell.source]
    # A portrait whose expression never changes.
    assert "0.0" in str(difference.outputs[0].data["text/plain"])
