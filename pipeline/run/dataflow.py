"""Submission to Google Cloud Dataflow: what a job is given, what is refused before it is sent, dry runs."""

import base64
import hashlib
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from models.classify.spec import ModelRef, is_shipped
from models.classify.wrapped import ENDING
from schemas import VERSION
from schemas.errors import RunError, UsageError
from transforms.remote import exists, file_systems, is_remote, join
from transforms.tables.files import job_folder

RUNNER: Final = "DataflowRunner"

# The smallest machine that leaves the GPU enough vCPUs to decode for it. G2 and A2 bring their GPU
# along, N1 has it attached: https://cloud.google.com/compute/docs/gpus
GPU_MACHINES: Final = {
    "nvidia-l4": "g2-standard-8",
    "nvidia-tesla-t4": "n1-standard-8",
    "nvidia-tesla-a100": "a2-highgpu-1g",
    "nvidia-a100-80gb": "a2-ultragpu-1g",
}
CPU_MACHINE: Final = "n2-standard-8"
# Bundles that one process works on: it decodes in child processes and computes outside of Python's lock.
GPU_WORKER_THREADS: Final = 8
MAX_WORKERS: Final = 10
# The image, and copies of the videos being read.
DISK_GB: Final = 200

_PACKAGES: Final = ("affectline", "schemas", "models", "transforms", "pipeline")
_MODULE: Final = "affectline_command.py"
_BUILD: Final = "pipeline/build.py"  # which every copy of ours has
_ACCELERATOR_TYPES: Final = (
    "https://compute.googleapis.com/compute/v1/projects/{project}/aggregated/acceleratorTypes"
)
_BUCKET_PATH: Final = re.compile(r"gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]/.")
# Lists to which ours are added; any other option of the user's replaces ours.
_LISTS: Final = ("experiments", "dataflow_service_options", "labels")


@dataclass(frozen=True)
class Cloud:
    """Where a job runs: the command's options that only Dataflow knows."""

    project: str | None = None
    region: str | None = None
    gpu: str | None = None
    separate_gpu_stage: bool = False

    def check(self) -> None:
        """UsageError when the options do not go together, or Google's libraries are missing."""
        try:
            import google.cloud.dataflow_v1beta3  # noqa: F401
        except ImportError as error:
            raise UsageError(
                "Dataflow needs Google's libraries; install them with `pip install 'affectline[dataflow]'`."
            ) from error
        if self.gpu is not None and self.gpu not in GPU_MACHINES:
            raise UsageError(
                f"There is no machine for the GPU '{self.gpu}'; choose {', '.join(GPU_MACHINES)}."
            )
        if self.separate_gpu_stage and self.gpu is None:
            raise UsageError("--separate-gpu-stage needs --gpu: say which GPU classifies.")

    @property
    def gpu_stage(self) -> str:
        """The accelerator hint of the step that classifies; empty when all workers have the GPU."""
        if not self.separate_gpu_stage or self.gpu is None:
            return ""
        return f"type:{self.gpu};count:1;machine_type:{GPU_MACHINES[self.gpu]};install-nvidia-driver"


def default_image(project: str, region: str, gpu: bool) -> str:
    """The image that docs/dataflow.md builds; its tag says which Beam and Python it must hold."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    name = "gpu" if gpu else "cpu"
    return f"{region}-docker.pkg.dev/{project}/affectline/{name}:{VERSION}-beam{beam.__version__}-py{python}"


def check_image(image: str) -> None:
    """UsageError when an image's name says that it holds another Beam or Python than this launcher.

    Understood are Beam's own names and ours; of any other image nothing is known before it runs.
    """
    ours = re.search(r"-beam(?P<beam>[\w.]+)-py(?P<python>\d+\.\d+)$", image)
    beams = re.search(r"beam_python(?P<python>\d+\.\d+)_sdk:(?P<beam>[\w.]+)$", image)
    found = ours or beams
    here = {"Beam": beam.__version__, "Python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for name, version in here.items():
        if found and found[name.lower()] != version:
            raise UsageError(
                f"The image {image} has {name} {found[name.lower()]} and this launcher {version}; "
                "build the image again, or launch from the same versions."
            )


def check_inputs(inputs: Sequence[str], out: str) -> None:
    """UsageError for a path that workers elsewhere cannot see."""
    for text in inputs:
        if not is_remote(text):
            raise UsageError(
                f"Dataflow's workers cannot read {text}; copy the videos (and @lists) to gs:// "
                "and name them there."
            )
    if not out.startswith("gs://"):
        raise UsageError(f"Dataflow's workers cannot write to {out}; give an output that starts with gs://.")


def job_options(cloud: Cloud, out: str, beam_options: Sequence[str]) -> dict[str, Any]:
    """Every Beam option of the job by name: ours, and over them the user's own.

    beam_options: as the user wrote them; lists (experiments, service options, labels) are joined.

    Raises UsageError for what cannot work.
    """
    theirs = PipelineOptions(list(beam_options)).get_all_options(drop_default=True)
    project, region = theirs.get("project") or cloud.project, theirs.get("region") or cloud.region
    if not project:
        raise UsageError("Dataflow needs a project; give --project with your Google Cloud project's id.")
    if not region:
        raise UsageError("Dataflow needs a region; give --region, best the one of the bucket.")
    name = f"affectline-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    scratch = theirs.get("temp_location") or job_folder(out, name)
    if not _BUCKET_PATH.match(scratch):  # Beam would create a bucket of its own instead
        raise UsageError(
            f"{scratch} is no path in a bucket; Google's bucket names have 3 to 63 of [a-z0-9._-]."
        )
    gpu_everywhere = cloud.gpu is not None and not cloud.separate_gpu_stage
    ours: dict[str, Any] = {
        "runner": RUNNER,
        "project": project,
        "region": region,
        "job_name": name,
        "temp_location": scratch,
        "staging_location": join(scratch, "staging"),
        "sdk_container_image": default_image(project, region, cloud.gpu is not None),
        # The image holds what we need; our own code, just as it is here, is staged.
        "sdk_location": "container",
        "save_main_session": False,
        "machine_type": GPU_MACHINES[cloud.gpu] if gpu_everywhere and cloud.gpu else CPU_MACHINE,
        "disk_size_gb": DISK_GB,
        "num_workers": 1,
        "max_num_workers": MAX_WORKERS,
        "autoscaling_algorithm": "THROUGHPUT_BASED",
        "labels": ["app=affectline", f"affectline-version={VERSION.replace('.', '-')}"],
    }
    if cloud.gpu is not None:
        # One process a worker: each would load the model, and TensorFlow takes all of the GPU's memory.
        if not _names(theirs, "experiments", "use_multiple_sdk_containers"):
            ours["experiments"] = ["no_use_multiple_sdk_containers"]
        ours["number_of_worker_harness_threads"] = GPU_WORKER_THREADS
    own_accelerator = _names(theirs, "dataflow_service_options", "worker_accelerator")
    if gpu_everywhere and not own_accelerator:
        accelerator = f"type:{cloud.gpu};count:1;install-nvidia-driver"
        ours["dataflow_service_options"] = [f"worker_accelerator={accelerator}"]
    if cloud.separate_gpu_stage and own_accelerator:
        raise UsageError("--separate-gpu-stage and the service option worker_accelerator exclude each other.")
    if theirs.get("flexrs_goal") and cloud.separate_gpu_stage:
        raise UsageError("--separate-gpu-stage does not work with FlexRS; leave --flexrs_goal out.")
    merged: dict[str, Any] = ours | theirs
    for name in _LISTS:
        if name in ours and name in theirs:
            merged[name] = [*ours[name], *theirs[name]]
    check_image(merged["sdk_container_image"])
    return merged


def _names(options: Mapping[str, Any], option: str, word: str) -> bool:
    return any(word in text for text in options.get(option) or [])


def check_region_has_gpu(cloud: Cloud, options: Mapping[str, Any]) -> None:
    """UsageError when Compute Engine, asked with the launcher's credentials, has no such GPU in the region.

    Says nothing when it cannot be asked: the right to list accelerators is not needed to run a job.
    """
    import google.auth
    import requests
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import AuthorizedSession

    if cloud.gpu is None:
        return
    try:
        credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
        answer = AuthorizedSession(credentials).get(  # type: ignore[no-untyped-call]
            _ACCELERATOR_TYPES.format(project=options["project"]),
            params={"filter": f"name={cloud.gpu}"},
            timeout=20,
        )
    except (GoogleAuthError, requests.RequestException):
        return
    if not answer.ok or "nextPageToken" in answer.json():
        return
    zones = [
        place for place, found in answer.json().get("items", {}).items() if found.get("acceleratorTypes")
    ]
    regions = sorted({zone.removeprefix("zones/").rpartition("-")[0] for zone in zones})
    if regions and options["region"] not in regions:
        raise UsageError(
            f"The region {options['region']} has no {cloud.gpu}; choose one of {', '.join(regions)}."
        )


def for_workers(model: ModelRef, options: Mapping[str, Any]) -> ModelRef:
    """The model where workers load it: a file here goes to the job's bucket; other names they understand."""
    if is_shipped(model.location) or is_remote(model.location):
        return model
    ending = ENDING if model.spec.wrapped else ".keras"
    return replace(model, location=join(options["temp_location"], "models", f"{model.sha256}{ending}"))


def upload_model(model: ModelRef, location: str) -> None:
    """Copy a model file to where workers look for it, unless it is there."""
    if location != model.location and not exists(location):
        with file_systems().create(location, compression_type="uncompressed") as sink:
            sink.write(model.read())


def build_wheel(folder: Path) -> Path:
    """Our packages as a wheel below `folder`: what this launcher runs is what workers run.

    It names no requirements, so that a worker downloads nothing: those are in the image.
    """
    info = f"affectline-{VERSION}.dist-info"
    wheel = folder / f"affectline-{VERSION}-py3-none-any.whl"
    files = {name: path.read_bytes() for name, path in _own_files()}
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: affectline\nVersion: {VERSION}\n".encode()
    files[f"{info}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: affectline\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    record = f"{info}/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def _own_files() -> Iterator[tuple[str, Path]]:
    """The files of our packages, by their names in a wheel.

    An installed wheel's RECORD lists them: beside them may lie what others put into a folder `models`. In a
    checkout the folders are ours.
    """
    root = Path(__file__).resolve().parents[2]
    for installed in distributions(name="affectline"):
        recorded = {str(file): Path(str(installed.locate_file(file))) for file in installed.files or ()}
        if recorded.get(_BUILD, Path()).resolve() == root / _BUILD:
            ours = (*_PACKAGES, _MODULE)
            of_packages = ((name, path) for name, path in recorded.items() if name.split("/")[0] in ours)
            yield from sorted((name, path) for name, path in of_packages if "__pycache__" not in name)
            return
    yield _MODULE, root / _MODULE
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(root)), path


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def pipeline_options(options: Mapping[str, Any], wheel: Path) -> PipelineOptions:
    """Beam's options object for a job that stages `wheel`, unless the user stages a setup file."""
    staged = [*options.get("extra_packages", []), *([] if options.get("setup_file") else [str(wheel)])]
    return PipelineOptions([], **dict(options) | {"extra_packages": staged})


def how_to_watch(result: Any, options: Mapping[str, Any]) -> Iterator[str]:
    """Where to see a job that was sent, and how to stop it."""
    job, project, region = result.job_id(), options["project"], options["region"]
    yield f"affectline: Dataflow job {job} was sent; it goes on when this command is stopped."
    yield f"  watch  https://console.cloud.google.com/dataflow/jobs/{region}/{job}?project={project}"
    yield f"  stop   gcloud dataflow jobs cancel {job} --region={region} --project={project}"


def wait(result: Any) -> None:
    """Wait for a job's end; RunError when it is not the good one."""
    from apache_beam.runners.dataflow.dataflow_runner import DataflowRuntimeException

    try:
        result.wait_until_finish()
    except DataflowRuntimeException as error:
        reason = str(error).partition("Error:\n")[2].strip().splitlines()[-1:] or ["no reason given"]
        raise RunError(
            f"Dataflow job {result.job_id()} ended as {result.state}: {reason[0]}; see its log on the "
            "page above. Finished videos are kept, and the same command continues with the rest."
        ) from error


def describe(options: Mapping[str, Any], model: str, wheel: Path, proto: Any) -> Iterator[str]:
    """A dry run's lines: every option, what is staged, and the steps with resource hints.

    model: where workers load the weights from. proto: Beam's Pipeline message, as it would be sent.
    """
    yield "options"
    for name, value in sorted(options.items()):
        for item in value if isinstance(value, list) else [value]:
            yield f"  --{name}={item}"
    if not options.get("setup_file"):
        yield "staged"
        yield f"  {wheel.name} ({wheel.stat().st_size} bytes)"
    yield "model"
    yield f"  {model}"
    yield "steps, and what their workers must have"
    environments = proto.components.environments
    for step in steps(proto):
        hints = environments[step.environment_id].resource_hints if step.environment_id else {}
        wanted = ", ".join(f"{urn.split(':')[2]} {value.decode()}" for urn, value in hints.items())
        yield f"  {step.unique_name}" + (f" needs {wanted}" if wanted else "")


def steps(proto: Any) -> list[Any]:
    """The transforms of a Pipeline message that have no parts, in order."""
    transforms = proto.components.transforms

    def below(name: str) -> Iterator[Any]:
        parts = transforms[name].subtransforms
        if not parts:
            yield transforms[name]
        for part in parts:
            yield from below(part)

    return [step for name in proto.root_transform_ids for step in below(name)]
