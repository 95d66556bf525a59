"""Every query of docs/querying.md and the notebook, run on tables made here."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers.example_tables import SECONDS, VIDEO_FILES, write_example_tables

duckdb = pytest.importorskip("duckdb")
sqlglot = pytest.importorskip("sqlglot")

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/querying.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SQL = dict(re.findall(r"^```sql\n-- (\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
QUESTIONS = [name for name in SQL if name not in ("DuckDB", "BigQuery")]
EVENTS = """file,start_s,end_s,event
talk.mp4,0,2.5,greeting
talk.mp4,7.2,8.8,nobody there
panel.mkv,9,12,"the end, at last"
panel.mkv,9,10,its first second
panel.mkv,10,12,the rest of it
elsewhere.mp4,0,9,not processed
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("querying")
    write_example_tables(folder / "out")
    (folder / "events.csv").write_text(EVENTS)
    return folder


@pytest.fixture(scope="module")
def answers(folder):
    """The variables that the page's Python blocks leave."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        names = {}
        for block in PYTHON:
            exec(compile(block, "docs/querying.md", "exec"), names)
    return names


@pytest.fixture(scope="module")
def database(folder):
    with pytest.MonkeyPatch.context() as patch, duckdb.connect() as connection:
        patch.chdir(folder)
        connection.execute(SQL["DuckDB"])
        connection.execute("CREATE VIEW events AS FROM 'events.csv'")
        yield connection


def assert_same_rows(found, expected):
    """The same columns and rows in any order."""
    assert sorted(found.columns) == sorted(expected.columns)
    names = sorted(found.columns)
    texts = [name for name in names if found[name].dtype.kind not in "iuf"]
    found, expected = (
        frame[names]
        .astype({name: str if name in texts else float for name in names})
        .sort_values(names)
        .reset_index(drop=True)
        for frame in (found, expected)
    )
    assert len(found) == len(expected) > 0
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)


def test_each_question_has_both_answers():
    assert QUESTIONS == ["shares", "seen", "seconds", "reactions", "moments"]
    assert len(PYTHON) == 3 + len(QUESTIONS)


@pytest.mark.parametrize("question", QUESTIONS)
def test_duckdb_and_pandas_agree(question, answers, database):
    assert_same_rows(database.sql(SQL[question]).df(), answers[question])


@pytest.mark.parametrize("question", QUESTIONS)
def test_bigquery_reads_the_same_statement(question, answers, database):
    """Parsed as BigQuery's dialect and translated: what is valid only in DuckDB would not pass."""
    [statement] = sqlglot.transpile(
        SQL[question], read="bigquery", write="duckdb", error_level=sqlglot.ErrorLevel.RAISE
    )
    assert_same_rows(database.sql(statement).df(), answers[question])


def test_the_answers_are_right(answers):
    """Against what the tables were made of, by hand."""
    shares = answers["shares"].groupby("video_id", observed=True)["share"].sum()
    with_faces = ("talk-00000000aa", "panel-00000000bb", "smiles-00000000dd")
    assert shares.to_dict() == pytest.approx(dict.fromkeys(with_faces, 1))
    assert answers["some"]["time_s"].is_monotonic_increasing
    seen = answers["seen"].set_index("video_id").loc["talk-00000000aa"]
    # Of 60 samples, 2 did not decode and those from 7 s to 9 s show nobody.
    assert seen.to_dict() == pytest.approx({"with_face": 48 / 60, "without": 10 / 60, "unreadable": 2 / 60})
    seconds = answers["seconds"]
    one = seconds[(seconds["video_id"] == "talk-00000000aa") & (seconds["track_id"] == 0)]
    assert one["second"].tolist() == [second for second in range(SECONDS) if second not in (7, 8)]
    reactions = answers["reactions"].set_index("event")
    assert reactions["faces"].to_dict() == {
        "greeting": 19,
        "the end, at last": 15,
        "its first second": 5,  # a sample on a boundary belongs to the event that begins there
        "the rest of it": 10,
    }


def test_moments_break_where_a_person_was_not_seen(answers):
    timelines, moments = answers["timelines"], answers["moments"]
    assert len(moments) > 2
    covered = np.zeros(len(timelines), bool)
    for moment in moments.itertuples():
        rows = (
            (timelines["video_id"] == moment.video_id)
            & (timelines["track_id"] == moment.track_id)
            & timelines["time_s"].between(moment.start_s, moment.end_s)
        )
        assert (timelines.loc[rows, "surprise"] >= 0.6).all()
        assert (timelines.loc[rows, "sample"].diff().dropna() == 1).all()
        assert timelines.loc[rows, "surprise"].max() == moment.peak
        covered |= rows.to_numpy()
    assert (covered == (timelines["surprise"] >= 0.6)).all()


def test_unknown_classes_are_null_and_never_the_largest(answers):
    two = answers["two"]
    assert set(two["video_id"]) == {"smiles-00000000dd"}
    assert two["angry"].isna().all()
    assert answers["timelines"].loc[answers["timelines"]["angry"].isna(), "video_id"].nunique() == 1
    seconds = answers["seconds"].query("video_id == 'smiles-00000000dd'")
    assert set(seconds["emotion"]) == {"happy", "sad"}
    larger = np.where(seconds["happy"] > seconds["sad"], "happy", "sad")
    assert seconds["emotion"].tolist() == larger.tolist()


def test_every_video_is_in_the_table_of_videos(answers):
    assert sorted(answers["videos"]["video_id"]) == sorted(VIDEO_FILES)


def test_the_notebook_runs(folder, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("matplotlib")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(ROOT / "docs/notebooks/querying.ipynb", as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells), "commit it without outputs"
    nbclient.NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    pictures = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2
