"""Submission to Dataflow without an account: dry runs, refusals, and whole jobs on loopback.

Long, because all jobs go to one fake of Google's services, which is started once.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

pytest.importorskip("google.cloud.dataflow_v1beta3", reason="needs affectline[dataflow]")
pytest.importorskip("gcp_storage_emulator")

import apache_beam as beam

from flex_template.main import command as template_command
from pipeline.build import read_together
from pipeline.cli.main import main
from pipeline.run import dataflow
from schemas import VERSION
from schemas.elements import Segment, Video
from tests.helpers import cloud
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import assert_same_tables, load

PROJECT = "test-project"
VIDEOS = f"gs://{cloud.BUCKET}/videos"
ON_DATAFLOW = ["--runner", "dataflow", "--project", PROJECT, "--region", "us-central1"]
FAST = ["--detector", "haar", "--smoothing", "ema"]
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"{VERSION}-beam{beam.__version__}-py{PYTHON}"


def affectline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def model(untrained_model):
    return ["--model", untrained_model]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    astronaut_clip(folder / "good.mp4", seconds=3)
    astronaut_clip(folder / "sub/other.mp4", seconds=2)
    (folder / "text.mp4").write_text("This is no video.\n" * 50)
    return folder


@pytest.fixture(scope="module")
def storage(clips, tmp_path_factory):
    """The fake bucket, with the clips below VIDEOS."""
    with cloud.fake_storage(tmp_path_factory.mktemp("account")):
        cloud.upload(clips, VIDEOS)
        yield


@pytest.fixture
def service(storage, tmp_path, monkeypatch):
    """The fake Dataflow; Beam's check of its address, which allows no port, is off."""
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

    fake = cloud.FakeDataflow(tmp_path / "service")
    monkeypatch.setattr(PipelineOptionsValidator, "validate_endpoint_url", lambda *_: True)
    monkeypatch.setattr(dataflow, "_ACCELERATOR_TYPES", fake.address + "/{project}/acceleratorTypes")
    yield fake
    fake.close()


@pytest.fixture(scope="module")
def local_tables(storage, model, tmp_path_factory):
    """The tables of a run on this machine over the same bucket."""
    out = tmp_path_factory.mktemp("local") / "out"
    result = affectline("run", f"{VIDEOS}/**", "-o", out, *FAST, *model)
    assert result.exit_code == 3, result.output
    return out


# --- remote files, local run ------------------------------------------------------------------------


def test_local_run_reads_and_writes_a_bucket(local_tables, clips, model, tmp_path):
    out = f"gs://{cloud.BUCKET}/local-out"
    result = affectline("run", VIDEOS, "-o", out, *FAST, *model)
    assert result.exit_code == 3, result.output
    assert_same_tables(local_tables, cloud.download(out, tmp_path / "remote"))
    again = affectline("run", VIDEOS, "-o", out, *FAST, *model)
    assert "(3 were done before)" in again.output


def test_a_plan_takes_videos_and_a_model_from_a_bucket(storage, untrained_model, tmp_path):
    models = f"gs://{cloud.BUCKET}/models"
    shutil.copy(untrained_model, tmp_path / "mine.keras")
    cloud.upload(tmp_path, models)
    planned = affectline("plan", VIDEOS, *FAST, "--model", f"{models}/mine.keras", "--json")
    assert planned.exit_code == 0, planned.output
    here = affectline("plan", VIDEOS, *FAST, "--model", untrained_model, "--json")
    counts = ("videos", "readable", "hours", "samples", "problems")
    plans = [json.loads(result.stdout) for result in (planned, here)]
    assert [plans[0][name] for name in counts] == [plans[1][name] for name in counts]
    assert (plans[0]["videos"], plans[0]["readable"]) == (3, 2)
    nothing = affectline("plan", VIDEOS, *FAST, "--model", f"{models}/yours.keras")
    assert nothing.exit_code == 2
    assert f"The model {models}/yours.keras cannot be read" in nothing.output


def test_a_bucket_and_a_folder_give_the_same_rows(local_tables, clips, model, tmp_path):
    result = affectline("run", clips, "-o", tmp_path / "out", *FAST, *model)
    assert result.exit_code == 3, result.output
    for table in ("timelines", "samples", "tracks"):
        here, there = load(tmp_path / "out", table), load(local_tables, table)
        pd.testing.assert_frame_equal(here, there)


# --- dry run ----------------------------------------------------------------------------------------


def dry_run(*arguments):
    result = affectline(
        "run",
        "gs://some-bucket/videos/**",
        "-o",
        "gs://some-bucket/out",
        *ON_DATAFLOW,
        "--dry-run",
        *arguments,
    )
    assert result.exit_code == 0, result.output
    options = [line.strip() for line in result.output.splitlines() if line.startswith("  --")]
    steps = result.output.partition("steps")[2].splitlines()[1:]
    return options, steps


def test_dry_run_shows_every_option_of_a_cpu_job(model):
    options, steps = dry_run(*model)
    for expected in (
        "--runner=DataflowRunner",
        "--project=test-project",
        "--region=us-central1",
        f"--sdk_container_image=us-central1-docker.pkg.dev/test-project/affectline/cpu:{TAG}",
        "--machine_type=n2-standard-8",
        "--max_num_workers=10",
        "--autoscaling_algorithm=THROUGHPUT_BASED",
        "--save_main_session=False",
        "--labels=app=affectline",
    ):
        assert expected in options
    [temp] = [option for option in options if option.startswith("--temp_location=")]
    assert temp.startswith("--temp_location=gs://some-bucket/out/_affectline/scratch/dataflow/affectline-")
    assert not [option for option in options if "accelerator" in option or "experiments" in option]
    assert steps
    assert not [step for step in steps if " needs " in step]


def test_a_gpu_on_every_worker(model):
    options, steps = dry_run(*model, "--gpu", "nvidia-l4")
    assert (
        "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
        in options
    )
    assert "--machine_type=g2-standard-8" in options
    assert "--experiments=no_use_multiple_sdk_containers" in options
    assert f"--sdk_container_image=us-central1-docker.pkg.dev/test-project/affectline/gpu:{TAG}" in options
    assert not [step for step in steps if " needs " in step]
    assert any("GpuCheck" in step for step in steps)


def test_a_separate_gpu_stage_hints_at_exactly_the_inference(model):
    options, steps = dry_run(*model, "--gpu", "nvidia-tesla-t4", "--separate-gpu-stage")
    assert not [option for option in options if "worker_accelerator" in option]
    assert "--machine_type=n2-standard-8" in options
    hint = "needs accelerator type:nvidia-tesla-t4;count:1;machine_type:n1-standard-8;install-nvidia-driver"
    hinted = [step.split()[0] for step in steps if step.endswith(hint)]
    names = [step.split()[0] for step in steps]
    assert "ClassifyEmotions/RunInference/BeamML_RunInference" in hinted
    assert hinted == [
        name for name in names if name.startswith("ClassifyEmotions/") and not name.endswith("/Impulse")
    ]
    assert names.index("ToGpuWorkers/AddRandomKeys") < names.index(hinted[0])


def test_the_users_own_options_win(model):
    mine = [
        "--max_num_workers=50",
        "--worker_machine_type=g2-standard-16",
        "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:2;install-nvidia-driver",
        "--dataflow_service_options=enable_google_cloud_profiler",
        "--labels=team=mine",
        "--temp_location=gs://other-bucket/temp",
        "--sdk_container_image=gcr.io/mine/image:latest",
        "--project=another-project",
    ]
    options, _ = dry_run(*model, "--gpu", "nvidia-l4", "--", *mine)
    for expected in (
        "--max_num_workers=50",
        "--machine_type=g2-standard-16",
        "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:2;install-nvidia-driver",
        "--dataflow_service_options=enable_google_cloud_profiler",
        "--labels=team=mine",
        "--labels=app=affectline",
        "--temp_location=gs://other-bucket/temp",
        "--staging_location=gs://other-bucket/temp/staging",
        "--sdk_container_image=gcr.io/mine/image:latest",
        "--project=another-project",
    ):
        assert expected in options
    assert len([option for option in options if "worker_accelerator" in option]) == 1
    assert len([option for option in options if "machine_type" in option]) == 1


# --- refusals ---------------------------------------------------------------------------------------

BUCKETS = ["gs://some-bucket/videos/**", "-o", "gs://some-bucket/out"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([*BUCKETS, "--runner", "dataflow", "--region", "us-central1"], "give --project"),
        ([*BUCKETS, "--runner", "dataflow", "--project", "p-1"], "give --region"),
        (["/videos", "-o", "gs://some-bucket/out", *ON_DATAFLOW], "cannot read /videos; copy the videos"),
        (["@list.txt", "-o", "gs://some-bucket/out", *ON_DATAFLOW], "cannot read @list.txt"),
        (["gs://some-bucket/videos/**", "-o", "out", *ON_DATAFLOW], "cannot write to out"),
        (["gs://b/videos/**", "-o", "gs://b/out", *ON_DATAFLOW], "no path in a bucket"),
        ([*BUCKETS, *ON_DATAFLOW, "--gpu", "voodoo"], "no machine for the GPU 'voodoo'; choose nvidia-l4"),
        ([*BUCKETS, *ON_DATAFLOW, "--separate-gpu-stage"], "needs --gpu"),
        ([*BUCKETS, "--gpu", "nvidia-l4"], "go with --runner dataflow"),
        ([*BUCKETS, "--dry-run"], "--dry-run goes with --runner dataflow"),
        (
            [*BUCKETS, *ON_DATAFLOW, "--", "--sdk_container_image=apache/beam_python3.9_sdk:2.77.0"],
            f"has Python 3.9 and this launcher {PYTHON}",
        ),
        (
            [*BUCKETS, *ON_DATAFLOW, "--", f"--sdk_container_image=r/p/gpu:0.1.0-beam2.40.0-py{PYTHON}"],
            f"has Beam 2.40.0 and this launcher {beam.__version__}",
        ),
        (
            [
                *[*BUCKETS, *ON_DATAFLOW, "--gpu", "nvidia-l4", "--separate-gpu-stage", "--"],
                "--dataflow_service_options=worker_accelerator=type:nvidia-l4;count:1",
            ],
            "exclude each other",
        ),
    ],
)
def test_refusals_are_one_sentence_and_nothing_is_sent(arguments, message, model, monkeypatch):
    for name in ("GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_REGION", "CLOUDSDK_COMPUTE_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pipeline.run.execute.find_files", lambda *_: pytest.fail("listed before refusing"))
    at = arguments.index("--") if "--" in arguments else len(arguments)
    result = affectline("run", *arguments[:at], *model, *arguments[at:])
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_without_googles_libraries_the_extra_is_named(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.cloud.dataflow_v1beta3", None)
    result = affectline("run", *BUCKETS, *ON_DATAFLOW, *model)
    assert result.exit_code == 2
    assert "pip install 'affectline[dataflow]'" in result.output


def test_a_region_without_the_gpu_is_refused(service, model):
    service.gpu_zones = ["europe-west4-b", "asia-east1-c"]
    out = f"gs://{cloud.BUCKET}/nowhere"
    result = affectline(
        "run", VIDEOS, "-o", out, *FAST, *model, *ON_DATAFLOW, "--gpu", "nvidia-l4", "--", *service.options
    )
    assert result.exit_code == 2
    assert "us-central1 has no nvidia-l4; choose one of asia-east1, europe-west4." in result.output
    assert service.jobs == []


def test_a_region_that_cannot_be_asked_about_is_not_refused(service, monkeypatch):
    monkeypatch.setattr(dataflow, "_ACCELERATOR_TYPES", service.address + "/{project}/forbidden")
    options = {"project": PROJECT, "region": "nowhere-1"}
    dataflow.check_region_has_gpu(dataflow.Cloud(gpu="nvidia-l4"), options)


def test_a_remote_list_of_local_videos_is_refused(service, model, clips, tmp_path):
    (tmp_path / "list.txt").write_text(f"{clips / 'good.mp4'}\n")
    cloud.upload(tmp_path, f"gs://{cloud.BUCKET}/lists")
    out = f"gs://{cloud.BUCKET}/nowhere"
    inputs = f"@gs://{cloud.BUCKET}/lists/list.txt"
    result = affectline("run", inputs, "-o", out, *FAST, *model, *ON_DATAFLOW, "--", *service.options)
    assert result.exit_code == 2
    assert f"cannot read {clips / 'good.mp4'}; copy the videos" in result.output
    assert service.jobs == []


# --- whole jobs -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_job_is_sent_whole_and_what_was_sent_gives_the_local_tables(service, model, local_tables, tmp_path):
    out = f"gs://{cloud.BUCKET}/dataflow-out"
    result = affectline("run", f"{VIDEOS}/**", "-o", out, *FAST, *model, *ON_DATAFLOW, "--", *service.options)
    assert result.exit_code == 3, result.output
    assert "gcloud dataflow jobs cancel job-0 --region=us-central1 --project=test-project" in result.output
    assert_same_tables(local_tables, cloud.download(out, tmp_path / "tables"))

    [job] = service.jobs
    [pool] = job["environment"]["workerPools"]
    assert job["name"].startswith("affectline-")
    assert job["labels"]["app"] == "affectline"
    assert pool["kind"] == "harness"
    assert pool["machineType"] == "n2-standard-8"
    assert pool["diskSizeGb"] == 200
    assert pool["autoscalingSettings"]["maxNumWorkers"] == 10
    assert pool["workerHarnessContainerImage"].endswith(f"/test-project/affectline/cpu:{TAG}")
    staged = {path.name for path in (tmp_path / "service/job-0/site").iterdir()}
    assert {"pipeline", "transforms", "models", "schemas"} <= staged
    assert not [item for item in pool["packages"] if "main_session" in item["name"]]
    assert not list(cloud.download(out + "/_affectline/scratch", tmp_path / "scratch").rglob("*.*"))


@pytest.mark.slow
def test_a_gpu_job_without_a_gpu_ends_at_once(service, model, tmp_path):
    out = f"gs://{cloud.BUCKET}/gpu-out"
    gpu = ["--gpu", "nvidia-l4", "--separate-gpu-stage"]
    result = affectline("run", VIDEOS, "-o", out, *FAST, *model, *ON_DATAFLOW, *gpu, "--", *service.options)
    assert result.exit_code == 1
    assert "Dataflow job job-0 ended as FAILED: " in result.output
    assert "see its log" in result.output
    [job] = service.jobs
    images = {
        image["containerImage"] for image in job["environment"]["workerPools"][0]["sdkHarnessContainerImages"]
    }
    assert images == {f"us-central1-docker.pkg.dev/test-project/affectline/gpu:{TAG}"}
    assert "no_use_multiple_sdk_containers" in json.dumps(job["environment"])
    assert "TensorFlow sees none on this worker" in service.messages(0)["jobMessages"][0]["messageText"]
    hinted = [
        step.unique_name
        for step in dataflow.steps(cloud.staged_pipeline(job))
        if step.environment_id
        and cloud.staged_pipeline(job).components.environments[step.environment_id].resource_hints
    ]
    assert hinted
    assert all(name.startswith("ClassifyEmotions/") for name in hinted)


def test_the_accelerator_stands_in_the_job(service, model):
    service.runs_jobs = False
    out = f"gs://{cloud.BUCKET}/accelerator-out"
    affectline(
        "run", VIDEOS, "-o", out, *FAST, *model, *ON_DATAFLOW, "--gpu", "nvidia-l4", "--", *service.options
    )
    [job] = service.jobs
    assert job["environment"]["serviceOptions"] == [
        "worker_accelerator=type:nvidia-l4;count:1;install-nvidia-driver"
    ]
    assert job["environment"]["workerPools"][0]["machineType"] == "g2-standard-8"


@pytest.mark.slow
def test_a_job_goes_over_grpc_as_in_production(storage, model, tmp_path):
    # In a process of its own: gRPC reads whom to trust once.
    command = (
        "from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator as Validator\n"
        "Validator.validate_endpoint_url = lambda *_: True\n"
        "from pipeline.cli.main import main\n"
        "main()"
    )
    with cloud.fake_dataflow_grpc(tmp_path) as (jobs, environment):
        out = f"gs://{cloud.BUCKET}/grpc-out"
        arguments = ["run", VIDEOS, "-o", out, *FAST, *map(str, model), *ON_DATAFLOW]
        process = subprocess.run(
            [
                sys.executable,
                "-c",
                command,
                *arguments,
                "--",
                f"--dataflow_endpoint={environment['ADDRESS']}",
            ],
            cwd=Path(__file__).resolve().parents[3],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    [job] = jobs
    assert job.environment.worker_pools[0].machine_type == "n2-standard-8"
    assert [package.name.endswith(".whl") for package in job.environment.worker_pools[0].packages].count(
        True
    ) == 1
    # This Dataflow says that it is done and has done nothing: the sums must find out.
    assert process.returncode == 1
    assert "was matched but has no row in `videos`" in process.stderr


@pytest.mark.slow
def test_a_template_is_written_and_not_run(service, model, local_tables, tmp_path):
    """As Google's template launcher does it; the model lies in the bucket."""
    where = f"gs://{cloud.BUCKET}/template"
    cloud.upload(Path(model[1]).parent, f"{where}/models")
    arguments = [
        f"--inputs={VIDEOS}/**",
        f"--output={where}/out",
        f"--model={where}/models/{Path(model[1]).name}",
        "--detector=haar",
        "--smoothing=ema",
        f"--project={PROJECT}",
        "--region=us-central1",
        f"--template_location={where}/job.json",
        *service.options,
    ]
    result = affectline(*template_command(arguments))
    assert (result.exit_code, result.output) == (0, "")
    assert service.jobs == []
    job = json.loads(cloud.read(f"{where}/job.json"))
    assert job["environment"]["workerPools"][0]["machineType"] == "n2-standard-8"
    cloud.run_staged(job, tmp_path / "worker")
    tables = cloud.download(f"{where}/out", tmp_path / "tables")
    for table in ("timelines", "samples", "tracks"):
        pd.testing.assert_frame_equal(load(tables, table), load(local_tables, table), rtol=0, atol=1e-4)


def test_neighbouring_segments_share_a_copy_of_a_remote_video():
    def groups(uri):
        video = Video("v-1", uri, "1-1", 1)
        return [read_together(Segment(video, number, 0, -1, 0, 320, 240, 0, 0)) for number in range(25)]

    assert [len(set(groups(uri))) for uri in ("/videos/v.mp4", "gs://some-bucket/v.mp4")] == [25, 3]
    assert groups("gs://some-bucket/v.mp4")[9:11] == ["v-1/0", "v-1/1"]


@pytest.mark.slow
def test_the_staged_wheel_is_one_that_pip_installs(tmp_path):
    wheel = dataflow.build_wheel(tmp_path)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--target", tmp_path / "site"]
    subprocess.run([*pip, wheel], check=True, timeout=120)
    shown = subprocess.run(
        [sys.executable, "-P", "-c", "import pipeline.build; print(pipeline.build.__file__)"],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == str(tmp_path / "site/pipeline/build.py")
    assert (tmp_path / "site/pipeline/data/demo.mp4").exists()
    with zipfile.ZipFile(wheel) as staged:
        assert {"affectline/beam.py", "affectline/py.typed", "affectline_command.py"} <= {*staged.namelist()}

    # An installed copy sends what its wheel brought, not what others put beside it.
    (tmp_path / "site/models/foreign.py").write_text("")
    (tmp_path / "again").mkdir()
    subprocess.run(
        [
            *(sys.executable, "-P", "-c"),
            "import sys; from pathlib import Path; from pipeline.run.dataflow import build_wheel; "
            "build_wheel(Path(sys.argv[1]))",
            tmp_path / "again",
        ],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        cwd=tmp_path,
        check=True,
    )
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(tmp_path / "again" / wheel.name) as second:
        assert sorted(second.namelist()) == sorted(first.namelist())
