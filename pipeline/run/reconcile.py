"""The sums a run must balance: every input in `videos`, every count equal to the rows it counts."""

from collections.abc import Sequence

from schemas.elements import Video
from schemas.errors import RunError
from transforms.remote import exists, is_remote, join
from transforms.tables.rows import count_rows, has_rows, list_video_ids, read_rows

_COUNTED = {"timelines": "faces", "samples": "samples", "tracks": "tracks"}


def video_rows(videos: Sequence[Video], out: str) -> list[dict[str, object]]:
    """The row in `videos` of each input, with its `video_id`; RunError when one has none."""
    rows = []
    for video in videos:
        if not has_rows(out, "videos", video.video_id):
            raise RunError(f"{video.uri} was matched but has no row in `videos`; run the same command again.")
        [row] = read_rows(out, "videos", video.video_id).to_pylist()
        rows.append({"video_id": video.video_id, **row})
    return rows


def check_sums(videos: Sequence[Video], out: str, config_hash: str) -> list[dict[str, object]]:
    """The rows of these inputs in `videos`, once all sums balance; RunError when one does not."""
    rows = video_rows(videos, out)
    for video, row in zip(videos, rows, strict=True):
        if (row["fingerprint"], row["config_hash"]) != (video.fingerprint, config_hash):
            raise RunError(f"{video.uri}: its row in `videos` is of another file or other settings.")
        for table, column in _COUNTED.items():
            found = count_rows(out, table, video.video_id)
            if found != row[column]:
                raise RunError(f"{video.uri}: {found} rows in `{table}`, but `videos` counts {row[column]}.")
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
