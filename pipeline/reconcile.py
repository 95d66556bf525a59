"""The sums a run must balance: every input in `videos`, every count equal to the rows it counts."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.errors import RunError
from schemas.elements import Video
from schemas.tables import VIDEOS
from transforms.storage import exists, is_remote, read_parquet, table_path

_COUNTED = {"timelines": "faces", "samples": "samples", "tracks": "tracks"}


def video_rows(videos: Sequence[Video], out: str) -> list[dict[str, object]]:
    """The row in `videos` of each input, with its `video_id`; RunError when one has none."""
    rows = []
    for video in videos:
        path = table_path(out, "videos", video.video_id)
        if not exists(path):
            raise RunError(f"{video.uri} was matched but has no row in `videos`; run the same command again.")
        [row] = read_parquet(path, VIDEOS.names).to_pylist()
        rows.append({"video_id": video.video_id, **row})
    return rows


def check_sums(videos: Sequence[Video], out: str, config_hash: str) -> list[dict[str, object]]:
    """The rows of these inputs in `videos`, once all sums balance; RunError when one does not."""
    rows = video_rows(videos, out)
    for video, row in zip(videos, rows, strict=True):
        if (row["fingerprint"], row["config_hash"]) != (video.fingerprint, config_hash):
            raise RunError(f"{video.uri}: its row in `videos` is of another file or other settings.")
        for table, column in _COUNTED.items():
            found = _row_count(table_path(out, table, video.video_id))
            if found != row[column]:
                raise RunError(f"{video.uri}: {found} rows in `{table}`, but `videos` counts {row[column]}.")
    return rows


def _row_count(path: str) -> int:
    if is_remote(path):
        return read_parquet(path, []).num_rows
    return pq.read_metadata(path).num_rows


def vanished(videos: Sequence[Video], out: str) -> list[str]:
    """Local files that a local `out` has rows of, that were not matched now, and that are gone."""
    if is_remote(out):
        return []
    matched = {video.video_id for video in videos}
    uris = [
        read_parquet(str(path), ["uri"])["uri"][0].as_py()
        for path in sorted(Path(out).glob("videos/video_id=*/part-0.parquet"))
        if path.parent.name.removeprefix("video_id=") not in matched
    ]
    return [uri for uri in uris if not is_remote(uri) and not exists(uri)]
