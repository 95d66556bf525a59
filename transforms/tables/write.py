"""One video's part of every table, each whole or absent, the row in `videos` last."""

from collections.abc import Mapping

import pyarrow as pa

from schemas.tables import TABLES
from transforms.remote import delete
from transforms.tables.files import table_path, write_parquet
from transforms.tables.receipts import Receipt, make_receipt
from transforms.tables.rows import with_video_id


def write_video(tables: Mapping[str, pa.Table], video_id: str, out: str) -> Receipt:
    """Write one video's part of every table below `out`; what was written.

    The old row in `videos` goes first: a crash in between leaves a video that is not done, never
    one that is done with tables of two runs.
    """
    delete(table_path(out, "videos", video_id))
    for name in TABLES:
        write_parquet(with_video_id(tables[name], video_id), table_path(out, name, video_id), out)
    return make_receipt(tables, video_id)
