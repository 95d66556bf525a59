"""The `affectline` command in tests, and what it wrote."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
from click.testing import CliRunner

from pipeline.cli.main import main
from schemas.tables import TABLES

ROOT = Path(__file__).resolve().parents[2]


# The Haar detector needs no TensorFlow, and these weights no training.
FAST = ["--detector", "haar", "--smoothing", "ema"]


def affectline(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def load(out, table):
    frame = pd.read_parquet(Path(out) / table)
    frame["video_id"] = frame["video_id"].astype(str)
    keys = [key for key in ("video_id", "track_id", "sample", "pts_us") if key in frame]
    return frame.sort_values(keys).reset_index(drop=True)


def assert_same_tables(a, b):
    """Equal rows everywhere, probabilities within 1e-4; how long it took may differ."""
    for table in TABLES:
        first, second = load(a, table), load(b, table)
        for clock in ("processed_at", "seconds"):
            first, second = (
                first.drop(columns=clock, errors="ignore"),
                second.drop(columns=clock, errors="ignore"),
            )
        pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=0, atol=1e-4)


def start(*arguments, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "pipeline.cli", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
