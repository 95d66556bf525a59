"""A model with a class beside the seven, made elsewhere: every command and every reader has its column."""

import json
import re

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from schemas.emotions import EMOTIONS
from schemas.tables import TIMELINES, TRACKS, with_emotions
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import affectline, load
from tests.helpers.tiny_network_files import describe, save_onnx
from transforms.tables.rows import VIDEO_ID

CLASSES = ["contempt", "Anger", "happiness", "neutral"]
KNOWN = ["angry", "happy", "neutral", "contempt"]
NULL = ["disgust", "fear", "sad", "surprise"]
EMOTIONS_HERE = (*EMOTIONS, "contempt")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=2)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mine")
    describe(folder, classes=CLASSES)
    # The class of the highest answer is contempt, for whatever picture.
    return save_onnx(folder / "mine.onnx", classes=4, seed=3)


@pytest.fixture(scope="module")
def out(clip, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    result = affectline("run", clip, "-o", out, "--detector", "haar", "--model", model)
    assert result.exit_code == 0, result.output
    return out


def test_the_tables_have_its_column_after_the_seven(out):
    faces, tracks = load(out, "timelines"), load(out, "tracks")
    assert list(faces.columns) == [*with_emotions(TIMELINES, EMOTIONS_HERE).names, "video_id"]
    assert list(tracks.columns) == [*with_emotions(TRACKS, EMOTIONS_HERE).names, "video_id"]
    assert len(faces) == 10
    np.testing.assert_allclose(faces[KNOWN].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(faces[[f"raw_{name}" for name in KNOWN]].sum(axis=1), 1, atol=1e-5)
    assert faces[NULL].isna().all(axis=None)
    assert (faces["emotion"] == faces[KNOWN].idxmax(axis=1)).all()
    np.testing.assert_allclose(tracks[[f"share_{name}" for name in KNOWN]].sum(axis=1), 1, atol=1e-5)
    [path] = (out / "timelines").glob("*/part-0.parquet")
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"affectline.emotions"]) == [*EMOTIONS_HERE]


def test_tables_say_which_model_it_was(out, model):
    [video] = load(out, "videos").to_dict("records")
    assert video["model"] == str(model)
    assert json.loads(video["config_json"])["classes"] == ["contempt", "angry", "happy", "neutral"]


def test_pages_have_its_colour_and_its_line(out, tmp_path):
    assert affectline("report", out, "-o", tmp_path).exit_code == 0
    [page] = (tmp_path / "pages").glob("*.html")
    text = page.read_text(encoding="utf-8")
    assert re.findall(r'data-line="(\d)"', text) == ["0", "3", "6", "7"]
    assert 'id="e7"' in text
    assert "contempt</button>" in (tmp_path / "index.html").read_text(encoding="utf-8")
    told = json.loads(affectline("report", out, "--json").output)
    assert set(told["share"]) == {*EMOTIONS_HERE}


def test_drawing_compacting_and_smoothing_again_keep_it(clip, out, tmp_path):
    assert affectline("annotate", clip, out, "-o", tmp_path / "drawn.mp4").exit_code == 0
    before = load(out, "timelines")
    assert affectline("resmooth", out, "--smoothing", "none").exit_code == 0
    raw = load(out, "timelines")
    np.testing.assert_array_equal(raw["contempt"], raw["raw_contempt"])
    assert affectline("compact", out).exit_code == 0
    assert affectline("resmooth", out).exit_code == 0
    np.testing.assert_allclose(load(out, "timelines")["contempt"], before["contempt"], atol=1e-6)


def test_folders_whose_videos_have_other_classes_are_read_by_name(out, clip, untrained_model, tmp_path):
    both = tmp_path / "both"
    for number, model in enumerate((None, untrained_model)):
        if model is None:
            rows = load(out, "timelines").assign(video_id="a-0000000000")
            schema = with_emotions(TIMELINES, EMOTIONS_HERE).append(VIDEO_ID)
            folder = both / "timelines" / "video_id=a-0000000000"
            folder.mkdir(parents=True)
            pq.write_table(pa.Table.from_pandas(rows, schema), folder / "part-0.parquet")
        else:
            options = ["--detector", "haar", "--model", model]
            assert affectline("run", clip, "-o", both, *options).exit_code == 0, number
    frame = pd.read_parquet(both / "timelines")
    assert len(frame) == 20
    files = sorted((both / "timelines").glob("*/part-0.parquet"))
    query = f"SELECT video_id, contempt FROM read_parquet({[*map(str, files)]}, union_by_name=true)"
    contempt = duckdb.sql(query).df().groupby("video_id")["contempt"].count().to_dict()
    assert sorted(contempt.values()) == [0, 10]
    schema = pa.unify_schemas([pq.read_schema(path) for path in files])
    assert ds.dataset(files, schema=schema).to_table()["contempt"].null_count == 10


def test_pictures_have_it_too(model, tmp_path):
    import cv2
    from skimage import data

    picture = tmp_path / "face.png"
    cv2.imwrite(str(picture), cv2.cvtColor(data.astronaut()[:240, 100:340], cv2.COLOR_RGB2BGR))
    [line] = affectline("predict", picture, "--model", model, "--crop", "--json").output.splitlines()
    [face] = json.loads(line)["faces"]
    told = {name for name, value in face["probabilities"].items() if value is not None}
    assert told == {*KNOWN}
    shown = affectline("predict", picture, "--model", model, "--crop", "--annotate", tmp_path / "drawn.png")
    assert "neut cont" in shown.output
