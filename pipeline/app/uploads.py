"""Files that a browser sends: counted while they come, and told by their first bytes.

Of their names what is safe is kept, for people to know them by.
"""

import asyncio
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Final

from PIL import Image, UnidentifiedImageError
from starlette.requests import ClientDisconnect, Request

MAX_PICTURE_BYTES: Final = 50 * 2**20
MAX_PICTURE_PIXELS: Final = 60_000_000
MAX_FRAME_BYTES: Final = 2**20  # of the webcam
MAX_FRAME_PIXELS: Final = 1920 * 1080
MAX_VIDEO_BYTES: Final = 2 * 2**30
MAX_VIDEO_SECONDS: Final = 3600
_MAX_NAME_BYTES: Final = 80
_ROOM_BYTES: Final = 2**30  # that must be left on the disk

# Pillow's other formats run foreign programs, or are rare enough to be seldom tested.
_PICTURE_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")

_SNIFFED: Final = 4 * 192  # bytes: several packets of a transport stream


class UploadError(ValueError):
    """What was sent is not accepted; the message is one sentence, `status` its HTTP status."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


async def receive(request: Request, limit: int, into: IO[bytes]) -> None:
    """Write a request's body into a file; UploadError when it is empty, too large or breaks off."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise _too_large(limit)
    received = 0
    try:
        async for block in request.stream():
            received += len(block)
            if received > limit:
                raise _too_large(limit)
            await asyncio.to_thread(into.write, block)
    except ClientDisconnect as error:
        raise UploadError(400, "The file did not arrive whole; send it again.") from error
    if not received:
        raise UploadError(400, "The file is empty.")
    into.flush()


def _too_large(limit: int) -> UploadError:
    return UploadError(413, f"The file is larger than {limit / 2**20:,.0f} MB, the most that is taken here.")


@dataclass(eq=False)
class Coming:
    """A file that is being received: its bytes in all, and where it grows."""

    size: int
    file: Path | None = None

    @property
    def missing(self) -> int:
        """Bytes that the disk does not hold yet."""
        return max(0, self.size - (self.file.stat().st_size if self.file and self.file.exists() else 0))


class Room:
    """The disk's free space, less what uploads under way will still take. For one event loop."""

    def __init__(self) -> None:
        self._coming: set[Coming] = set()

    @contextmanager
    def reserve(self, folder: Path, size: int) -> Iterator[Coming]:
        """Keep room for a file of this size while the block lasts; UploadError when it does not fit."""
        free = shutil.disk_usage(folder).free - sum(coming.missing for coming in self._coming)
        if free < size + _ROOM_BYTES:
            raise UploadError(507, "There is too little room on this machine's disk for another video.")
        coming = Coming(size)
        self._coming.add(coming)
        try:
            yield coming
        finally:
            self._coming.remove(coming)


def announced_size(request: Request, limit: int) -> int:
    """Bytes that a request says it brings, or the limit where it does not say."""
    announced = request.headers.get("content-length", "")
    return min(int(announced), limit) if announced.isdecimal() else limit


def check_picture(
    content: bytes | memoryview, max_pixels: int, formats: tuple[str, ...] = _PICTURE_FORMATS
) -> None:
    """UploadError unless the bytes are a picture of a common kind and of a size that can be opened.

    Only its header is read.
    """
    try:
        with Image.open(BytesIO(content), formats=formats) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(max_pixels) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise UploadError(415, f"This is not a picture of a known kind: {', '.join(formats)}.") from error
    if width * height > max_pixels:
        raise _too_many_pixels(max_pixels)


def _too_many_pixels(limit: int) -> UploadError:
    return UploadError(413, f"The picture has more than {limit / 1e6:.0f} megapixels; send a smaller one.")


def safe_name(name: str) -> str:
    """What is left of a file's own name when nothing in it can be a path, a hidden file or a surprise.

    Its stem alone: letters and digits of any script, spaces, dots, dashes and underscores.
    """
    stem = PurePosixPath(name.replace("\\", "/")).stem
    kept = re.sub(r"[^\w .-]+", "_", stem).strip(" ._-")
    while len(kept.encode()) > _MAX_NAME_BYTES:
        kept = kept[:-1].rstrip(" ._-")
    return kept or "video"


def video_ending(path: Path) -> str:
    """The ending that fits a video file's first bytes, such as ".mp4"; UploadError when it is none.

    A playlist or a script, which FFmpeg would also open and follow to other files, is none.
    """
    with path.open("rb") as file:
        head = file.read(_SNIFFED)
    starts = {
        b"\x1aE\xdf\xa3": ".mkv",
        b"FLV\x01": ".flv",
        b"0&\xb2u\x8ef\xcf\x11": ".asf",
        b"OggS": ".ogv",
        b"\x06\x0e+4\x02\x05\x01\x01": ".mxf",
        b"\x00\x00\x01\xba": ".mpg",
        b"\x00\x00\x01\xb3": ".mpg",
        b"DKIF": ".ivf",
    }
    for start, ending in starts.items():
        if head.startswith(start):
            return ending
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return ".avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return ".mp4"
    for length, offset in ((188, 0), (192, 4)):  # broadcast, and a camcorder's with a time before each
        marks = head[offset::length][:4]
        if len(marks) >= 3 and set(marks) == {0x47}:
            return ".ts"
    raise UploadError(415, "This is not a video of a known kind, such as MP4, MOV, MKV, WebM or AVI.")
