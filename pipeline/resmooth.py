"""`affectline resmooth`: every video of a folder, one after the other."""

import os
import sys
from pathlib import Path

from tqdm import tqdm

from pipeline.errors import UsageError
from pipeline.local import locked
from transforms.resmooth import resmooth_video
from transforms.storage import clear_scratch


def resmooth(out: str, smoothing: str, window_s: float | None) -> int:
    """Track and smooth all finished videos below `out` again; how many there were.

    Raises UsageError when there is none or another run has the folder.
    """
    video_ids = sorted(
        path.parent.name.partition("=")[2] for path in Path(out).glob("videos/*/part-0.parquet")
    )
    if not video_ids:
        raise UsageError(f"There are no finished videos in {os.path.abspath(out)}.")
    with locked(out):
        for video_id in tqdm(video_ids, desc="resmooth", unit="video", disable=not sys.stderr.isatty()):
            resmooth_video(out, video_id, smoothing, window_s)
        clear_scratch(out)
    return len(video_ids)
