"""From files, folders, globs, lists and URIs to the videos they name."""

import codecs
import glob
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, count
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final, NamedTuple

from schemas.elements import Video
from schemas.errors import UsageError
from transforms.fingerprints import MISSING, is_same_content, local_fingerprint
from transforms.remote import exists, file_systems, is_remote, local_path, require_file_system
from transforms.tables.resume import video_row
from transforms.tables.sources import canonical_uri, known_sources

# What counts as a video when a folder is searched. A file that is named is always tried.
VIDEO_EXTENSIONS: Final = frozenset((
    ".264", ".265", ".3g2", ".3gp", ".3gpp", ".apng", ".asf", ".avi", ".dav", ".divx", ".dv", ".f4v",
    ".flv", ".gif", ".h264", ".h265", ".hevc", ".ivf", ".m1v", ".m2t", ".m2ts", ".m2v", ".m4s", ".m4v",
    ".mj2", ".mjpeg", ".mjpg", ".mkv", ".mod", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts",
    ".mxf", ".nut", ".obu", ".ogm", ".ogv", ".ps", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm",
    ".wmv", ".y4m",
))  # fmt: skip
# Endings that text has too: TypeScript, Go's modules, PostScript.
_TEXT_EXTENSIONS: Final = frozenset((".mod", ".mts", ".ps", ".ts"))
_TEXT_LOOKED_AT: Final = 4096
# Folders in which other programs keep previews, and what was thrown away.
_NOT_SEARCHED: Final = frozenset(("#recycle", "$RECYCLE.BIN", "@eaDir", "__MACOSX"))
_GLOB = re.compile(r"[*?\[]")


def video_id(relative_path: str) -> str:
    """A name for a video that is readable, safe in paths and unique by its path below the input root.

    The slug of the file's stem (at most 40 of [a-z0-9-]) and 10 hex digits of the SHA-256 of the
    relative path in POSIX form.
    """
    path = PurePosixPath(relative_path)
    slug = re.sub(r"[^a-z0-9]+", "-", path.stem.lower()).strip("-")[:40].strip("-") or "video"
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{slug}-{digest}"


class FoundFile(NamedTuple):
    """A file that an input names."""

    uri: str  # canonical
    relative: str  # its path below the input, in POSIX form
    fingerprint: str
    size_bytes: int


def find_videos(
    inputs: Iterable[str], out: str | None = None, root: str | None = None, strict: bool = False
) -> list[Video]:
    """Every video that the inputs name, each once, sorted by id.

    Folders are searched recursively for files with a video's ending; a file, glob or list is taken
    as given. A video that the tables below `out` know has the id that it has there. What a list names
    and what a link in a folder leads to, and is not there, is a video too, which fails when it is opened.

    Args:
        inputs: as the user wrote them.
        out: the folder of tables, if there is one.
        root: the folder from which paths count, instead of from the input.
        strict: refuse a list that names something that is not there.

    Raises:
        UsageError: an input matches nothing or cannot be read.
    """
    known = known_sources(out) if out is not None else {}
    return assign_ids(find_files(inputs, root, strict), known)


def find_files(inputs: Iterable[str], root: str | None = None, strict: bool = False) -> list[FoundFile]:
    """Every file that the inputs name, each once; as `find_videos`."""
    found: dict[str, FoundFile] = {}
    for file in chain.from_iterable(_match(text, strict) for text in inputs):
        other = found.setdefault(file.uri, file)
        # Named by a folder and by one inside it: the outer one counts, whatever their order.
        if len(file.relative) > len(other.relative):
            found[file.uri] = file
    return [_below(root, file) for file in found.values()] if root else list(found.values())


def _below(root: str, file: FoundFile) -> FoundFile:
    top = (
        root.rstrip("/")
        if is_remote(root)
        else canonical_uri(os.path.join(os.path.expanduser(root), "x"))[:-2]
    )
    if not file.uri.startswith(top + "/"):
        raise UsageError(f"{file.uri} is not below --root {root}.")
    return file._replace(relative=file.uri[len(top) + 1 :])


def find_video(source: str) -> Video:
    """The one video that an input names; UsageError when it names none or several."""
    videos = find_videos([source])
    if len(videos) > 1:
        raise UsageError(f"{source} holds {len(videos)} videos; name one.")
    return videos[0]


def assign_ids(
    files: Iterable[FoundFile], known: Mapping[str, str], moved: Mapping[str, str] = MappingProxyType({})
) -> list[Video]:
    """The videos, sorted by id: known sources keep theirs, no two sources share one.

    A new source gets the id of its path below the input; if that is taken, the id of its whole URI.

    known: ids by canonical URI. moved: ids of those that are known under another URI, by their new one.
    """
    owners = {video_id: uri for uri, video_id in known.items()}
    videos = []
    for file in sorted(files):
        name = known.get(file.uri) or moved.get(file.uri) or _free_id(file, owners)
        owners[name] = file.uri
        videos.append(Video(name, file.uri, file.fingerprint, file.size_bytes))
    return sorted(videos)


def _free_id(file: FoundFile, owners: Mapping[str, str]) -> str:
    names = chain([file.relative, file.uri], (f"{file.uri}#{number}" for number in count()))
    return next(free for free in map(video_id, names) if free not in owners)


def find_moved(
    files: Iterable[FoundFile], known: Mapping[str, str], out: str, root: str | None
) -> dict[str, str]:
    """The ids that new files have had elsewhere, by URI.

    A file is one that moved when what had its id is gone from where it was, and held the same by its
    fingerprint. With `root`, which says how paths correspond, one of the two is enough for the id of its path
    below it.
    """
    files = sorted(files)
    matched = {file.uri for file in files}
    new = [file for file in files if file.uri not in known and file.fingerprint != MISSING]
    if not new:
        return {}
    # Elsewhere than on this machine a copy is told by its time as well, so that nothing that moved is known.
    here = {name: uri for uri, name in known.items() if uri not in matched and not is_remote(uri)}
    gone = {name: uri for name, uri in here.items() if not exists(uri)}
    owners = {name: uri for uri, name in known.items() if uri not in matched}
    moved: dict[str, str] = {}

    def take(file: FoundFile, name: str) -> None:
        moved[file.uri] = name
        gone.pop(name, None)
        owners.pop(name, None)

    for file in new:
        name = video_id(file.relative)
        if name in owners:
            same = _is_recorded(out, name, file)
            if (same and name in gone) or (root and (same or not exists(owners[name]))):
                take(file, name)
    left = [file for file in new if file.uri not in moved]
    recorded = {name: row["fingerprint"] for name in gone if left and (row := video_row(out, name))}
    for file in left:
        same_content = [
            name
            for name, was in recorded.items()
            if name in gone and is_same_content(was, file.uri, file.fingerprint)
        ]
        if same_content:
            # Of several with one content, the one of its name.
            last = os.path.basename(file.uri)
            take(file, min(same_content, key=lambda name: (os.path.basename(gone[name]) != last, gone[name])))
    return moved


def _is_recorded(out: str, name: str, file: FoundFile) -> bool:
    """Whether the row of an id in `videos` is of a file with this one's content."""
    row = video_row(out, name)
    return row is not None and is_same_content(row["fingerprint"], file.uri, file.fingerprint)


def _match(text: str, strict: bool = False) -> Iterator[FoundFile]:
    if text.startswith("@") and not os.path.lexists(text):
        yield from _match_list(text[1:], strict)
    elif is_remote(text):
        yield from _match_uri(text)
    else:
        yield from _match_local(text)


def _match_list(path: str, strict: bool) -> Iterator[FoundFile]:
    try:
        with file_systems().open(path) if is_remote(path) else open(local_path(path), "rb") as source:
            lines = _text(source.read()).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The list {path} cannot be read: {error}.") from error
    for line in lines:
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        try:
            yield from _match(entry, strict)
        except UsageError:
            if strict:
                raise
            uri = canonical_uri(entry)
            yield FoundFile(uri, uri.rpartition("/")[2], MISSING, 0)


def _text(content: bytes) -> str:
    """What a list says, in UTF-8 or UTF-16 with a mark; bytes that are neither stay part of a name."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return content.decode("utf-16")
    return os.fsdecode(content.removeprefix(codecs.BOM_UTF8))


def _match_local(text: str) -> Iterator[FoundFile]:
    path = os.path.abspath(os.path.expanduser(local_path(text)))
    if os.path.isdir(path):
        files, root = list(_walk(path)), path
    elif os.path.exists(path):
        files, root = [path], os.path.dirname(path)
    elif _GLOB.search(path):
        root = path[: _GLOB.search(path).start()].rpartition(os.sep)[0]  # type: ignore[union-attr]
        files = [name for name in sorted(glob.glob(path, recursive=True)) if not os.path.isdir(name)]
    else:
        raise UsageError(f"{text} does not exist.")
    if not files:
        raise UsageError(f"{text} matches no video.")
    for name in files:
        yield _local_file(name, root)


def _walk(folder: str) -> Iterator[str]:
    """Video files below a folder; linked folders are entered once, so that loops end."""

    def refuse(error: OSError) -> None:
        raise UsageError(f"The folder {error.filename} cannot be read: {error.strerror}.") from error

    seen: set[tuple[int, int]] = set()
    for parent, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        status = os.stat(parent)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name not in _NOT_SEARCHED
        )
        for name in sorted(names):
            path = os.path.join(parent, name)
            leads_nowhere = os.path.islink(path) and not os.path.exists(path)
            if _is_video_name(name) and (leads_nowhere or (os.path.isfile(path) and not _is_text(path))):
                yield path


def _is_video_name(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_EXTENSIONS


def _is_text(path: str) -> bool:
    """Whether a file whose ending says little holds text: no NUL, and nothing that UTF-8 has no place for."""
    if os.path.splitext(path)[1].lower() not in _TEXT_EXTENSIONS:
        return False
    try:
        with open(path, "rb") as file:
            start = file.read(_TEXT_LOOKED_AT)
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except (OSError, UnicodeDecodeError):
        return False  # whoever opens it will tell
    return bool(start) and b"\0" not in start


def _local_file(path: str, root: str) -> FoundFile:
    relative = os.path.relpath(path, root).replace(os.sep, "/")
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return FoundFile(canonical_uri(path), relative, MISSING, 0)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(f"{path} is not a regular file.")
    fingerprint = local_fingerprint(path, status.st_size)
    return FoundFile(canonical_uri(path), relative, fingerprint, status.st_size)


def _match_uri(text: str) -> Iterator[FoundFile]:
    require_file_system(text)
    glob_at = _GLOB.search(text)
    try:
        if glob_at:
            root = text[: glob_at.start()].rpartition("/")[0]
            [result] = file_systems().match([text])
            files = result.metadata_list
        else:
            root = text.rpartition("/")[0]
            [result] = file_systems().match([text])
            files = [] if text.endswith("/") else result.metadata_list
            if not files:
                root = text.rstrip("/")
                [result] = file_systems().match([root + "/**"])
                files = [
                    file for file in result.metadata_list if _is_video_name(file.path.rpartition("/")[2])
                ]
    except (OSError, ValueError) as error:
        raise UsageError(f"{text} cannot be listed: {error}.") from error
    if not files:
        raise UsageError(f"{text} matches no video.")
    for file in files:
        if not file.path.endswith("/"):
            relative = file.path[len(root) :].lstrip("/")
            fingerprint = f"{file.size_in_bytes}-{file.last_updated_in_seconds}"
            yield FoundFile(file.path, relative, fingerprint, file.size_in_bytes)
