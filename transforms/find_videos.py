"""FindVideos: from files, folders, globs, lists and URIs to the videos they name."""

import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import PurePosixPath

import apache_beam as beam
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems

from schemas.elements import Video
from transforms.storage import is_remote
from transforms.video import VIDEO_EXTENSIONS

_GLOB = re.compile(r"[*?\[]")


class InputError(ValueError):
    """An input that names nothing readable; the message is one sentence for the user."""


def video_id(relative_path: str) -> str:
    """A name for a video that is readable, safe in paths and unique by its path below the input root.

    The slug of the file's stem (at most 40 of [a-z0-9-]) and 10 hex digits of the SHA-256 of the
    relative path in POSIX form.
    """
    path = PurePosixPath(relative_path)
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40].strip("-") or "video"
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{slug}-{digest}"


def local_fingerprint(status: os.stat_result) -> str:
    """What changes when a file on this machine does."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def find_videos(inputs: Iterable[str]) -> list[Video]:
    """Every video that the inputs name, each once, sorted by id.

    Folders are searched recursively for files with a video's ending; a file, glob or list is taken
    as given. Raises InputError when an input matches nothing, cannot be read, or when two different
    files would get one id.
    """
    found: dict[str, Video] = {}
    for text in inputs:
        for video in _match(text):
            known = found.setdefault(video.video_id, video)
            if known.uri != video.uri:
                raise InputError(
                    f"{known.uri} and {video.uri} have the same path below their inputs; "
                    "name their common folder instead, or write them to two outputs."
                )
    return [found[key] for key in sorted(found)]


def _match(text: str) -> Iterator[Video]:
    if text.startswith("@"):
        yield from _match_list(text[1:])
    elif is_remote(text):
        yield from _match_uri(text)
    else:
        yield from _match_local(text)


def _match_list(path: str) -> Iterator[Video]:
    try:
        with FileSystems.open(path) if is_remote(path) else open(path, "rb") as source:
            lines = source.read().decode().splitlines()
    except (OSError, BeamIOError, UnicodeDecodeError) as error:
        raise InputError(f"The list {path} cannot be read: {error}.") from error
    for line in lines:
        if entry := line.strip():
            yield from _match(entry)


def _match_local(text: str) -> Iterator[Video]:
    path = os.path.abspath(os.path.expanduser(text))
    if os.path.isdir(path):
        files, root = list(_walk(path)), path
    elif os.path.lexists(path):
        files, root = [path], os.path.dirname(path)
    elif _GLOB.search(text):
        root = path[: _GLOB.search(path).start()].rpartition(os.sep)[0]  # type: ignore[union-attr]
        files = [name for name in sorted(glob.glob(path, recursive=True)) if not os.path.isdir(name)]
    else:
        raise InputError(f"{text} does not exist.")
    if not files:
        raise InputError(f"{text} matches no video.")
    for name in files:
        yield _local_video(name, root)


def _walk(folder: str) -> Iterator[str]:
    """Video files below a folder; linked folders are entered once, so that loops end."""

    def refuse(error: OSError) -> None:
        raise InputError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error

    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(parent, name)
            if _is_video_name(name) and os.path.isfile(path):
                yield path


def _is_video_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


def _local_video(path: str, root: str) -> Video:
    try:
        status = os.stat(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path} is not a regular file.")
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    return Video(video_id(relative), path, local_fingerprint(status), status.st_size)


def _match_uri(text: str) -> Iterator[Video]:
    glob_at = _GLOB.search(text)
    try:
        if glob_at:
            root = text[: glob_at.start()].rpartition("/")[0]
            [result] = FileSystems.match([text])
            files = result.metadata_list
        else:
            root = text.rpartition("/")[0]
            [result] = FileSystems.match([text])
            files = [] if text.endswith("/") else result.metadata_list
            if not files:
                root = text.rstrip("/")
                [result] = FileSystems.match([root + "/**"])
                files = [
                    file for file in result.metadata_list if _is_video_name(file.path.rpartition("/")[2])
                ]
    except (BeamIOError, ValueError) as error:
        raise InputError(f"{text} cannot be listed: {error}.") from error
    if not files:
        raise InputError(f"{text} matches no video.")
    for file in files:
        if not file.path.endswith("/"):
            relative = file.path[len(root) :].lstrip("/")
            fingerprint = f"{file.size_in_bytes}-{file.last_updated_in_seconds}"
            yield Video(video_id(relative), file.path, fingerprint, file.size_in_bytes)


class FindVideos(beam.PTransform):
    """Inputs as text → PCollection[Video]."""

    def __init__(self, inputs: Iterable[str]) -> None:
        """Take the inputs as the user wrote them."""
        super().__init__()
        self._inputs = list(inputs)

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Video]:
        """List on a worker: a million names do not fit into a job's description."""
        return (
            root
            | beam.Create([self._inputs])
            | beam.FlatMap(find_videos).with_output_types(Video)
            | "SpreadVideos" >> beam.Reshuffle()
        )
