"""Track and smooth a video again from its stored rows alone; no video and no model is needed."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from schemas import VERSION
from schemas.elements import Video
from schemas.emotions import all_emotions
from schemas.settings import Settings
from schemas.tables import POSE, TABLES, VIDEOS
from transforms.tables.arrays import stack_bytes, stack_columns, stack_measures
from transforms.tables.receipts import Receipt
from transforms.tables.rows import read_rows
from transforms.tables.write import write_video
from transforms.timelines.gather import FaceColumns, SampleColumns, Timeline, smooth_tracks, track
from transforms.timelines.tabulate import tabulate_tracks, with_run_metadata
from transforms.timelines.tracking import APPEARANCE_BYTES


def resmooth_video(out: str, video_id: str, settings: Settings) -> Receipt:
    """Rewrite one video's tables as a run with these settings' smoothing would have written them.

    Faces that a run had dropped stay in `failures`: tracking gives the same answer without them. Tables that
    lack what tracking needs (`appearance`, or `shot` in those of early versions) keep their tracks.
    """
    stored = {name: read_rows(out, name, video_id) for name in TABLES}
    [row] = stored["videos"].to_pylist()
    smoothing, window_s = settings.smoothed_by()
    settings = replace(Settings.from_json(row["config_json"]), smoothing=smoothing, window_s=window_s)
    video = Video(video_id, row["uri"], row["fingerprint"], 0)
    thumbnails = stored["tracks"]["thumbnail"].to_pylist()
    timeline = Timeline(video, None, (), _samples(stored["samples"]), _faces(stored, settings), thumbnails)
    if _can_be_tracked(stored["timelines"]):
        timeline = track(timeline)
    tables = tabulate_tracks(smooth_tracks(timeline, settings), settings)
    row |= {
        "tracks": tables["tracks"].num_rows,
        "config_hash": settings.config_hash(),
        "config_json": settings.to_json(),
        "code_version": VERSION,
        "processed_at": datetime.now(UTC),
    }
    tables |= {"failures": stored["failures"], "videos": pa.Table.from_pylist([row], VIDEOS)}
    return write_video(with_run_metadata(tables, settings), video_id, out)


def _can_be_tracked(timelines: pa.Table) -> bool:
    columns = timelines.column_names
    return "shot" in columns and "appearance" in columns and not timelines["appearance"].null_count


def _shots(table: pa.Table) -> np.ndarray:
    """The column `shot`; -1, no shot at all, where early versions wrote none."""
    return table["shot"].to_numpy() if "shot" in table.column_names else np.full(len(table), -1, np.int32)


def _samples(table: pa.Table) -> SampleColumns:
    return SampleColumns(
        sample=table["sample"].to_numpy(),
        pts_us=table["pts_us"].to_numpy(),
        status=np.array(table["status"].to_pylist(), dtype=object),
        faces=table["faces"].to_numpy(),
        shot=_shots(table),
    )


def _faces(stored: dict[str, pa.Table], settings: Settings) -> FaceColumns:
    table = stored["timelines"]
    track_id = table["track_id"].to_numpy()
    raw = stack_columns(table, ["raw_" + emotion for emotion in all_emotions(settings.classes)])
    appearance = np.zeros((len(table), APPEARANCE_BYTES), np.uint8)
    if _can_be_tracked(table):
        appearance = stack_bytes(table["appearance"], APPEARANCE_BYTES)
    thumbnail = np.full(len(track_id), -1)
    # The first face of an old track hands its picture on to whatever track it is in now.
    tracks, first = np.unique(track_id, return_index=True)
    pictured = np.flatnonzero(stored["tracks"]["thumbnail"].is_valid().to_numpy())
    thumbnail[first[np.searchsorted(tracks, stored["tracks"]["track_id"].to_numpy()[pictured])]] = pictured
    return FaceColumns(
        sample=table["sample"].to_numpy(),
        pts_us=table["pts_us"].to_numpy(),
        boxes=stack_columns(table, "xywh"),
        score=table["score"].to_numpy(),
        pose=stack_measures(table, POSE),
        sharpness=stack_measures(table, ["sharpness"])[:, 0],
        raw=raw,
        appearance=appearance,
        thumbnail=thumbnail,
        shot=_shots(table),
        track=track_id,
        smoothed=raw,
    )
