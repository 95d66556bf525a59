"""Every way to run the pipeline: asked for, planned, executed here or elsewhere, and summed up."""

from typing import Final

# The thread in which Beam works; where it has not ended with a run, the process must not wait for it.
PIPELINE_THREAD: Final = "affectline-pipeline"
