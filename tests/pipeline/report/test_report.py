"""`affectline report`: numbers, texts and sizes; test_report_browser.py looks at the pages."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from pipeline.cli.main import main
from pipeline.commands.compact import compact
from pipeline.report import chart
from pipeline.report.pages import check_tables, clock, write_report
from pipeline.report.summarize import find_moments, read_tracks, read_video, stretches, summarize
from schemas.emotions import EMOTIONS
from schemas.errors import UsageError
from schemas.tables import TABLES, VIDEOS
from tests.helpers import synthetic
from tests.helpers.clips import astronaut_clip

DOCS = Path(__file__).resolve().parents[3] / "docs" / "report.md"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    talk, evil, nobody, broken = synthetic.write_corpus(out)
    return out, {"talk": talk, "evil": evil, "nobody": nobody, "broken": broken}


def summary(corpus, name):
    out, ids = corpus
    tables = read_video(str(out), ids[name])
    return summarize(tables, read_tracks(tables))


def affectline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_numbers_are_those_of_the_tables(corpus):
    out, ids = corpus
    faces = pd.read_parquet(out / "timelines").query(f"video_id == '{ids['talk']}'")
    samples = pd.read_parquet(out / "samples").query(f"video_id == '{ids['talk']}'")
    told = summary(corpus, "talk")
    # All steps are equal, so that shares of time are shares of rows.
    share = faces["emotion"].value_counts(normalize=True)
    assert told.share == pytest.approx({emotion: share.get(emotion, 0) for emotion in EMOTIONS})
    assert share[told.emotion] == pytest.approx(share.max())
    assert told.face_share == pytest.approx((samples["faces"] > 0).mean())
    assert told.mean_confidence == pytest.approx(faces["confidence"].mean(), rel=1e-5)
    chosen = faces.query("yaw.abs() <= 30 and pitch.abs() <= 30 and face_px >= 40 and sharpness >= -2")
    assert 0 < told.believable < 1
    assert told.believable == pytest.approx(len(chosen) / len(faces))
    share = chosen["emotion"].value_counts(normalize=True)
    assert told.believable_share == pytest.approx({emotion: share.get(emotion, 0) for emotion in EMOTIONS})
    tracks = pd.read_parquet(out / "tracks").query(f"video_id == '{ids['talk']}'").set_index("track_id")
    for person in told.people:
        row = tracks.loc[person.track_id]
        assert person.share == {emotion: row["share_" + emotion] for emotion in EMOTIONS}
        assert (person.emotion, person.transitions) == (row["emotion"], row["transitions"])
        assert (person.share_frontal, person.median_face_px) == (row["share_frontal"], row["median_face_px"])
        assert (person.start_s, person.end_s) == (row["start_s"], row["end_s"])
        for moment in person.moments:
            [face] = faces.query("track_id == @person.track_id and time_s == @moment.time_s").to_dict(
                "records"
            )
            assert (moment.emotion, moment.probability) == (face["emotion"], face["confidence"])


def test_gaps_shots_and_problems(corpus):
    told = summary(corpus, "evil")
    assert [(gap.start_s, gap.end_s, gap.reason) for gap in told.gaps] == [
        (0, 2, "no_face"),
        (11, 14, "unreadable"),
        (30, 40, "no_face"),
    ]
    [problem] = told.problems
    assert (problem.message, problem.count, problem.times_s) == (synthetic.EVIL_ERROR, 1, [11])
    nobody = summary(corpus, "nobody")
    assert (nobody.share, nobody.emotion, nobody.people, nobody.face_share) == ({}, None, [], 0)
    broken = summary(corpus, "broken")
    assert (broken.gaps, broken.shots_s, broken.face_share, broken.mean_confidence) == ([], [], None, None)


def test_shots_begin_where_their_first_sample_is(corpus):
    out, ids = corpus
    tables = read_video(str(out), ids["talk"])
    time_s = tables.samples["time_s"].to_numpy()
    shot = pa.array((time_s >= 22).astype(np.int32) + (time_s >= 46))
    samples = tables.samples.drop(["shot"] if "shot" in tables.samples.column_names else [])
    told = summarize(replace(tables, samples=samples.append_column("shot", shot)), read_tracks(tables))
    assert told.shots_s == [0, 22, 46]


def test_moments_are_the_surest_peaks_of_each_stretch(corpus):
    out, ids = corpus
    for track in read_tracks(read_video(str(out), ids["talk"])):
        rows = find_moments(track)
        runs = [run for run in stretches(track.label) if EMOTIONS[track.label[run[0]]] != "neutral"]
        assert len(rows) == min(4, len(runs))
        assert rows == sorted(rows)
        peaks = sorted((track.smoothed[first:last].max() for first, last in runs), reverse=True)
        assert sorted((track.smoothed[row].max() for row in rows), reverse=True) == peaks[: len(rows)]


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), max_size=400),
    st.integers(8, 100),
)
def test_drawing_fewer_rows_loses_no_extreme(rows, limit):
    values = np.array(rows, float).reshape(-1, 3)
    drawn = chart.drawn_rows(values, limit)
    assert (np.diff(drawn) > 0).all()
    assert len(drawn) <= max(limit, 8)
    if len(values):
        assert {0, len(values) - 1} <= set(drawn)
        np.testing.assert_array_equal(values[drawn].max(axis=0), values.max(axis=0))
        np.testing.assert_array_equal(values[drawn].min(axis=0), values.min(axis=0))


def test_an_hour_of_three_flickering_people_stays_under_3_mb(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "smooth_tracks", lambda timeline, *_: timeline)
    monkeypatch.setattr(
        synthetic, "probabilities", lambda rng, count: rng.dirichlet(np.ones(7), count).astype(np.float32)
    )
    [video_id] = synthetic.write(tmp_path, [synthetic.timeline("/v/hour.mp4", 3600, [(0, 3600)] * 3)])
    write_report(str(tmp_path), str(tmp_path / "html"), [video_id])
    page = tmp_path / "html" / "pages" / f"{video_id}.html"
    assert 500_000 < page.stat().st_size < 3_000_000


def test_pages_hold_names_and_errors_as_text_only(corpus, tmp_path):
    out, ids = corpus
    write_report(str(out), str(tmp_path), check_tables(str(out)))
    for path in (tmp_path / "index.html", *(tmp_path / "pages").iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<img src=x|<script>alert|<b>Invalid", text)
        assert len(re.findall("<script", text)) == text.count("</script>")
        assert "http://" not in text
        assert "https://" not in text
    page = (tmp_path / "pages" / f"{ids['evil']}.html").read_text(encoding="utf-8")
    assert "&lt;img src=x onerror=alert(1)&gt;.mp4" in page
    json.loads(re.search(r'id="data">(.*)</script>', page)[1])


def test_json_has_one_object_a_video(corpus):
    out, ids = corpus
    result = affectline("report", out, "--json")
    assert result.exit_code == 0, result.output
    told = {each["video_id"]: each for each in map(json.loads, result.stdout.splitlines())}
    assert set(told) == set(ids.values())
    assert not (out / "report").exists()
    talk = told[ids["talk"]]
    assert list(talk["video"]) == VIDEOS.names
    assert talk["share"] == pytest.approx(summary(corpus, "talk").share)
    documented = re.findall(r"^\| `(\w+)` \|", DOCS.read_text(encoding="utf-8"), re.M)
    assert set(talk) | set(talk["people"][0]) <= set(documented)


def test_both_layouts_make_the_same_pages(corpus, tmp_path):
    out, _ = corpus
    copy = tmp_path / "tables"
    shutil.copytree(out, copy)
    write_report(str(copy), str(tmp_path / "before"), check_tables(str(copy)))
    compact(str(copy))
    write_report(str(copy), str(tmp_path / "after"), check_tables(str(copy)))
    files = [path.relative_to(tmp_path / "before") for path in (tmp_path / "before").rglob("*.html")]
    assert len(files) == 5
    for name in files:
        assert (tmp_path / "before" / name).read_bytes() == (tmp_path / "after" / name).read_bytes()


@pytest.mark.parametrize("crops", [True, False])
def test_faces_are_shown_unless_unwanted(tmp_path, crops):
    clip = astronaut_clip(tmp_path / "clip.mp4", seconds=2)
    status = clip.stat()
    made = synthetic.timeline(
        str(clip), 2, [(0, 2)], seed=2, fingerprint=f"{status.st_size}-{status.st_mtime_ns}"
    )
    [video_id] = synthetic.write(tmp_path, [made])
    arguments = [] if crops else ["--no-crops"]
    result = affectline("report", tmp_path, "-o", tmp_path / "html", *arguments)
    assert result.exit_code == 0, result.output
    page = (tmp_path / "html" / "pages" / f"{video_id}.html").read_text()
    moments = len(find_moments(read_tracks(read_video(str(tmp_path), video_id))[0]))
    assert moments
    assert page.count("data:image/jpeg") == (1 + moments if crops else 0)


def test_pages_of_videos_that_left_the_tables_go_and_nothing_else(corpus, tmp_path):
    out, html = tmp_path / "out", tmp_path / "html"
    shutil.copytree(corpus[0], out)
    assert affectline("report", out, "-o", html).exit_code == 0
    (html / "pages/mine-0123456789.html").write_text("<footer>Made by me.</footer>")
    (html / "pages/notes.txt").write_text("mine")
    pages = {path.name for path in (html / "pages").iterdir()}
    gone = corpus[1]["talk"]
    for table in TABLES:
        shutil.rmtree(out / table / f"video_id={gone}")
    assert affectline("report", out, "-o", html).exit_code == 0
    assert {path.name for path in (html / "pages").iterdir()} == pages - {f"{gone}.html"}


def test_what_is_no_folder_of_tables_is_refused(tmp_path):
    for out in (str(tmp_path), str(tmp_path / "absent"), "ftp://host/tables"):
        with pytest.raises(UsageError):
            check_tables(out)
    assert affectline("report", tmp_path).exit_code == 2


@pytest.mark.parametrize(
    ("seconds", "digits", "text"),
    [(0, 0, "0:00"), (59.96, 1, "1:00.0"), (3725.4, 0, "1:02:05"), (61.25, 2, "1:01.25"), (None, 0, "–")],
)
def test_clock(seconds, digits, text):
    assert clock(seconds, digits) == text
