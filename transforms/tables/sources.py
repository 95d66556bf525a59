"""Which source each video id of an output folder stands for: one id a source, one source an id, for ever.

An id hashes a path below an input, so two inputs may give two files one id, and one file two. Which id
belongs to which source therefore stands in the output folder: in the list of sources that runs keep there,
and in the rows of `videos` that were written before there was such a list.
"""

import os
from collections.abc import Iterable

import pyarrow as pa

from schemas.elements import Video
from transforms.remote import exists, is_remote, join, local_path, local_uri
from transforms.tables.files import open_parquet, private_folder, write_parquet
from transforms.tables.rows import list_video_ids, read_rows

_SOURCES = pa.schema([pa.field("uri", pa.string()), pa.field("video_id", pa.string())])


def canonical_uri(uri: str) -> str:
    """One spelling for each file: absolute, through no linked folder. A linked file keeps its own name.

    A name that is not UTF-8, which tables cannot hold, becomes a `file:` URI.
    """
    if is_remote(uri):
        return uri
    folder, name = os.path.split(os.path.abspath(local_path(uri)))
    return local_uri(os.path.join(os.path.realpath(folder), name))


def known_sources(out: str) -> dict[str, str]:
    """The id of each source that the tables below `out` know, by canonical URI."""
    path = _sources_path(out)
    listed = open_parquet(path).read() if exists(path) else _SOURCES.empty_table()
    known = dict(zip(listed["uri"].to_pylist(), listed["video_id"].to_pylist(), strict=True))
    for video_id in set(list_video_ids(join(out, "videos"))) - set(known.values()):
        [uri] = read_rows(out, "videos", video_id, ["uri"])["uri"].to_pylist()
        known.setdefault(canonical_uri(uri), video_id)
    return known


def remember_sources(out: str, videos: Iterable[Video]) -> None:
    """Add these videos' ids to the list of sources below `out`, which is whole or left as it was."""
    before = known_sources(out)
    found = {video.uri: video.video_id for video in videos}
    taken = set(found.values())
    # A source that has moved has its id under its new name alone.
    after = {uri: video_id for uri, video_id in before.items() if video_id not in taken} | found
    if after != before or not exists(_sources_path(out)):
        columns = [pa.array(list(after), pa.string()), pa.array(list(after.values()), pa.string())]
        write_parquet(pa.table(columns, _SOURCES), _sources_path(out), out)


def _sources_path(out: str) -> str:
    return join(private_folder(out), "sources.parquet")
