"""One video's part of every table, each whole or absent, the row in `videos` last."""

from collections.abc import Mapping

import pyarrow as pa

from schemas.elements import Video
from schemas.tables import TABLES
from transforms.remote import delete
from transforms.tables.files import table_path, write_parquet
from transforms.tables.rows import has_rows, read_rows, with_video_id


def write_video(tables: Mapping[str, pa.Table], video_id: str, out: str) -> None:
    """Write one video's part of every table below `out`.

    The old row in `videos` goes first: a crash in between leaves a video that is not done, never
    one that is done with tables of two runs.
    """
    delete(table_path(out, "videos", video_id))
    for name in TABLES:
        write_parquet(with_video_id(tables[name], video_id), table_path(out, name, video_id), out)


def is_done(video: Video, out: str, config_hash: str) -> bool:
    """Whether the tables hold this very file under these very settings."""
    if not has_rows(out, "videos", video.video_id):
        return False
    [row] = read_rows(out, "videos", video.video_id, ["fingerprint", "config_hash"]).to_pylist()
    return bool(row == {"fingerprint": video.fingerprint, "config_hash": config_hash})
