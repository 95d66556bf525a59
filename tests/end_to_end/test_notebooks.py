"""The manual's notebooks: kept with their outputs, and run anew."""

import pytest

from tests.helpers.needs import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")

FOLDER = ROOT / "docs/notebooks"


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


def printed(notebook, words):
    """What the one cell whose source has these words printed or answered."""
    [cell] = [cell for cell in notebook.cells if cell.cell_type == "code" and words in cell.source]
    return "".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs
    )


@pytest.mark.parametrize("name", ["interview_study", "own_model"])
def test_notebooks_show_what_comes_of_them_and_nothing_of_the_machine(name):
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert pictures(notebook)
    assert not any(output.output_type == "error" for output in outputs(notebook))
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert not any(place in text for place in ("/tmp/", "/home/", "/root/", "/work/"))


def run(name, folder, monkeypatch):
    """A notebook as it ends when it is run anew."""
    pytest.importorskip("affectline")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
    kept = pictures(notebook)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    assert pictures(notebook) == kept
    return notebook


@pytest.mark.slow
def test_the_interview_study_finds_no_difference_where_there_is_none(tmp_path, monkeypatch):
    notebook = run("interview_study", tmp_path, monkeypatch)
    rows = [line.split() for line in printed(notebook, "exam − holiday").splitlines()[-2:]]
    assert [name for name, *_ in rows] == ["p01.mp4", "p02.mp4"]
    assert all(abs(float(difference)) < 0.05 for *_, difference in rows)


@pytest.mark.slow
def test_a_model_of_ones_own_learns_and_is_used(tmp_path, monkeypatch):
    notebook = run("own_model", tmp_path, monkeypatch)
    happy, sad = (line.split() for line in printed(notebook, "pd.crosstab").splitlines()[-2:])
    assert (happy[0], sad[0]) == ("happy", "sad")
    assert int(happy[1]) > 25 < int(sad[2])  # of 40
    assert "Calibrated" in printed(notebook, '"wrap"')
