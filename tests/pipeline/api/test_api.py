"""`import affectline`: what it costs, what it gives, and that it gives what the command gives."""

import dataclasses
import io
import json
import re
import subprocess
import sys
import typing

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from PIL import Image
from skimage import data

import affectline as af
from pipeline.run.options import RunKeywords, RunOptions
from schemas.emotions import EMOTIONS
from schemas.tables import TABLES
from tests.helpers import videos as made
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST as COMMAND_FAST
from tests.helpers.commands import ROOT, affectline, assert_same_tables, load

PORTRAIT = data.astronaut()[:240, 100:340]
FAST = {"detector": "haar", "smoothing": "ema"}


def python(code, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def analyzer():
    return af.Analyzer(detector="haar")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2)


@pytest.fixture(scope="module")
def clip(analyzer, path):
    return analyzer.video(path, smoothing="ema")


@pytest.fixture(scope="module")
def result(path, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    broken = path.with_name("broken.mp4")
    broken.write_text("This is no video.\n" * 50)
    return af.run([path, broken], out, **FAST)


@pytest.fixture(scope="module")
def tables(result):
    return af.open_tables(result.path)


def test_importing_takes_no_time_and_loads_nothing_heavy(tmp_path):
    code = """
import sys, time
start = time.process_time()
import affectline
took = time.process_time() - start
heavy = {"apache_beam", "tensorflow", "keras", "pandas", "cv2", "numpy", "pyarrow"} & set(sys.modules)
assert not heavy, heavy
assert took < 0.1, took
"""
    done = python(code, tmp_path)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_there_and_no_other():
    assert set(af._PLACES) == set(af.__all__)
    for name in af.__all__:
        assert getattr(af, name) is not None
    assert set(af.__all__) <= set(dir(af))
    with pytest.raises(AttributeError, match="no attribute 'analyse'"):
        _ = af.analyse


def test_pictures_and_a_video_need_neither_beam_nor_tensorflow(path, tmp_path):
    Image.fromarray(PORTRAIT).save(tmp_path / "photo.png")
    code = f"""
import sys
import affectline as af
analyzer = af.Analyzer(detector="haar")
assert len(analyzer.image("photo.png")) == 1
assert analyzer.video({str(path)!r}).status == "ok"
assert not {{"apache_beam", "tensorflow", "keras"}} & set(sys.modules)
"""
    done = python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_a_picture_is_taken_as_path_bytes_or_pixels(analyzer, tmp_path):
    Image.fromarray(PORTRAIT).save(tmp_path / "photo.png")
    content = io.BytesIO()
    Image.fromarray(PORTRAIT).save(content, "png")
    [by_path] = analyzer.image(tmp_path / "photo.png")
    [by_bytes] = analyzer.image(content.getvalue())
    [by_pixels] = analyzer.image(np.ascontiguousarray(PORTRAIT))
    assert by_path.as_dict() == by_bytes.as_dict() == by_pixels.as_dict()
    assert list(by_path.probabilities) == list(EMOTIONS)
    assert sum(by_path.probabilities.values()) == pytest.approx(1)
    assert by_path.probabilities[by_path.emotion] == by_path.confidence == max(by_path.probabilities.values())
    assert analyzer.image(np.zeros((100, 100, 3), np.uint8)) == []


def test_pictures_that_cannot_be_had_are_named(analyzer, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(af.UsageError, match=r"absent\.jpg does not exist"):
        analyzer.image(tmp_path / "absent.jpg")
    with pytest.raises(af.UnreadablePictureError, match=r"text\.jpg: This is not a picture"):
        analyzer.image(tmp_path / "text.jpg")
    with pytest.raises(ValueError, match="float64"):
        analyzer.image(np.zeros((100, 100, 3)))


def test_a_face_shows_itself(analyzer):
    [face] = analyzer.image(np.ascontiguousarray(PORTRAIT))
    shown = face._repr_html_()
    assert 'src="data:image/jpeg;base64,' in shown
    assert all(emotion in shown for emotion in EMOTIONS)
    assert repr(face).startswith(f"<Face {face.emotion} ")


def test_a_timeline_has_the_rows_of_a_run(clip, tables):
    faces = clip.faces.to_pandas()
    ran = tables.faces(where=[("file", "==", "clip.mp4")]).to_pandas()
    pd.testing.assert_frame_equal(faces, ran.drop(columns=["file", "video_id"]), check_categorical=False)
    assert clip.status == "ok"
    assert clip.error is None
    assert len(clip.samples) == 10
    assert len(clip.tracks) == 1
    assert clip.row["codec"] == "h264"
    assert clip.duration_s == pytest.approx(2, abs=0.05)


def test_a_video_that_cannot_be_read_says_so(analyzer, tmp_path):
    (tmp_path / "broken.mp4").write_text("This is no video.\n" * 50)
    broken = analyzer.video(tmp_path / "broken.mp4")
    assert (broken.status, len(broken.faces), broken.duration_s) == ("failed", 0, 0)
    assert broken.error
    assert len(broken.failures) == 1
    assert "failed" in broken._repr_html_()
    with pytest.raises(af.UsageError, match=r"broken\.mp4 could not be read"):
        broken.annotate(tmp_path / "drawn.mp4")
    broken.plot()


def test_other_smoothing_is_what_a_run_with_it_gives(clip, analyzer, path):
    other = clip.resmooth("median", window=1)
    direct = analyzer.video(path, smoothing="median", window=1)
    pd.testing.assert_frame_equal(other.faces.to_pandas(), direct.faces.to_pandas())
    assert not other.faces.arrow.equals(clip.faces.arrow)
    assert other.row["config_hash"] == direct.row["config_hash"]
    with pytest.raises(af.UsageError, match="no smoothing 'mean'"):
        clip.resmooth("mean")
    with pytest.raises(af.UsageError, match="must be above 0"):
        clip.resmooth("median", window=0)


@pytest.mark.parametrize("fps", [2.5, "5/2"])
def test_rates_are_taken_exactly(analyzer, path, fps):
    assert json.loads(analyzer.video(path, fps=fps).row["config_json"])["fps"] == str(fps)


def test_a_timeline_is_drawn(clip, path, tmp_path):
    assert clip.annotate(tmp_path / "drawn.mp4") == str(tmp_path / "drawn.mp4")
    assert (tmp_path / "drawn.mp4").stat().st_size > 1000
    shown = clip._repr_html_()
    assert "data:image/jpeg" in shown
    assert "<svg" in shown
    assert "1 tracks" in shown
    figure = clip.plot()
    assert len(figure.axes) == 1
    figure.savefig(tmp_path / "plot.png")


def test_names_of_files_are_escaped_in_pictures(analyzer, tmp_path):
    path = made.write_video(tmp_path / "<script>.mp4", made.even(10))
    assert "&lt;script&gt;" in analyzer.video(path)._repr_html_()


def test_a_table_opens_in_any_library(clip):
    table = clip.faces(columns=["time_s", "happy"])
    assert table.columns == ["time_s", "happy"]
    assert pl.DataFrame(table).shape == (10, 2)
    assert pa.table(table).equals(table.arrow)
    assert next(iter(table)).keys() == {"time_s", "happy"}
    assert len(table["happy"]) == len(table) == 10
    assert "<table" in table._repr_html_()
    assert repr(table) == "<Table of 10 rows: time_s, happy>"


def test_raw_bytes_come_when_asked_for(clip, tables):
    assert "appearance" not in clip.faces.columns
    assert "appearance" not in tables.faces.columns
    assert "thumbnail" not in tables.tracks.columns
    assert len(clip.faces(columns=["appearance"])["appearance"][0].as_py()) == 60
    assert tables.tracks(columns=["thumbnail"])["thumbnail"][0].as_py().startswith(b"\xff\xd8")


def test_a_run_says_how_it_ended(result, path):
    assert (result.status, result.exit_code) == ("partial", 3)
    assert result.counts == {
        **{"videos": 2, "done_before": 0, "failed": 1, "ok": 1},
        **{"samples": 10, "samples_with_face": 10, "faces": 10, "tracks": 1},
    }
    [problem] = result.problems
    assert problem["uri"].endswith("broken.mp4")
    assert "videos   1 of 2 done" in str(result)
    assert len(result.tables) == 2


def test_a_run_gives_what_the_command_gives(result, path, tmp_path):
    inputs = [path, path.with_name("broken.mp4")]
    assert affectline("run", *inputs, "-o", tmp_path / "out", *COMMAND_FAST).exit_code == 3
    assert_same_tables(result.path, tmp_path / "out")


def test_a_run_goes_on_and_takes_one_input(result, path):
    again = af.run(path, result.path, **FAST)
    assert (again.status, again.exit_code, again.counts["done_before"]) == ("ok", 0, 1)


def test_what_cannot_be_done_is_a_usage_error(path, tmp_path):
    for options, said in [
        ({"fps": -1}, "cannot be negative"),
        ({"fps": "often"}, "is not a number"),
        ({"workers": 0}, "workers is 0; give at least 1"),
        ({"min_face": 0}, "min_face is 0; give more than 0"),
        ({"min_face": 2}, "min_face is 2; give at most 1"),
        ({"detector": "eyes"}, "no detector 'eyes'"),
        ({"model": "none"}, "none"),
        ({"smoothing": "mean"}, "no smoothing 'mean'"),
    ]:
        with pytest.raises(af.UsageError, match=said):
            af.run(path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    with pytest.raises(af.UsageError, match="does not exist"):
        af.run(tmp_path / "absent", tmp_path / "out")
    with pytest.raises(TypeError, match="fsp"):
        af.run(path, tmp_path / "out", fsp=5)
    assert issubclass(af.UsageError, af.AffectlineError)
    assert issubclass(af.RunError, af.AffectlineError)


def test_rates_and_paths_may_be_what_they_are(path, tmp_path):
    model = ROOT / "models/weights/ferplus.keras"
    ran = af.run(path, tmp_path / "out", fps=np.int64(2), model=model, detector="haar")
    assert (ran.status, ran.counts["samples"]) == ("ok", 4)
    assert 'fps = "2"' in (tmp_path / "out/affectline.toml").read_text()


def test_the_keywords_of_a_run_are_its_options():
    assert set(RunKeywords.__annotations__) == {field.name for field in dataclasses.fields(RunOptions)}
    assert typing.get_type_hints(RunKeywords) == typing.get_type_hints(RunOptions)


def test_too_many_failures_are_a_run_error(path, tmp_path):
    with pytest.raises(af.RunError, match="max-failure-ratio"):
        af.run(path.with_name("broken.mp4"), tmp_path / "out", max_failure_ratio=0, **FAST)


def test_tables_are_one_in_either_layout(result, tables, tmp_path):
    before = {name: tables._table(name).arrow for name in TABLES}
    assert affectline("compact", result.path).exit_code == 0
    after = af.open_tables(result.path)
    for name, rows in before.items():
        assert after._table(name).to_pandas().equals(rows.to_pandas())
    assert before["timelines"].column_names[0] == "file"
    assert before["timelines"].column_names[-1] == "video_id"
    assert set(load(result.path, "timelines").columns) >= set(tables.faces.columns) - {"file"}


def test_conditions_choose_rows(tables):
    every = tables.faces.to_pandas()
    [video_id] = every["video_id"].unique()
    assert (
        len(tables.faces(where=[("time_s", ">", 1), ("file", "==", "clip.mp4")]))
        == (every["time_s"] > 1).sum()
    )
    assert len(tables.faces(where=[("file", "==", "broken.mp4")])) == 0
    assert len(tables.faces(where=[[("sample", "==", 1)], [("sample", "in", [2, 3])]])) == 3
    assert len(tables.faces(where=[("video_id", "!=", video_id)])) == 0
    assert len(tables.faces(where=(pc.field("sample") < 4) & (pc.field("file") == "clip.mp4"))) == 4
    assert tables.faces(["sample"], [("time_s", ">", 1)]).columns == ["sample"]
    label = every["emotion"].iloc[0]
    assert len(tables.faces(where=[("emotion", "==", label)])) == (every["emotion"] == label).sum()
    with pytest.raises(af.UsageError, match="write conditions as"):
        tables.faces(where="happy > 0.5").to_pandas()
    with pytest.raises(af.UsageError, match="no column 'joy'"):
        tables.faces(columns=["joy"]).to_pandas()
    with pytest.raises(af.UsageError, match="joy"):
        tables.faces(where=[("joy", ">", 1)]).to_pandas()


def test_the_other_tables_name_the_file_too(tables):
    assert tables.videos.to_pandas().set_index("file")["status"].to_dict() == {
        "clip.mp4": "ok",
        "broken.mp4": "failed",
    }
    assert tables.failures["file"].to_pylist() == ["broken.mp4"]
    assert set(tables.samples["file"].to_pylist()) == {"clip.mp4"}


def test_tables_make_a_report(tables, tmp_path):
    index = tables.report(tmp_path / "html")
    assert index == str(tmp_path / "html/index.html")
    assert "clip.mp4" in (tmp_path / "html/index.html").read_text()


def test_tables_that_are_not_there(tmp_path):
    with pytest.raises(af.UsageError, match="holds no tables"):
        af.open_tables(tmp_path)


def test_a_plan_writes_nothing(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    planned = af.plan(path, detector="haar", fps=2)
    assert (planned.videos, planned.readable, planned.samples) == (1, 1, 5)
    assert not list(tmp_path.iterdir())


def test_what_there_is_to_choose_from():
    models = {model.name: model for model in af.models()}
    assert set(models) >= {"default", "ferplus"}
    assert models["default"].classes == EMOTIONS
    assert len(models["default"].sha256) == 64
    assert {detector.name for detector in af.detectors()} >= {"mtcnn", "haar", "yunet"}


def test_the_examples_of_the_page_run(path, tmp_path, monkeypatch):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos/clip.mp4").write_bytes(path.read_bytes())
    Image.fromarray(PORTRAIT).save(tmp_path / "photo.png")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/api.md", "exec"), names)
    assert len(names["faces"]) == 1
    assert names["frame"].columns.tolist() == names["clip"].faces.columns
    assert len(names["frame"]) == len(names["everything"]) > 0
    assert len(names["samples"]) == 10
    assert set(names["everything"]["file"]) == {"clip.mp4"}
    assert len(names["tracks"]) > 0
    assert (names["result"].status, names["result"].exit_code) == ("ok", 0)
    assert (tmp_path / "annotated.mp4").exists()
    assert (tmp_path / "html/index.html").exists()
