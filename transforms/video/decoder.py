"""Decoding in a process of its own, which may crash, hang or eat memory without harm to the run."""

import json
import logging
import math
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import numpy as np

from schemas.errors import DecoderKilledError, DecoderStoppedError, UnavailableError, UnreadableVideoError
from transforms.remote import local_path
from transforms.video.records import (
    HEADER,
    DecodingProgress,
    Fault,
    Header,
    LostSample,
    Probe,
    SampledFrame,
    SegmentSummary,
)

# Seconds that reading may wait for the decoder for each minute of video.
TIME_LIMIT_S: Final = 300.0
# Pixels decoded ahead of what the caller has taken.
READ_AHEAD_BYTES: Final = 64 * 2**20
# The most that Linux grants without privilege; fewer switches between the two processes.
PIPE_BYTES: Final = 2**20

CRASHED: Final = "The decoder crashed."
KILLED: Final = "The decoder was killed, as the system does when memory runs out."
FAULT: Final = "The decoder met an unforeseen {}: {}."
STOPPED: Final = "The decoder was stopped: a minute of video took it longer than {:g} seconds."

# Seconds from the end of what a child says to its own.
_TO_END_S: Final = 5.0

# -P: no module is searched for in the working folder.
CHILD: Final = [sys.executable, "-P", str(Path(__file__).with_name("child.py"))]

_LOGGER = logging.getLogger(__name__)

Item = SampledFrame | LostSample | DecodingProgress | SegmentSummary


class Decoder:
    """Reads videos through one child process, started when needed and again after a failure.

    For one thread at a time. A context manager: `close` ends the child.

    Args:
        log: a file for what FFmpeg and the child have to say; None for nowhere.
    """

    def __init__(self, log: IO[Any] | None = None) -> None:
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the child process, whatever it is doing."""
        if self._child is None:
            return
        child, self._child = self._child, None
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            assert pipe is not None
            pipe.close()

    def header(self, path: str) -> Header:
        """What the file says of itself.

        Raises:
            UnreadableVideoError: with a sentence that says why nothing can be read.
        """
        for answer in self._ask(TIME_LIMIT_S, op="header", path=local_path(path)):
            assert isinstance(answer, Header)
            return answer
        raise AssertionError("a header has an answer")

    def probe(self, path: str, time_limit: float = TIME_LIMIT_S) -> Probe:
        """What the file is.

        Args:
            path: a local file, also as a `file:` URI.
            time_limit: seconds of waiting for the next 1000 packets, and then for the first frame.

        Raises:
            UnreadableVideoError: with a sentence that says why nothing can be read.
        """
        for answer in self._ask(time_limit, op="probe", path=local_path(path)):
            if isinstance(answer, Probe):
                return answer
        raise AssertionError("a probe has an answer")

    def read(
        self,
        path: str,
        start_us: int,
        end_us: int,
        zero_pts: int,
        size: tuple[int, int],
        fps: Fraction,
        time_limit: float = TIME_LIMIT_S,
    ) -> Iterator[SampledFrame | LostSample | SegmentSummary]:
        """Samples the frames with start_us <= pts_us < end_us, in order; one SegmentSummary comes last.

        Does not raise for anything that a file may hold: when the decoder crashes, hangs or gives
        up, what has come is kept, every further sample is lost, and the summary says why. Raises
        UnavailableError when the file cannot be had.

        Args:
            path: a local file, also as a `file:` URI.
            start_us: microseconds after time zero.
            end_us: the same, or -1 for all that follows.
            zero_pts: timestamp of time zero in the stream's time base, from `probe`.
            size: width and height of the upright pictures, from `probe`.
            fps: samples a second; 0 takes every frame, and then start_us must be 0.
            time_limit: seconds of waiting for the decoder allowed for each minute of video.
        """
        if fps == 0 and start_us > 0:
            raise ValueError("Every frame can only be numbered from the start: read the video in one piece.")
        request = {
            "op": "read",
            "path": local_path(path),
            "start_us": start_us,
            "end_us": end_us,
            "zero_pts": zero_pts,
            "size": size,
            "fps": str(fps),
        }
        taken: SampledFrame | LostSample | None = None
        frames = 0
        try:
            for item in self._read_ahead(self._ask(time_limit, **request)):
                if isinstance(item, SampledFrame | LostSample):
                    taken = item
                    frames += isinstance(item, SampledFrame)
                if not isinstance(item, DecodingProgress):
                    yield item
            return
        except UnavailableError:
            raise
        except UnreadableVideoError as error:
            reason = str(error)
            ended_by = error if isinstance(error, DecoderStoppedError | DecoderKilledError) else None

        # What is missing is listed from the packets alone, which needs no decoder.
        try:
            for item in self._ask(time_limit, **request, decode=False):
                if isinstance(item, LostSample) and (
                    taken is None or (item.sample > taken.sample and item.pts_us > taken.pts_us)
                ):
                    yield LostSample(item.sample, item.pts_us, reason)
                elif isinstance(item, SegmentSummary):
                    problems = tuple(sorted({*item.problems, reason}))
                    steps = (item.min_step_us, item.max_step_us)
                    yield SegmentSummary(frames, item.last_pts_us, *steps, problems, ended_by)
        except UnreadableVideoError:
            sample = taken.sample + 1 if taken else math.ceil(start_us * fps / 1_000_000)
            after_us = taken.pts_us + 1 if taken else start_us
            grid_us = math.ceil(sample * 1_000_000 / fps) if fps else after_us
            yield LostSample(sample, max(after_us, grid_us), reason)
            yield SegmentSummary(frames, taken.pts_us if taken else -1, 0, 0, (reason,), ended_by)

    def _read_ahead(self, items: Iterator[Item]) -> Iterator[Item]:
        """Takes items in a thread, until READ_AHEAD_BYTES of pixels wait to be taken here."""
        ready: deque[Item | UnreadableVideoError | None] = deque()
        waiting = 0  # bytes of pixels in it
        changed = threading.Condition()
        stopped = False

        def may_go_on() -> bool:
            return stopped or waiting <= READ_AHEAD_BYTES

        def take() -> None:
            nonlocal waiting
            end: UnreadableVideoError | None = UnreadableVideoError(CRASHED)
            try:
                for item in items:
                    with changed:
                        ready.append(item)
                        waiting += _pixel_bytes(item)
                        changed.notify_all()
                        changed.wait_for(may_go_on)
                        if stopped:
                            return
                end = None
            except UnreadableVideoError as error:
                end = error
            finally:  # whatever happened: the caller waits for an end
                with changed:
                    ready.append(end)
                    changed.notify_all()

        thread = threading.Thread(target=take, name="decoder", daemon=True)
        thread.start()
        finished = False
        try:
            while True:
                with changed:
                    changed.wait_for(lambda: bool(ready))
                    item = ready.popleft()
                    waiting -= _pixel_bytes(item)
                    changed.notify_all()
                if item is None or isinstance(item, UnreadableVideoError):
                    finished = True
                    if item is not None:
                        raise item
                    return
                yield item
        finally:
            with changed:
                stopped = True
                changed.notify_all()
            child = self._child
            if not finished and child is not None:
                child.kill()  # the caller has seen enough; this ends the thread's wait
            thread.join()
            if not finished:
                self.close()

    def _ask(self, time_limit: float, **request: object) -> Iterator[Any]:
        """The child's answers up to the last. Raises UnreadableVideoError, also when the child fails."""
        child = self.start()
        assert child.stdin is not None
        with suppress(BrokenPipeError):  # if it died meanwhile, reading will say so
            child.stdin.write(json.dumps(request).encode() + b"\n")
        left = time_limit
        while True:
            deadline = time.monotonic() + left
            try:
                answer = self._receive(child, deadline)
            except EOFError:
                raise self._ended(child) from None
            except TimeoutError:
                self.close()
                raise DecoderStoppedError(STOPPED.format(time_limit)) from None
            left = time_limit if isinstance(answer, DecodingProgress) else deadline - time.monotonic()
            if isinstance(answer, UnreadableVideoError):
                raise answer
            if isinstance(answer, Fault):
                _LOGGER.error("%s\n%s", request["path"], answer.trace)
                words = answer.message.rstrip(".") or "without a word"
                raise UnreadableVideoError(FAULT.format(answer.error, words))
            yield answer
            if isinstance(answer, Header | Probe | SegmentSummary):
                return

    def _ended(self, child: subprocess.Popen[bytes]) -> UnreadableVideoError:
        """Why a child says no more."""
        with suppress(subprocess.TimeoutExpired):
            child.wait(_TO_END_S)
        killed = child.returncode == -signal.SIGKILL
        self.close()
        return DecoderKilledError(KILLED) if killed else UnreadableVideoError(CRASHED)

    def start(self) -> subprocess.Popen[bytes]:
        """The child process, started if there is none that lives; worth a call ahead of the first request."""
        if self._child is not None and self._child.poll() is not None:
            self.close()
        if self._child is None:
            self._child = subprocess.Popen(
                [*CHILD, *(["--log"] if self._log else [])],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log or subprocess.DEVNULL,
                env=os.environ | {"PYTHONSAFEPATH": "1"},
                pipesize=PIPE_BYTES,
            )
        return self._child

    def _receive(self, child: subprocess.Popen[bytes], deadline: float) -> Any:
        """One message. Raises EOFError when the child is gone, TimeoutError after the deadline."""
        head = bytearray(HEADER.size)
        _fill(child, memoryview(head), deadline)
        text = bytearray(HEADER.unpack(head)[0])
        _fill(child, memoryview(text), deadline)
        fields = json.loads(text)
        kind = fields.pop("kind")
        if kind == "SampledFrame":
            image = np.empty(fields.pop("shape"), np.uint8)
            _fill(child, image.data.cast("B"), deadline)
            return SampledFrame(image=image, **fields)
        if kind in _ERRORS:
            return _ERRORS[kind](fields["reason"])
        if "problems" in fields:
            fields["problems"] = tuple(fields["problems"])
        if "gaps" in fields:
            fields["gaps"] = tuple((before, after) for before, after in fields["gaps"])
        return _ANSWERS[kind](**fields)


_ERRORS: Final = {kind.__name__: kind for kind in (UnreadableVideoError, UnavailableError)}
_ANSWERS: Final = {
    kind.__name__: kind for kind in (Fault, Header, Probe, LostSample, DecodingProgress, SegmentSummary)
}


def _pixel_bytes(item: object) -> int:
    return item.image.nbytes if isinstance(item, SampledFrame) else 0


def _fill(child: subprocess.Popen[bytes], buffer: memoryview, deadline: float) -> None:
    """Reads exactly as many bytes as fit, straight into the buffer."""
    assert child.stdout is not None
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    filled = 0
    while filled < len(buffer):
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        count = os.readv(child.stdout.fileno(), [buffer[filled:]])
        if count == 0:
            raise EOFError
        filled += count
