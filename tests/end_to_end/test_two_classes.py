"""A model that knows happy and sad alone: what it does not know is null, from the model to the reports."""

import json
import re
import shutil
from fractions import Fraction

import av
import cv2
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import ImageColor
from skimage import data

from models.classify.classifier import load_classifier
from models.classify.spec import find_model
from models.detectors import Box
from pipeline.draw.overlay import draw_face
from pipeline.report.summarize import read_tracks, read_video, summarize
from schemas.emotions import COLORS, EMOTIONS
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.helpers.commands import affectline, assert_same_tables, load
from tests.helpers.tiny_model import save_brightness_model
from transforms.faces.analyzer import AnalyzedFace
from transforms.faces.view import FaceView
from transforms.tables.rows import VIDEO_ID
from transforms.timelines.smoothing import smooth

KNOWN = ["happy", "sad"]
UNKNOWN = [emotion for emotion in EMOTIONS if emotion not in KNOWN]
HAPPY, SAD = EMOTIONS.index("happy"), EMOTIONS.index("sad")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "happy-sad.keras"
    return save_brightness_model(path, KNOWN, middle=100.0, steepness=0.15)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """Four seconds of a face whose light goes down and up again."""
    path = tmp_path_factory.mktemp("videos") / "lamp.mp4"
    face = cv2.resize(data.astronaut()[:240, 100:340], (240, 240))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "crf": "12"})
        stream.width = stream.height = 240
        stream.pix_fmt = "yuv420p"
        for number in range(100):
            light = 0.75 + 0.25 * np.cos(number / 100 * 2 * np.pi)
            image = np.rint(face * light).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def finished(clip, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    result = affectline("run", clip, "-o", out, "--detector", "haar", "--model", model, "--smoothing", "hmm")
    assert result.exit_code == 0, result.output
    return out, result.output


def test_probabilities_go_to_the_column_of_their_name(tmp_path):
    """Whatever the order in which a model has its classes."""
    path = save_brightness_model(tmp_path / "m.keras", ["sad", "angry"], middle=100.0, steepness=0.1)
    classifier = load_classifier(str(path))
    crops = np.full((3, 48, 48, 1), [[[[90]]], [[[100]]], [[[110]]]], np.uint8)
    found = classifier.predict_emotions(crops)
    sad = 1 / (1 + np.exp([1.0, 0.0, -1.0]))
    assert (found.dtype, found.shape) == (np.float32, (3, 7))
    np.testing.assert_allclose(found[:, EMOTIONS.index("sad")], sad, atol=1e-5)
    np.testing.assert_allclose(found[:, EMOTIONS.index("angry")], 1 - sad, atol=1e-5)
    others = [EMOTIONS.index(name) for name in EMOTIONS if name not in ("sad", "angry")]
    assert np.isnan(found[:, others]).all()
    assert classifier.predict_emotions(crops[:0]).shape == (0, 7)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (["happy", "confidence"], "A class cannot be called 'confidence'"),
        (["happy", "not sure"], "A class cannot be called 'not sure'"),
        (["happy", "happy"], "happy, happy; each must be there once"),
    ],
)
def test_classes_that_can_have_no_column_are_refused(tmp_path, classes, words):
    path = save_brightness_model(tmp_path / "m.keras", classes, middle=100.0, steepness=0.1)
    with pytest.raises(ValueError, match=words):
        find_model(str(path))


def test_a_model_that_gives_no_numbers_is_not_taken_for_one_that_does_not_know(tmp_path):
    path = save_brightness_model(tmp_path / "m.keras", KNOWN, middle=float("nan"), steepness=0.1)
    with pytest.raises(ValueError, match="gives no numbers"):
        load_classifier(str(path)).predict_emotions(np.zeros((1, 48, 48, 1), np.uint8))


def test_timelines_hold_what_the_model_knows_and_null_elsewhere(finished):
    out, _ = finished
    faces = load(out, "timelines")
    assert list(faces.columns) == [*TABLES["timelines"].names, "video_id"]
    assert len(faces) == 20
    [path] = (out / "timelines").glob("*/part-0.parquet")
    stored = pq.read_table(path)
    assert stored.schema.equals(TABLES["timelines"].append(VIDEO_ID))
    for emotion in EMOTIONS:
        for name in (emotion, "raw_" + emotion):
            assert stored[name].null_count == (len(faces) if emotion in UNKNOWN else 0), name
    raw = faces[["raw_happy", "raw_sad"]].to_numpy()
    np.testing.assert_allclose(raw.sum(axis=1), 1, atol=1e-6)
    assert raw.argmax(axis=1).tolist().count(0) not in (0, 20)  # else nothing below could fail
    smoothed = smooth("hmm", faces["pts_us"].to_numpy(), raw)
    np.testing.assert_array_equal(faces[KNOWN].to_numpy(), smoothed)
    assert faces["emotion"].tolist() == [KNOWN[at] for at in smoothed.argmax(axis=1)]
    np.testing.assert_array_equal(faces["confidence"], smoothed.max(axis=1))


def test_tracks_average_and_share_what_the_model_knows(finished):
    out, _ = finished
    faces, tracks = load(out, "timelines"), load(out, "tracks")
    assert tracks[[*UNKNOWN, *("share_" + emotion for emotion in UNKNOWN)]].isna().all(axis=None)
    [track] = tracks.to_dict("records")
    for emotion in KNOWN:  # all steps are equal
        assert track[emotion] == pytest.approx(faces[emotion].mean(), abs=1e-6)
        assert track["share_" + emotion] == pytest.approx((faces["emotion"] == emotion).mean(), abs=1e-6)
    assert 0 < track["share_happy"] < 1
    assert track["emotion"] == max(KNOWN, key=track.get)
    assert track["mean_confidence"] == pytest.approx(faces["confidence"].mean(), abs=1e-6)
    labels = faces["emotion"].astype(str)
    assert track["transitions"] == (labels != labels.shift()).sum() - 1 > 0


def test_the_summary_names_the_known_alone(finished):
    _, printed = finished
    assert re.findall(r"^  (\w+) +[\d.]+%", printed, re.M) in (KNOWN, KNOWN[::-1])


def test_settings_and_files_say_which_classes(finished, model):
    out, _ = finished
    [video] = load(out, "videos").to_dict("records")
    assert json.loads(video["config_json"])["classes"] == KNOWN
    [path] = (out / "timelines").glob("*/part-0.parquet")
    metadata = pq.read_schema(path).metadata
    assert json.loads(metadata[b"affectline.config"])["classes"] == KNOWN
    settings = Settings.from_json(video["config_json"])
    assert settings.classes == tuple(KNOWN)
    assert settings.config_hash() == video["config_hash"]


def test_settings_written_before_there_were_others_mean_all_seven():
    old = json.loads(Settings(model_sha256="1").to_json())
    del old["classes"]
    assert Settings.from_json(json.dumps(old)) == Settings(model_sha256="1")


@pytest.mark.parametrize("method", ["median", "mode"])
def test_resmooth_equals_a_run(finished, clip, model, tmp_path, method):
    again, direct = tmp_path / "again", tmp_path / "direct"
    shutil.copytree(finished[0], again)
    smoothed = affectline("resmooth", again, "--smoothing", method)
    assert smoothed.exit_code == 0, smoothed.output
    options = ["--detector", "haar", "--model", model, "--smoothing", method]
    assert affectline("run", clip, "-o", direct, *options).exit_code == 0
    assert_same_tables(again, direct)
    assert "(1 were done before)" in affectline("run", clip, "-o", again, *options).output


def test_tables_of_both_kinds_of_model_are_read_together(finished, clip, untrained_model, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    shutil.copy(clip, tmp_path / "other.mp4")
    options = ["--detector", "haar", "--model", untrained_model]
    assert affectline("run", tmp_path / "other.mp4", "-o", out, *options).exit_code == 0
    for table in ("timelines", "tracks"):
        frame = load(out, table)
        knows_all = frame["video_id"].str.startswith("other")
        assert knows_all.any()
        assert (~knows_all).any()
        assert frame["angry"].isna().equals(~knows_all)
        assert frame["happy"].notna().all()
    before = {table: load(out, table) for table in TABLES}
    compacted = affectline("compact", out)
    assert compacted.exit_code == 0, compacted.output
    for table, frame in before.items():
        pd.testing.assert_frame_equal(load(out, table), frame, check_categorical=False)
    again = affectline("run", tmp_path / "other.mp4", "-o", out, *options)
    assert "(1 were done before)" in again.output


def test_the_report_says_null_and_draws_the_known(finished, tmp_path):
    out, _ = finished
    result = affectline("report", out, "--json")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    [person] = told["people"]
    [track] = load(out, "tracks").to_dict("records")
    for emotion in EMOTIONS:
        if emotion in KNOWN:
            assert person["mean"][emotion] == track[emotion]
            assert person["share"][emotion] == track["share_" + emotion]
            assert told["share"][emotion] == pytest.approx(track["share_" + emotion])
        else:
            assert (person["mean"][emotion], person["share"][emotion]) == (None, None)
            assert told["share"][emotion] is None
    assert {moment["emotion"] for moment in person["moments"]} == set(KNOWN)

    result = affectline("report", out, "-o", tmp_path)
    assert result.exit_code == 0, result.output
    [page] = [path.read_text() for path in (tmp_path / "pages").iterdir()]
    chart = json.loads(re.search(r'id="data">(.*)</script>', page)[1])
    assert chart["known"] == [HAPPY, SAD]
    [drawn] = chart["people"]
    assert [len(line) for line in drawn["smoothed"]] == [20 * (emotion in KNOWN) for emotion in EMOTIONS]
    faces = load(out, "timelines")
    assert drawn["raw"][SAD] == np.rint(1000 * faces["raw_sad"].to_numpy()).astype(int).tolist()
    assert re.findall(r'data-line="(\d)"', page) == [str(HAPPY), str(SAD)]
    assert re.findall(r'<th scope="row">(\w+)</th>', page) == KNOWN * 3
    assert re.search(r"<dt>Emotions known</dt><dd>happy, sad</dd>", page)


def test_numbers_of_a_video_without_faces_need_no_classes(finished, model, tmp_path):
    with av.open(str(tmp_path / "grey.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width = stream.height = 64
        for _ in range(25):
            grey = np.full((64, 64, 3), 128, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(stream.encode())
    out = tmp_path / "out"
    result = affectline("run", tmp_path / "grey.mp4", "-o", out, "--detector", "haar", "--model", model)
    assert result.exit_code == 0, result.output
    tables = read_video(str(out), load(out, "videos")["video_id"][0])
    assert summarize(tables, read_tracks(tables)).share == {}
    assert affectline("report", out).exit_code == 0


def test_annotated_video_draws_the_known(finished, clip, tmp_path):
    result = affectline("annotate", clip, finished[0], "-o", tmp_path / "drawn.mp4")
    assert result.exit_code == 0, result.output
    assert "100 frames, 100 with a face" in result.output


def test_bars_are_drawn_for_the_known_alone():
    probabilities = np.full(7, np.nan, np.float32)
    probabilities[[HAPPY, SAD]] = 0.25, 0.75
    image = np.zeros((480, 640, 3), np.uint8)
    view = FaceView(Box(200.0, 200.0, 160.0, 160.0, 0.9))
    draw_face(image, AnalyzedFace(view, probabilities), "#1")
    assert tuple(image[300, 200]) != (0, 0, 0)  # the box
    panel = image[:195]
    heights = {
        emotion: int((panel == ImageColor.getrgb(COLORS[emotion])).all(axis=2).any(axis=1).sum())
        for emotion in EMOTIONS
    }
    assert heights["sad"] == pytest.approx(3 * heights["happy"], abs=3)
    assert heights["happy"] > 5
    # Neutral's grey is also on the rim of letters.
    assert all(heights[emotion] == 0 for emotion in UNKNOWN if emotion != "neutral")


def test_plan_knows_such_models_too(clip, model):
    result = affectline("plan", clip, "--detector", "haar", "--model", model, "--json")
    assert result.exit_code == 0, result.output
    planned = json.loads(result.stdout)
    assert (planned["readable"], planned["problems"]) == (1, {})
