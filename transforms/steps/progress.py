"""What worker processes on this machine tell of their progress: lines appended to a shared file."""

import os
from contextlib import suppress
from typing import Final

EVENTS_FILE: Final = "AFFECTLINE_EVENTS_FILE"  # environment variable: where they are appended

TEMP_PREFIX: Final = "affectline-run-"  # of the folder with a run's temporary files
EVENTS_NAME: Final = "events"  # of the file, in that folder


def advance(video_seconds: float, samples: int, faces: int) -> None:
    """Add to what the launcher shows; does nothing where nobody watches (remote workers)."""
    if path := os.environ.get(EVENTS_FILE):
        with suppress(OSError):  # a full disk must not end the run for want of a number to show
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                os.write(descriptor, f"{video_seconds:.3f} {samples} {faces}\n".encode())
            finally:
                os.close(descriptor)


class Events:
    """The sums of what was told so far; each look reads on where the last one ended.

    seconds: of video gone through. samples: frames looked at for faces. faces: found in them.
    """

    def __init__(self, path: str) -> None:
        """Read from this file, which need not be there yet."""
        self._path = path
        self._offset = 0
        self.seconds, self.samples, self.faces = 0.0, 0, 0

    def look(self) -> None:
        """Add what has come since the last look."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                new = file.read()
        except FileNotFoundError:
            return
        whole = new[: new.rfind(b"\n") + 1]  # the last line may be half written
        self._offset += len(whole)
        for line in whole.splitlines():
            seconds, samples, faces = line.split()
            self.seconds += float(seconds)
            self.samples += int(samples)
            self.faces += int(faces)
