"""Other ways to run the same pipeline, and what a run counts."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import apache_beam as beam
import pytest
from click.testing import CliRunner

from models.classify.spec import find_model
from models.gpu import has_gpu
from pipeline.build import Execution, emotion_timelines
from pipeline.cli.main import main
from schemas.errors import MissingGpuError
from schemas.settings import Settings
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import assert_same_tables, load
from transforms.steps import metrics
from transforms.steps.classify_emotions import require_gpu
from transforms.steps.metrics import Distribution
from transforms.tables.receipts import new_folder
from transforms.video.decoder import Decoder
from transforms.video.inputs import find_videos

ROOT = Path(__file__).resolve().parents[3]
FAST = ["--detector", "haar", "--smoothing", "ema"]


def affectline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    astronaut_clip(folder / "one.mp4", seconds=2)
    astronaut_clip(folder / "two.mp4", seconds=1)
    (folder / "text.mp4").write_text("This is no video.\n" * 50)
    return folder


@pytest.fixture(scope="module")
def finished(videos, untrained_model, tmp_path_factory):
    """A local run in two waves, with its metrics: the folder and the lines printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    waves = ["--wave-minutes", "0.03"]
    result = affectline("run", videos, "-o", out, *FAST, "--model", untrained_model, *waves, "--metrics")
    assert result.exit_code == 3, result.output
    return out, result.output.splitlines()


def test_metrics_agree_with_the_tables(finished):
    out, lines = finished
    printed = {line.split()[0]: line.split()[1:] for line in lines if line}
    rows = load(out, "videos")
    failures = load(out, "failures")
    expected = {
        "videos": len(rows),
        "videos_written": len(rows),
        "frames": rows["frames_read"].sum(),
        "samples": rows["samples"].sum(),
        "video_ms": 2000 + 1000 - 2 * 40,  # to the time of the last frame
        "failures_PlanSegments": 1,
    }
    assert {name: int(printed[name][0]) for name in expected} == expected
    assert failures["stage"].value_counts()["PlanSegments"] == 1
    dropped = int(printed.get("failures_TrackFaces", ["0"])[0])
    assert (failures["stage"] == "TrackFaces").sum() == dropped
    assert int(printed["faces"][0]) == rows["faces"].sum() + dropped
    assert int(printed["decode_ms"][0]) == 2  # segments
    assert {"detect_ms", "infer_ms", "batch_fill_percent"} <= set(printed)


def test_metrics_of_waves_add_up():
    total = {"videos": 1, "decode_ms": Distribution(1, 5, 5, 5)}
    metrics.add_up(total, {"videos": 2, "decode_ms": Distribution(2, 30, 10, 20), "faces": 3})
    assert total == {"videos": 3, "decode_ms": Distribution(3, 35, 5, 20), "faces": 3}
    assert [line.split()[0] for line in metrics.describe(total)] == ["videos", "faces", "decode_ms"]
    assert "3 × mean 11.7 (min 5, max 20)" in list(metrics.describe(total))[-1]


def test_a_separate_stage_for_the_gpu_gives_the_same_tables(finished, videos, untrained_model, tmp_path):
    out = str(tmp_path / "out")
    model = find_model(str(untrained_model))
    settings = Settings(
        detector="haar", smoothing="ema", window_s=0.5, model=model.name, model_sha256=model.sha256
    )
    hint = "type:nvidia-l4;count:1;install-nvidia-driver"
    execution = Execution(out, 60.0, 300.0, new_folder(out), batch_size=64, gpu_stage=hint)
    with beam.Pipeline("FnApiRunner") as pipeline:
        found = pipeline | beam.Create(find_videos([str(videos)]))
        emotion_timelines(found, settings, model, execution)
    assert_same_tables(finished[0], out)


def test_gpu_check_refuses_a_worker_without_one():
    if has_gpu():
        require_gpu()
        return
    with pytest.raises(MissingGpuError, match="TensorFlow sees none on this worker"):
        require_gpu()


@pytest.fixture
def worker_pool():
    """The address of Beam's worker pool, in a process group of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # The pool starts its workers as `python`.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    pool = subprocess.Popen(
        [sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"localhost:{port}"
    os.killpg(pool.pid, signal.SIGKILL)
    pool.wait()


@pytest.mark.slow
def test_a_pool_of_workers_gives_the_same_tables(finished, videos, untrained_model, tmp_path, worker_pool):
    out = tmp_path / "out"
    result = affectline(
        *["run", videos, "-o", out, *FAST, "--model", untrained_model, "--workers", "2"],
        *["--", "--environment_type=EXTERNAL", f"--environment_config={worker_pool}"],
    )
    assert result.exit_code == 3, result.output
    assert_same_tables(finished[0], out)


@pytest.mark.parametrize("runner", ["FlinkRunner", "PortableRunner"])
def test_options_of_other_engines_pass_through(runner, videos, untrained_model, tmp_path, monkeypatch):
    class StartedError(Exception):
        pass

    def take(pipeline):
        started.append(pipeline.options)
        raise StartedError

    started = []
    monkeypatch.setattr(beam.Pipeline, "run", take)
    options = ["--flink_master=somewhere:8081", "--job_endpoint=elsewhere:8099", "--parallelism=7"]
    affectline(
        *["run", videos, "-o", tmp_path / "out", "--model", untrained_model, "--runner", runner],
        *["--", *options],
    )
    [given] = [one.get_all_options() for one in started]
    assert given["runner"] == runner
    assert given["flink_master"] == "somewhere:8081"
    assert given["job_endpoint"] == "elsewhere:8099"
    assert given["parallelism"] == 7
    assert not given["save_main_session"]


def test_a_local_run_opens_each_video_once(videos, untrained_model, tmp_path, monkeypatch):
    opened = []
    probe = Decoder.probe

    def counted(self, path, *arguments):
        opened.append(Path(path).name)
        return probe(self, path, *arguments)

    monkeypatch.setattr(Decoder, "probe", counted)
    result = affectline("run", videos, "-o", tmp_path / "out", *FAST, "--model", untrained_model)
    assert result.exit_code == 3, result.output
    assert sorted(opened) == sorted(path.name for path in videos.rglob("*.mp4"))
