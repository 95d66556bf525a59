"""docs/querying.md and its notebook: every block runs, and all dialects give the same answers."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from pipeline.compact import compact
from schemas.emotions import EMOTIONS
from tests import synthetic

duckdb = pytest.importorskip("duckdb")
ROOT = Path(__file__).resolve().parent.parent
DOCS = (ROOT / "docs" / "querying.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", DOCS, re.M | re.S)
NAMED = ("shares", "person", "seconds", "reactions", "moments")


def queries(language):
    """The named queries of one dialect, by name."""
    blocks = re.findall(rf"^```{re.escape(language)}\n-- (\w+)\n(.*?)^```", DOCS, re.M | re.S)
    assert tuple(name for name, _ in blocks) == NAMED
    return dict(blocks)


@pytest.fixture(scope="module", params=["as written", "compact"])
def tables(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("tables") / "out"
    synthetic.write_corpus(out)
    if request.param == "compact":
        compact(str(out))
    return out


@pytest.fixture(scope="module")
def pandas_answers(tables):
    names = {"DIR": str(tables)}
    for block in PYTHON:
        exec(block, names)
    return names


@pytest.fixture
def database(tables, pandas_answers):
    with duckdb.connect() as connection:
        view = re.search(r"^CREATE VIEW timelines .*$", DOCS, re.M)[0]
        connection.execute(view.replace("DIR", str(tables)))
        connection.register("events", pandas_answers["events"])
        yield connection


def test_pandas_finds_what_is_there(pandas_answers):
    faces, shares, moments = (pandas_answers[name] for name in ("faces", "shares", "moments"))
    assert shares.sum(axis=1).tolist() == pytest.approx([1, 1])
    assert set(pandas_answers["some"]["track_id"]) == set(
        faces.loc[faces["video_id"] == pandas_answers["one"], "track_id"]
    )
    assert len(pandas_answers["at_once"]) == 2
    assert pandas_answers["at_once"]["emotion"].notna().all()
    assert len(moments)
    covered = 0
    for moment in moments.itertuples():
        rows = faces[
            (faces["video_id"] == moment.video_id)
            & (faces["track_id"] == moment.track_id)
            & faces["time_s"].between(moment.start_s, moment.end_s)
        ]
        assert (rows["surprise"] >= 0.6).all()
        assert rows["surprise"].max() == moment.peak
        covered += len(rows)
    assert covered == (faces["surprise"] >= 0.6).sum()


@pytest.mark.parametrize("language", ["sql", "sql+bigquery"])
@pytest.mark.parametrize("name", NAMED)
def test_sql_answers_as_pandas_does(database, pandas_answers, language, name):
    query = queries(language)[name].replace("ONE", pandas_answers["one"])
    if language == "sql+bigquery":
        sqlglot = pytest.importorskip("sqlglot")
        [query] = sqlglot.transpile(query.replace("affect.", ""), read="bigquery", write="duckdb")
    answer = database.sql(query).df()
    expected = pandas_answers[name]
    if name == "shares":
        answer = answer.pivot(index="video_id", columns="emotion", values="share").fillna(0)
        expected = expected.set_axis(expected.columns.astype(str), axis=1)[answer.columns.astype(str)]
        answer.columns = expected.columns
    elif name == "person":
        answer = answer.set_index("time_s")
    elif name == "reactions":
        answer = answer.set_index(["event", "track_id"])
        expected = expected[answer.columns]
    elif name == "seconds":
        expected = expected[answer.columns]
    elif name == "moments":
        order = ["video_id", "track_id", "start_s"]
        answer = answer.sort_values(order).reset_index(drop=True)
        expected = expected.sort_values(order).reset_index(drop=True)[answer.columns]
    assert len(expected)
    pd.testing.assert_frame_equal(
        answer, expected, check_dtype=False, check_names=False, check_column_type=False, rtol=1e-5
    )


def test_a_mixture_can_be_joined(tmp_path):
    synthetic.write_corpus(tmp_path)
    compact(str(tmp_path))
    synthetic.write(tmp_path, [synthetic.timeline("/videos/late.mp4", 5, [(0, 4)])])
    with duckdb.connect() as connection:
        view = re.search(r"^CREATE VIEW mixed .*?;", DOCS, re.M | re.S)[0]
        connection.execute(view.replace("DIR", str(tmp_path)))
        found = connection.sql("SELECT video_id, count(*) FROM mixed GROUP BY video_id").fetchall()
    counts = pd.read_parquet(tmp_path / "timelines").groupby("video_id", observed=True).size()
    assert dict(found) == counts.to_dict()
    assert len(found) == 3


def test_the_notebook_runs(tables, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    monkeypatch.setenv("AFFECTLINE_TABLES", str(tables))
    notebook = json.loads((ROOT / "examples" / "querying.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    names = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            exec("".join(cell["source"]), names)
    assert list(names["person"].columns) == list(EMOTIONS)
    assert len(names["found"]) == len(names["moments"]) > 0
