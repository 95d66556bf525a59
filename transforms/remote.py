"""Files, wherever Beam's FileSystems reach: listed, copied near, removed."""

import os
import shutil
import tempfile
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

from schemas.errors import UnavailableError, UsageError

if TYPE_CHECKING:
    from apache_beam.io.filesystems import FileSystems


_FILE = "file://"
_BLOCK = 8 << 20
_COPY: Final = "copy the files to this machine, or to gs:// or s3://, and name them there"
_INSTEAD: Final = {
    "gs": "install its client with pip install 'affectline[dataflow]'",
    "s3": "install its client with pip install 'affectline[s3]'",
    "azfs": "install its client with pip install 'affectline[azure]'",
    "az": "Azure's storage is azfs://ACCOUNT/CONTAINER/PATH here",
    "abfs": "Azure's storage is azfs://ACCOUNT/CONTAINER/PATH here",
    "http": "download the files first, and name them here",
    "https": "download the files first, and name them here",
    "hdfs": "mount it, or copy the files with `hdfs dfs -get`, and name them here",
}
# Copies of remote videos that one step keeps. Little, since segments of one video come one after another,
# and a worker with many processes and one disk has many such steps.
CACHE_BYTES = 4 << 30


def file_systems() -> "type[FileSystems]":
    """Beam's FileSystems, loaded when a remote path appears: it brings all of Beam."""
    from apache_beam.io.filesystems import FileSystems

    systems: type[FileSystems] = FileSystems
    return systems


def is_remote(path: str) -> bool:
    """Whether a path names another file system than this machine's."""
    return "://" in path and not path.startswith(_FILE)


def local_path(path: str) -> str:
    """The path that a `file:` URI names; any other is returned as it is.

    Bytes that are not UTF-8 are escaped as Python's file functions take them.
    """
    if not path.startswith(_FILE):
        return path
    return os.fsdecode(unquote_to_bytes(path.removeprefix(_FILE).removeprefix("localhost")))


def local_uri(path: str) -> str:
    """What names a path of this machine in the tables: itself, or a `file:` URI if it is no proper text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return _FILE + quote_from_bytes(os.fsencode(path))
    return path


def require_file_system(uri: str, options: Sequence[str] | None = None) -> None:
    """UsageError, with what to do instead, when Beam reads and writes nothing at such a URI; paths pass.

    options: for Beam, as a user writes them; None to leave those that hold already.
    """
    if not is_remote(uri):
        return
    from apache_beam.options.pipeline_options import PipelineOptions

    systems = file_systems()
    if options is not None or systems._pipeline_options is None:  # S3 wants options, if only empty ones
        systems.set_options(PipelineOptions(list(options or ())))
    try:
        systems.get_filesystem(uri)
    except (ValueError, OSError) as error:
        scheme = uri.partition("://")[0].lower()
        raise UsageError(f"{uri} cannot be reached: {_INSTEAD.get(scheme, _COPY)}.") from error


def join(folder: str, *names: str) -> str:
    """A path below a folder, local or remote."""
    return file_systems().join(folder, *names) if is_remote(folder) else os.path.join(folder, *names)


def exists(path: str) -> bool:
    """Whether a file or folder is there."""
    return file_systems().exists(path) if is_remote(path) else os.path.exists(local_path(path))


def delete(path: str) -> None:
    """Remove one file; nothing happens when it is not there."""
    if is_remote(path):
        if file_systems().exists(path):
            file_systems().delete([path])
    else:
        Path(path).unlink(missing_ok=True)


def list_files(folder: str) -> list[str]:
    """The files right in a folder, sorted; none where there is no such folder."""
    if is_remote(folder):
        [found] = file_systems().match([join(folder, "*")])
        return sorted(file.path for file in found.metadata_list)
    if not os.path.isdir(folder):
        return []
    return sorted(os.path.join(folder, name) for name in os.listdir(folder))


def _faults_of_the_world() -> tuple[type[Exception], ...]:
    """What reading a remote file raises: the system's errors, Beam's (which are of them), and Google's."""
    try:
        from google.api_core.exceptions import GoogleAPIError
        from google.auth.exceptions import GoogleAuthError
    except ImportError:
        return (OSError,)
    return (OSError, GoogleAPIError, GoogleAuthError)


class LocalCopies:
    """Remote files as local paths: copied in blocks, reused, bounded, removed at close."""

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        """Keep at most `max_bytes` of copies, the file in use always among them."""
        self._max_bytes = max_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._copies: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def path(self, uri: str, fingerprint: str) -> str:
        """A local path with the bytes of `uri`, valid until the next call; UnavailableError without them."""
        if not is_remote(uri):
            return local_path(uri)
        key = (uri, fingerprint)
        if key not in self._copies:
            self._copies[key] = self._copy(uri)
        self._copies.move_to_end(key)
        while len(self._copies) > 1 and sum(size for _, size in self._copies.values()) > self._max_bytes:
            _, (oldest, _) = self._copies.popitem(last=False)
            os.unlink(oldest)
        return self._copies[key][0]

    def _copy(self, uri: str) -> tuple[str, int]:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="affectline-")
        # The name keeps the ending: some demuxers are chosen by it.
        target = os.path.join(self._folder.name, uuid.uuid4().hex + os.path.splitext(uri)[1])
        try:
            with (
                file_systems().open(uri, compression_type="uncompressed") as source,
                open(target, "wb") as copy,
            ):
                shutil.copyfileobj(source, copy, _BLOCK)
        except _faults_of_the_world() as error:
            with suppress(FileNotFoundError):
                os.unlink(target)
            raise UnavailableError(f"The file could not be fetched: {error}.") from error
        return target, os.path.getsize(target)

    def close(self) -> None:
        """Remove every copy."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
        self._copies.clear()
