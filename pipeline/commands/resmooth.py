"""`affectline resmooth`: every video of a folder, one after the other."""

import os
import sys

from tqdm import tqdm

from pipeline.run.lock import locked
from schemas.errors import UsageError
from schemas.settings import Settings
from transforms.remote import is_remote, join, require_file_system
from transforms.tables.files import clear_scratch
from transforms.tables.rows import drop_compacted, drop_replaced, list_video_ids
from transforms.timelines.stored import resmooth_video


def resmooth_folder(out: str, smoothing: str, window_s: float | None) -> int:
    """Track and smooth all finished videos below `out` again; how many there were.

    Raises UsageError when there is none or another run has the folder.
    """
    require_file_system(out)
    folder = join(out, "videos")
    ids = list_video_ids(folder)
    if not ids:
        raise UsageError(
            f"There are no finished videos in {out if is_remote(out) else os.path.abspath(out)}."
        )
    settings = Settings(smoothing=smoothing, window_s=window_s)
    with locked(out):
        drop_replaced(out)
        for video_id in tqdm(ids, desc="resmooth", unit="video", disable=not sys.stderr.isatty()):
            resmooth_video(out, video_id, settings)
        drop_compacted(out, ids)
        clear_scratch(out)
    return len(ids)
