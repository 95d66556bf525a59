"""Whether a file is the one that a run has read: told by its content, never by its time."""

import hashlib
import os
import re
from typing import Final

from transforms.remote import is_remote, local_path

# That of a file that is not there: one that appears later has another.
MISSING: Final = "missing"
_PART_BYTES: Final = 64 << 10
_PARTS: Final = 4  # head, two between, tail
_SIZE_AND_TIME: Final = re.compile(r"\d+-\d+")  # what earlier versions kept of a file on this machine


def local_fingerprint(path: str, size_bytes: int) -> str:
    """What changes when the content of a file on this machine does: its size and a hash of some parts of it.

    Of a file that cannot be read now it is the size alone.
    """
    digest = hashlib.sha256()
    last = max(0, size_bytes - _PART_BYTES)
    try:
        with open(path, "rb") as file:
            for part in range(_PARTS):
                file.seek(last * part // (_PARTS - 1))
                digest.update(file.read(_PART_BYTES))
    except OSError:
        return f"{size_bytes}-unread"
    return f"{size_bytes}-sha256-{digest.hexdigest()[:32]}"


def is_same_content(recorded: str, uri: str, fingerprint: str) -> bool:
    """Whether the fingerprint that was recorded of a file is that of `uri`, which now has `fingerprint`."""
    if recorded == fingerprint:
        return True
    if is_remote(uri) or not _SIZE_AND_TIME.fullmatch(recorded):
        return False
    try:
        status = os.stat(local_path(uri))
    except OSError:
        return False
    return recorded == f"{status.st_size}-{status.st_mtime_ns}"
