"""`affectline run` from end to end, on small videos made here."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.run.fork_server import WORKER_NAME
from schemas.emotions import EMOTIONS
from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, ROOT, affectline, assert_same_tables, load, start


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """A folder with two readable videos, and four that are not."""
    folder = tmp_path_factory.mktemp("videos")
    astronaut_clip(folder / "good.mp4", seconds=4)
    astronaut_clip(folder / "sub/other.mp4", seconds=2)
    return folder


@pytest.fixture(scope="module")
def model(untrained_model):
    return ["--model", str(untrained_model)]


@pytest.fixture(scope="module")
def finished(videos, model, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    result = affectline("run", videos, "-o", out, *FAST, *model)
    assert result.exit_code == 0, result.output
    return out, result.output


def test_tables_add_up(finished):
    out, _ = finished
    tables = {table: load(out, table) for table in TABLES}
    for table, frame in tables.items():
        assert list(frame.columns) == [*TABLES[table].names, "video_id"]
    rows = tables["videos"].set_index("video_id")
    assert rows.index.str.replace(r"-[0-9a-f]{10}$", "", regex=True).tolist() == ["good", "other"]
    assert rows["status"].tolist() == ["ok", "ok"]
    assert rows["samples"].tolist() == [20, 10]
    assert rows["frames_read"].tolist() == [100, 50]
    assert rows["duration_s"].tolist() == pytest.approx([4, 2])
    for table, column in (("samples", "samples"), ("timelines", "faces"), ("tracks", "tracks")):
        assert tables[table].groupby("video_id").size().to_dict() == rows[column].to_dict()
    assert tables["samples"].query("video_id.str.startswith('good')")["pts_us"].tolist() == [
        k * 200_000 for k in range(20)
    ]
    faces = tables["timelines"]
    np.testing.assert_allclose(faces[list(EMOTIONS)].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(faces[["raw_" + emotion for emotion in EMOTIONS]].sum(axis=1), 1, atol=1e-5)
    assert (faces["emotion"] == np.array(EMOTIONS)[faces[list(EMOTIONS)].to_numpy().argmax(axis=1)]).all()
    assert tables["tracks"]["thumbnail"].str[:2].tolist() == [b"\xff\xd8"] * len(tables["tracks"])
    assert not (out / "_affectline/scratch").exists()


def test_the_summary_is_readable(finished):
    out, printed = finished
    lines = printed.splitlines()
    assert lines[0] == "videos   2 of 2 done, 6.0 s of video"
    assert lines[1].startswith("samples  30, ")
    assert lines[-3:] == [
        f"  python -c \"import pandas as pd; print(pd.read_parquet('{out}/timelines'))\"",
        "See them as pages:",
        f"  affectline report {out}",
    ]


@pytest.mark.parametrize(
    "cut", [["--segment-seconds", "0"], ["--segment-seconds", "0.7", "--batch-size", "3"]]
)
def test_any_cut_gives_the_same_tables(finished, videos, model, tmp_path, cut):
    result = affectline("run", videos, "-o", tmp_path / "out", *FAST, *model, *cut)
    assert result.exit_code == 0, result.output
    assert_same_tables(finished[0], tmp_path / "out")


def test_finished_videos_are_skipped_and_changed_ones_redone(videos, model, tmp_path):
    out, copy = tmp_path / "out", tmp_path / "videos"
    shutil.copytree(videos, copy)
    affectline("run", copy, "-o", out, *FAST, *model)
    before = load(out, "videos").set_index("video_id")["processed_at"]

    again = affectline("run", copy, "-o", out, *FAST, *model)
    assert again.exit_code == 0, again.output
    assert "(2 were done before)" in again.output
    assert load(out, "videos").set_index("video_id")["processed_at"].equals(before)

    astronaut_clip(copy / "sub/other.mp4", seconds=1)
    changed = affectline("run", copy, "-o", out, *FAST, *model)
    assert "(1 were done before)" in changed.output
    after = load(out, "videos").set_index("video_id")
    assert after["samples"].tolist() == [20, 5]
    assert (after["processed_at"] != before).tolist() == [False, True]

    forced = affectline("run", copy, "-o", out, *FAST, *model, "--force")
    assert "done before" not in forced.output


@pytest.fixture(scope="module")
def bad_videos(videos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bad")
    shutil.copy(videos / "sub/other.mp4", folder / "good.mp4")
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "text.mp4").write_text("This is no video.\n" * 50)
    (folder / "truncated.mp4").write_bytes((videos / "good.mp4").read_bytes()[:500])
    return folder


def test_unreadable_videos_are_rows_and_the_others_are_done(bad_videos, model, tmp_path):
    out = tmp_path / "out"
    result = affectline("run", bad_videos, "-o", out, *FAST, *model)
    assert result.exit_code == 3, result.output
    rows = load(out, "videos").set_index("uri")
    rows.index = rows.index.map(lambda uri: Path(uri).name)
    assert rows["status"].sort_index().to_dict() == {
        "empty.mp4": "failed",
        "good.mp4": "ok",
        "text.mp4": "failed",
        "truncated.mp4": "failed",
    }
    failures = load(out, "failures")
    assert sorted(failures["uri"].map(lambda uri: Path(uri).name)) == [
        "empty.mp4",
        "text.mp4",
        "truncated.mp4",
    ]
    assert failures["stage"].unique().tolist() == ["PlanSegments"]
    for name in ("empty.mp4", "text.mp4", "truncated.mp4"):
        assert f"{bad_videos / name}: {rows['error'][name]}" in result.output
    # The rows of a failed video are final until it or the settings change.
    assert affectline("run", bad_videos, "-o", out, *FAST, *model).exit_code == 3


def test_too_many_failures_end_the_run(bad_videos, model, tmp_path):
    result = affectline(
        "run", bad_videos, "-o", tmp_path / "out", *FAST, *model, "--max-failure-ratio", "0.5"
    )
    assert result.exit_code == 1
    assert "3 of 4 videos could not be read, more than --max-failure-ratio 0.5 allows" in result.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--model", "nonsense"], "nonsense"),
        (["--detector", "nonsense"], "There is no detector 'nonsense'; choose one of mtcnn"),
        (["--detector", "haar", "--detector-weights", "x"], "The detector 'haar' brings its own weights"),
        (["--detector", "yunet", "--detector-weights", "/no/file"], "/no/file"),
        (["--smoothing", "nonsense"], "There is no smoothing 'nonsense'; choose one of hmm"),
        (["--fps", "-1"], "samples a second cannot be negative"),
        (["--fps", "x"], "'x' is not a number"),
        (["--runner", "DaskRunner"], "DaskRunner reports success and loses rows"),
    ],
)
def test_usage_errors_are_one_sentence_and_write_nothing(videos, tmp_path, change, message):
    out = tmp_path / "out"
    result = affectline("run", videos, "-o", out, *change)
    assert result.exit_code == 2
    assert len(result.output.strip().splitlines()) == 1
    assert message in result.output
    assert not out.exists()


def test_inputs_and_outputs_that_cannot_be(videos, model, tmp_path):
    result = affectline("run", tmp_path / "missing", "-o", tmp_path / "out", *model)
    assert (result.exit_code, (tmp_path / "out").exists()) == (2, False)
    assert result.output == f"affectline: {tmp_path / 'missing'} does not exist.\n"
    (tmp_path / "file").write_text("")
    result = affectline("run", videos, "-o", tmp_path / "file", *model)
    assert result.exit_code == 2
    assert (
        result.output == f"affectline: {tmp_path / 'file'} is a file; give a folder to write the tables to.\n"
    )


def test_resmooth_gives_what_a_run_would_have_given(finished, videos, model, tmp_path):
    """From the tables alone: the folder is copied elsewhere and its videos are not named."""
    shutil.copytree(finished[0], tmp_path / "again")
    for arguments in (["--smoothing", "hmm"], ["--smoothing", "median", "--window", "1.5"]):
        smoothed = affectline("resmooth", tmp_path / "again", *arguments)
        assert smoothed.exit_code == 0, smoothed.output
    direct = tmp_path / "direct"
    affectline("run", videos, "-o", direct, *FAST, *model, "--smoothing", "median", "--window", "1.5")
    assert_same_tables(tmp_path / "again", direct)
    # and a run with these settings has nothing left to do
    again = affectline(
        "run", videos, "-o", tmp_path / "again", *FAST, *model, "--smoothing", "median", "--window", "1.5"
    )
    assert "(2 were done before)" in again.output


@pytest.mark.slow
def test_workers_give_the_same_tables_whatever_stands_beside_the_user(finished, videos, model, tmp_path):
    for name in ("models", "transforms", "schemas", "pipeline"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('shadowed')")
    process = start("run", videos, "-o", tmp_path / "out", *FAST, *model, "--workers", "2", cwd=tmp_path)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, output + errors
    assert_same_tables(finished[0], tmp_path / "out")
    lines = errors.splitlines()
    assert lines[0] == "affectline: videos to do: 2, 0 MB, in 2 processes."
    assert lines[1] == "affectline: wave 1, videos: 2, about 6 s."
    assert lines[-1].startswith("affectline: 6 of about 6 s of video, 2 of 2 videos, 30 samples, ")


def is_worker(process):
    try:
        return process.name() == WORKER_NAME
    except psutil.Error:  # it ended meanwhile
        return False


def alive(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_a_worker_that_dies_ends_the_run(videos, model, tmp_path):
    process = start(
        "run", videos, "-o", tmp_path / "out", *model, "--fps", "0", "--workers", "2", cwd=tmp_path
    )
    launcher = psutil.Process(process.pid)
    deadline = time.monotonic() + 60
    workers = []
    while not workers and time.monotonic() < deadline:
        time.sleep(0.1)
        workers = list(filter(is_worker, launcher.children(recursive=True)))
    workers[0].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - killed < 10
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("affectline: A worker process ended unexpectedly")
    deadline = time.monotonic() + 5
    while any(map(alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_two_runs_do_not_share_a_folder(videos, model, tmp_path):
    from pipeline.run.lock import locked

    with locked(str(tmp_path)):
        result = affectline("run", videos, "-o", tmp_path, *model)
    assert result.exit_code == 2
    assert "Another run is writing to" in result.output
    assert not (tmp_path / "videos").exists()


def test_settings_stand_in_every_row(finished):
    out, _ = finished
    [settings] = {json.dumps(json.loads(text), sort_keys=True) for text in load(out, "videos")["config_json"]}
    assert json.loads(settings)["detector"] == "haar"


def test_the_log_tells_what_was_asked_and_what_became_of_it(bad_videos, model, tmp_path):
    out = tmp_path / "out"
    result = affectline("run", bad_videos, "-o", out, *FAST, *model, "--log-format", "json", "--quiet")
    assert result.exit_code == 3
    assert result.stderr == ""
    records = [json.loads(line) for line in (out / "affectline.log").read_text().splitlines()]
    events = [record["event"] for record in records if record["event"] != "progress"]
    assert events[:5] == ["start", "settings", "inputs", "workers", "wave"]
    assert sorted(events[5:-2]) == ["failure"] * 3 + ["video"] * 4
    assert events[-2:] == ["sums", "end"]
    by_event = {record["event"]: record for record in records}
    assert by_event["start"]["apache-beam"]
    assert (by_event["settings"]["smoothing"], by_event["settings"]["window_s"]) == ("ema", 0.5)
    assert by_event["inputs"]["to_do"] == 4
    failed = {record["uri"]: record["message"] for record in records if record["event"] == "failure"}
    assert failed[str(bad_videos / "empty.mp4")] == "The file is empty."
    assert (by_event["sums"]["videos"], by_event["sums"]["failed"], by_event["sums"]["ok"]) == (4, 3, 1)
    assert by_event["end"]["exit_code"] == 3
    assert (out / "affectline-libraries.log").exists()


def test_a_summary_for_machines_says_how_a_run_ended(bad_videos, model, tmp_path):
    arguments = ["run", bad_videos, "-o", tmp_path / "out", *FAST, *model, "--summary-json"]
    printed = affectline(*arguments, "-")
    summary = json.loads(printed.stdout)
    assert (summary["exit_code"], printed.exit_code) == (3, 3)
    assert (summary["videos"], summary["status"]) == (4, {"failed": 3, "ok": 1})
    assert summary["samples"] == 10
    assert len(summary["problems"]) == 3
    again = affectline(*arguments, tmp_path / "summary.json")
    assert "were done before" in again.stdout
    assert json.loads((tmp_path / "summary.json").read_text()) == summary | {"done_before": 4}

    ended = affectline(*arguments, tmp_path / "summary.json", "--max-failure-ratio", "0.1", "--force")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["exit_code"], ended.exit_code) == (1, 1)
    assert "more than --max-failure-ratio" in summary["error"]
    nowhere = affectline(*arguments, tmp_path / "missing" / "summary.json")
    assert nowhere.exit_code == 2
    assert "cannot be written" in nowhere.output


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_is_stopped_ends_in_order(videos, model, tmp_path, monkeypatch, number, code, workers):
    temp, out = tmp_path / "temp", tmp_path / "out"
    temp.mkdir()
    monkeypatch.setenv("TMPDIR", str(temp))
    slow = ["--fps", "0", "--workers", workers, "--wave-minutes", "0.001"]
    process = start("run", videos, videos / "good.mp4", "-o", out, *FAST, *model, *slow, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list((out / "videos").glob("*/part-0.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.splitlines()[-1] == (
        "affectline: stopped; finished videos are kept, and the same command goes on."
    )
    assert not any(map(alive, children))
    assert list(temp.iterdir()) == []
    assert not (out / "_affectline/scratch").exists()
    assert f"exit_code={code}" in (out / "affectline.log").read_text().splitlines()[-1]
    assert affectline("run", videos, "-o", out, *FAST, *model, "--fps", "0").exit_code == 0


def test_closed_streams_do_not_matter(videos, model, tmp_path):
    command = [
        sys.executable,
        "-P",
        "-m",
        "pipeline.cli",
        "run",
        videos,
        "-o",
        tmp_path / "out",
        *FAST,
        *model,
    ]
    ended = subprocess.run(
        ["sh", "-c", 'exec "$@" >&- 2>&- <&-', "sh", *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=False,
    )
    assert ended.returncode == 0
    assert len(load(tmp_path / "out", "videos")) == 2


def test_a_name_with_a_colon_is_a_folder_and_a_file_uri_a_path(videos, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for out in ("P01:baseline", (tmp_path / "b c").as_uri()):
        result = affectline("run", (videos / "sub").as_uri(), "-o", out, *FAST, *model)
        assert result.exit_code == 0, result.output
    assert len(load(tmp_path / "P01:baseline", "samples")) == len(load(tmp_path / "b c", "samples")) == 10
    again = affectline("run", videos / "sub", "-o", "P01:baseline", *FAST, *model)
    assert "(1 were done before)" in again.output
    assert f"read_parquet('{tmp_path}/P01:baseline/timelines')" in again.output
