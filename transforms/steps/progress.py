"""Live progress from worker processes on this machine: one line appended to a shared file."""

import os
from typing import Final

PROGRESS_FILE: Final = "AFFECTLINE_PROGRESS_FILE"


def advance(video_seconds: float, samples: int, faces: int) -> None:
    """Add to what the launcher shows; does nothing where nobody watches (remote workers)."""
    if path := os.environ.get(PROGRESS_FILE):
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, f"{video_seconds:.3f} {samples} {faces}\n".encode())
        finally:
            os.close(descriptor)


def total(path: str) -> tuple[float, int, int]:
    """Seconds of video, samples and faces reported so far."""
    seconds, samples, faces = 0.0, 0, 0
    with open(path, encoding="ascii") as lines:
        for line in lines:
            if line.endswith("\n"):  # the last one may be half written
                fields = line.split()
                seconds += float(fields[0])
                samples += int(fields[1])
                faces += int(fields[2])
    return seconds, samples, faces
