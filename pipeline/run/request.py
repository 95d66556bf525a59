"""What a user asks of a run, checked before anything is done."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

from models.classify.spec import ModelRef
from pipeline.build import Execution
from pipeline.run import dataflow
from pipeline.run.dataflow import Cloud
from pipeline.run.options import RunOptions
from pipeline.run.settings import check_settings
from pipeline.run.stderr import redirect_stderr
from schemas.errors import UsageError
from schemas.settings import Settings
from transforms.faces.look import check_model_anywhere
from transforms.remote import require_file_system
from transforms.tables.receipts import new_folder
from transforms.tables.resume import Resume

LOG_FORMATS = ("text", "json")
BEAM_RUNNERS = {"local": "FnApiRunner", "directrunner": "FnApiRunner", "dataflow": dataflow.RUNNER}


@dataclass(frozen=True)
class Request:
    """What was asked for, checked."""

    inputs: Sequence[str]
    out: str
    options: RunOptions
    settings: Settings
    model: ModelRef
    runner: str  # Beam's name
    beam_options: Sequence[str]

    @property
    def cloud(self) -> Cloud:
        """Where a job on Dataflow runs."""
        return _cloud(self.options)

    @property
    def execution(self) -> Execution:
        """How the pipeline does its work."""
        return Execution(
            out=self.out,
            segment_seconds=self.options.segment_seconds,
            segment_timeout=self.options.segment_timeout,
            batch_size=self.options.batch_size,
            gpu=self.options.gpu is not None,
            gpu_stage=self.cloud.gpu_stage,
            receipts=new_folder(self.out),
            retries=self.runner != BEAM_RUNNERS["local"],
        )

    @property
    def resume(self) -> Resume:
        """What is taken up again."""
        return Resume(self.options.segment_timeout, self.options.force, self.options.retry_failed)


def _cloud(options: RunOptions) -> Cloud:
    return Cloud(options.project, options.region, options.gpu, options.separate_gpu_stage)


def check_request(
    inputs: Sequence[str], out: str, options: RunOptions, beam_options: Sequence[str] = ()
) -> Request:
    """The run that is asked for; UsageError when it cannot be done, before anything is written."""
    if options.log_format not in LOG_FORMATS:
        raise UsageError(f"There is no log format '{options.log_format}'; choose {' or '.join(LOG_FORMATS)}.")
    for text in (*inputs, out):
        require_file_system(text.removeprefix("@"), beam_options)
    runner = _check_runner(options, inputs, out)
    settings, model = check_settings(options)
    with redirect_stderr(os.devnull):  # loading a model of the user's own may need TensorFlow, which talks
        check_model_anywhere(model)
    return Request(inputs, out, options, settings, model, runner, beam_options)


def _check_runner(options: RunOptions, inputs: Sequence[str], out: str) -> str:
    """Beam's name of a runner; UsageError for one that loses data, or that cannot do this job."""
    if "dask" in options.runner.lower():
        raise UsageError(
            "Beam's DaskRunner reports success and loses rows (RunInference answered for 16 of 20 "
            "elements); choose another runner."
        )
    runner = BEAM_RUNNERS.get(options.runner.lower(), options.runner)
    cloud = _cloud(options)
    if runner == dataflow.RUNNER:
        cloud.check()
        dataflow.check_inputs(inputs, out)
    elif cloud != Cloud():
        raise UsageError("--project, --region, --gpu and --separate-gpu-stage go with --runner dataflow.")
    return runner
