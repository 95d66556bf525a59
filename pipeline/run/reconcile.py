"""The sums a run must balance: every input in `videos`, every count equal to the rows it counts."""

from collections.abc import Mapping, Sequence

from schemas.elements import Video
from schemas.errors import RunError
from schemas.settings import Settings
from transforms.fingerprints import is_same_content
from transforms.remote import exists, is_remote, join
from transforms.tables.receipts import Receipt, rows_in
from transforms.tables.rows import list_video_ids, read_rows

_COUNTED = {"timelines": "faces", "samples": "samples", "tracks": "tracks"}


def check_sums(videos: Sequence[Video], receipts: Mapping[str, Receipt], settings: Settings) -> list[Receipt]:
    """The receipts of these inputs, once all sums balance; RunError when one does not.

    receipts: by video id, of what was written now or stood there before.
    """
    rows = []
    for video in videos:
        row = receipts.get(video.video_id)
        if row is None:
            raise RunError(f"{video.uri} was matched but has no row in `videos`; run the same command again.")
        made = Settings.from_json(row["config_json"])
        if (
            made.decoding_hash() != settings.decoding_hash()
            or made.smoothed_by() != settings.smoothed_by()
            or not is_same_content(row["fingerprint"], video.uri, video.fingerprint)
        ):
            raise RunError(f"{video.uri}: its row in `videos` is of another file or other settings.")
        for table, column in _COUNTED.items():
            found = rows_in(row, table)
            if found != row[column]:
                raise RunError(f"{video.uri}: {found} rows in `{table}`, but `videos` counts {row[column]}.")
        rows.append(row)
    return rows


def vanished(videos: Sequence[Video], out: str) -> list[str]:
    """Local files that a local `out` has rows of, that were not matched now, and that are gone."""
    if is_remote(out):
        return []
    matched = {video.video_id for video in videos}
    known = list_video_ids(join(out, "videos"))
    uris = [
        read_rows(out, "videos", video_id, ["uri"])["uri"][0].as_py()
        for video_id in known
        if video_id not in matched
    ]
    return [uri for uri in uris if not is_remote(uri) and not exists(uri)]
