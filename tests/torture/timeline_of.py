"""A clip's `timelines` as this processor, or an emulated one, computes them.

    python -m tests.torture.timeline_of VIDEO FILE.parquet [LAUNCHER...]

LAUNCHER is what Python was started with, such as `qemu-x86_64 -cpu Nehalem`: the decoder is too. No worker
and no Beam: their start alone would take an emulated processor minutes.
"""

import sys

import pyarrow.parquet as pq

from schemas.settings import Settings
from transforms.faces.analyzer import Analyzer
from transforms.process import process_video
from transforms.timelines.tabulate import tabulate
from transforms.video import decoder


def main(video: str, target: str, *launcher: str) -> None:
    """Write the rows of a video into a file."""
    decoder.CHILD[:0] = launcher
    settings = Settings()
    timeline = process_video(video, Analyzer.load(), settings)
    pq.write_table(tabulate(timeline, settings)["timelines"], target)


if __name__ == "__main__":
    main(*sys.argv[1:])
