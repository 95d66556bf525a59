"""Google Cloud on loopback: a fake Cloud Storage, and a fake Dataflow that runs what it is sent."""

import contextlib
import json
import logging
import os
import re
import sys
import threading
import urllib.parse
import zipfile
from collections.abc import Iterator
from concurrent import futures
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions

BUCKET = "videos-and-tables"


@contextlib.contextmanager
def fake_storage(folder: Path) -> Iterator[None]:
    """Serve an empty bucket BUCKET, and make Google's client libraries in this process use it."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from gcp_storage_emulator.server import create_server

    logging.getLogger("gcp_storage_emulator").setLevel(logging.ERROR)
    tokens = _serve(_Tokens)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = folder / "account.json"
    account.write_text(
        json.dumps(
            {
                "type": "service_account",
                "project_id": "test-project",
                "private_key_id": "1",
                "private_key": key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ).decode(),
                "client_email": "nobody@test-project.iam.gserviceaccount.com",
                "client_id": "1",
                "token_uri": address(tokens) + "/token",
            }
        )
    )
    port = _free_port()
    server = create_server("127.0.0.1", port, in_memory=True, default_bucket=BUCKET)
    settings = {
        "STORAGE_EMULATOR_HOST": f"http://127.0.0.1:{port}",
        "GOOGLE_APPLICATION_CREDENTIALS": str(account),
        "NO_GCE_CHECK": "true",
        "GOOGLE_CLOUD_PROJECT": "test-project",
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    server.start()
    try:
        yield
    finally:
        server.stop()
        stop(tokens)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def upload(folder: Path, uri: str) -> None:
    """Copy all files below a folder to below a URI."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = f"{uri}/{path.relative_to(folder)}"
            with FileSystems.create(target, compression_type="uncompressed") as sink:
                sink.write(path.read_bytes())


def download(uri: str, folder: Path) -> Path:
    """Copy all files below a URI to below a folder."""
    [found] = FileSystems.match([f"{uri}/**"])
    for file in found.metadata_list:
        target = folder / file.path.removeprefix(f"{uri}/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(file.path))
    return folder


def read(uri: str) -> bytes:
    """The bytes of one file."""
    with FileSystems.open(uri, compression_type="uncompressed") as source:
        return source.read()


class FakeDataflow:
    """Takes jobs over REST; runs each in worker processes that have nothing of ours but the staged wheel.

    jobs: the bodies posted, in order.
    """

    def __init__(self, folder: Path) -> None:
        self.jobs: list[dict] = []
        self.runs_jobs = True  # or says at once that they are done
        self.gpu_zones = ["us-central1-a", "europe-west4-b"]
        self._folder = folder
        self._states: list[str] = []
        self._errors: list[str] = []

        class Handler(_Handler):
            dataflow = self

        self._server = _serve(Handler)
        self.address = address(self._server)

    @property
    def options(self) -> list[str]:
        """The Beam option that leads to this fake; "sandbox" in it selects REST."""
        return [f"--dataflow_endpoint={self.address}/sandbox"]

    def close(self) -> None:
        stop(self._server)

    def create(self, job: dict) -> dict:
        number = len(self.jobs)
        self.jobs.append(job)
        self._states.append("JOB_STATE_RUNNING" if self.runs_jobs else "JOB_STATE_DONE")
        self._errors.append("")
        if self.runs_jobs:
            threading.Thread(target=self._run, args=(number,), daemon=True).start()
        return self.get(number)

    def get(self, number: int) -> dict:
        return self.jobs[number] | {"id": f"job-{number}", "currentState": self._states[number]}

    def messages(self, number: int) -> dict:
        error = self._errors[number]
        messages = [
            {
                "id": "1",
                "time": "2026-01-01T00:00:00Z",
                "messageText": error,
                "messageImportance": "JOB_MESSAGE_ERROR",
            }
        ]
        return {"jobMessages": messages if error else []}

    def _run(self, number: int) -> None:
        try:
            run_staged(self.jobs[number], self._folder / f"job-{number}")
            self._states[number] = "JOB_STATE_DONE"
        except Exception as error:  # noqa: BLE001 - a job fails for any reason
            self._errors[number] = str(error)
            self._states[number] = "JOB_STATE_FAILED"


def staged_pipeline(job: dict):
    """The pipeline that a posted job points to, as Beam's message."""
    from apache_beam.portability.api.org.apache.beam.model.pipeline.v1 import beam_runner_api_pb2

    options = job["environment"]["sdkPipelineOptions"]["options"]
    return beam_runner_api_pb2.Pipeline.FromString(read(_uri(options["pipelineUrl"])))


def staged_wheel(job: dict, folder: Path) -> Path:
    """Download and unpack the one package that a posted job stages."""
    [package] = [
        item for item in job["environment"]["workerPools"][0]["packages"] if item["name"].endswith(".whl")
    ]
    folder.mkdir(parents=True)
    wheel = folder / package["name"]
    wheel.write_bytes(read(_uri(package["location"])))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return wheel


def _uri(location: str) -> str:
    return "gs://" + location.removeprefix("gs://").removeprefix("storage.googleapis.com/")


def run_staged(job: dict, folder: Path) -> None:
    """Run what was submitted: containers become processes of this machine that see the staged wheel alone."""
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment

    staged_wheel(job, folder)
    proto = staged_pipeline(job)
    worker = (
        f"cd {folder} && PYTHONPATH={folder / 'site'} exec {sys.executable} "
        "-m apache_beam.runners.worker.sdk_worker_main"
    )
    process = SubprocessSDKEnvironment.from_command_string(worker).to_runner_api(None)
    for environment in proto.components.environments.values():
        environment.urn, environment.payload = process.urn, process.payload
        del environment.dependencies[:]
    FnApiRunner().run_via_runner_api(proto, PipelineOptions()).wait_until_finish()


@contextlib.contextmanager
def fake_dataflow_grpc(folder: Path) -> Iterator[tuple[list[Any], dict[str, str]]]:
    """A Dataflow that takes jobs over gRPC with TLS, and says that each is done.

    Gives the jobs taken, and the environment in which a client trusts it; `ADDRESS` is where it is.
    """
    import grpc
    from google.cloud.dataflow_v1beta3 import types

    jobs: list[Any] = []

    def create(request: Any, _context: Any) -> Any:
        job = request.job
        job.id, job.current_state = "job-0", types.JobState.JOB_STATE_DONE
        jobs.append(job)
        return job

    def unary(call: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=request.deserialize, response_serializer=response.serialize
        )

    methods = {
        "CreateJob": unary(create, types.CreateJobRequest, types.Job),
        "GetJob": unary(lambda *_: jobs[0], types.GetJobRequest, types.Job),
    }
    key, certificate = _self_signed(folder)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("google.dataflow.v1beta3.JobsV1Beta3", methods)]
    )
    port = server.add_secure_port(
        "127.0.0.1:0", grpc.ssl_server_credentials([(key.read_bytes(), certificate.read_bytes())])
    )
    server.start()
    try:
        yield (
            jobs,
            {
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate),
                "ADDRESS": f"https://127.0.0.1:{port}",
            },
        )
    finally:
        server.stop(None).wait()


def _self_signed(folder: Path) -> tuple[Path, Path]:
    """Files with a new private key, and its certificate for 127.0.0.1."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "key.pem", folder / "certificate.pem"
    files[0].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    files[1].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return files


class _Answers(BaseHTTPRequestHandler):
    def answer(self, body: dict, status: int = 200) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def log_message(self, *_arguments: object) -> None:
        pass


class _Tokens(_Answers):
    def do_POST(self) -> None:
        self.body()
        self.answer({"access_token": "token", "expires_in": 3600, "token_type": "Bearer"})


class _Handler(_Answers):
    dataflow: FakeDataflow

    def do_POST(self) -> None:
        self.answer(self.dataflow.create(json.loads(self.body())))

    def do_PUT(self) -> None:
        self.answer(json.loads(self.body()))

    def do_GET(self) -> None:
        url = urllib.parse.urlparse(self.path)
        job = re.search(r"/jobs/job-(\d+)(/\w+)?$", url.path)
        if "acceleratorTypes" in url.path:
            zones = {f"zones/{zone}": {"acceleratorTypes": [{}]} for zone in self.dataflow.gpu_zones}
            self.answer({"items": zones | {"zones/asia-east1-a": {"warning": {"code": "NO_RESULTS"}}}})
        elif job is None:
            self.answer({}, status=404)
        elif job[2] == "/messages":
            self.answer(self.dataflow.messages(int(job[1])))
        elif job[2] == "/metrics":
            self.answer({"metrics": []})
        else:
            self.answer(self.dataflow.get(int(job[1])))


def _serve(handler: type[BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def address(server: ThreadingHTTPServer) -> str:
    """Where a server listens."""
    return f"http://127.0.0.1:{server.server_address[1]}"


def stop(server: ThreadingHTTPServer) -> None:
    """End a server."""
    server.shutdown()
    server.server_close()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
