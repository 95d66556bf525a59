"""`affectline live`: a camera, a stream or a file, told face by face as JSON lines while it is seen."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from types import FrameType

import cv2
import numpy as np

from pipeline.draw.mp4 import Mp4Writer, check_output, open_mp4
from pipeline.draw.overlay import draw_tracked
from pipeline.live.live import LiveFaces
from pipeline.run.settings import check_smoothing
from schemas.errors import RunError, UnreadableVideoError, UsageError
from transforms.faces.analyzer import Analyzer, TrackedFace
from transforms.remote import is_remote, local_path
from transforms.video.decoder import Decoder
from transforms.video.records import SampledFrame, SegmentSummary

See = Callable[[int, np.ndarray], list[TrackedFace]]

_OPEN_MS, _READ_MS = 10_000, 10_000  # patience with a stream
_GLANCE_S = 0.2  # between looks at whether to stop, while no frame comes
_FRAME_RATE = Fraction(30)  # told to the encoder; each frame has its own time anyway


@dataclass(frozen=True)
class Frame:
    """A frame of a source: microseconds since its first, and uint8 RGB [H, W, 3], upright."""

    pts_us: int
    image: np.ndarray


def is_stream(source: str) -> bool:
    """Whether frames come at their own pace, from a camera's number or a URL, and not from a file."""
    return source.isdecimal() or is_remote(source)


class VideoFile:
    """Every frame of a video file at its own time.

    Raises UsageError when it cannot be opened. A context manager.
    """

    def __init__(self, path: str) -> None:
        if not os.path.isfile(path):
            raise UsageError(f"{path} is neither a file, a camera's number nor a URL such as rtsp://….")
        self._path, self._decoder = path, Decoder()
        self.problems: list[str] = []  # of the frames given so far
        try:
            self._probe = self._decoder.probe(path)
        except UnreadableVideoError as error:
            self._decoder.close()
            raise UsageError(f"{path} cannot be opened: {error}") from error
        self.longest_step_us = self._probe.max_step_us

    def __enter__(self) -> "VideoFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    def frames(self, _stopped: threading.Event) -> Iterator[Frame]:
        """Frames to the end of the file."""
        probe = self._probe
        size = probe.width, probe.height
        for item in self._decoder.read(self._path, 0, -1, probe.zero_pts, size, Fraction(0)):
            if isinstance(item, SampledFrame):
                yield Frame(item.pts_us, item.image)
            elif isinstance(item, SegmentSummary):
                self.problems += item.problems


class Stream:
    """The newest frame of a camera or a network stream: those that come meanwhile are passed over.

    Raises UsageError when it cannot be opened. A context manager.
    """

    problems: Sequence[str] = ()
    longest_step_us = _READ_MS * 1000

    def __init__(self, source: str) -> None:
        if source.isdecimal():
            self._capture = cv2.VideoCapture(int(source))
        else:
            patience = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _READ_MS]
            self._capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, patience)
        if not self._capture.isOpened():
            what = f"The camera {source}" if source.isdecimal() else source
            raise UsageError(
                f"{what} cannot be opened; check that it is there and that no other program uses it."
            )
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._grab, name="camera", daemon=True)

    def __enter__(self) -> "Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._ended = True
        self._thread.join(_READ_MS / 1000)
        self._capture.release()

    def _grab(self) -> None:
        start_ns = None
        while not self._ended:
            more, bgr = self._capture.read()
            now_ns = time.monotonic_ns()
            start_ns = start_ns or now_ns
            with self._changed:
                if more:
                    rgb = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
                    self._newest = Frame((now_ns - start_ns) // 1000, rgb)
                else:
                    self._ended = True
                self._changed.notify()

    def frames(self, stopped: threading.Event) -> Iterator[Frame]:
        """Frames until the stream ends or `stopped` is set."""
        while True:
            with self._changed:
                while self._newest is None and not self._ended and not stopped.is_set():
                    self._changed.wait(_GLANCE_S)
                frame, self._newest = self._newest, None
            if frame is None or stopped.is_set():
                return
            yield frame


def as_json_line(frame: Frame, faces: list[TrackedFace]) -> str:
    """One JSON object on one line; docs/app.md describes it."""
    return json.dumps(
        {
            "time_s": round(frame.pts_us / 1e6, 6),
            "width": frame.image.shape[1],
            "height": frame.image.shape[0],
            "faces": [face.as_json() for face in faces],
        }
    )


def live(
    source: str,
    output: str | None,
    *,
    detector: str,
    detector_weights: str | None,
    min_face: float,
    model: str,
    smoothing: str,
    window_s: float | None,
    mesh: bool,
) -> str:
    """Load what was named and `watch` with it; UsageError also for a name that there is not.

    A file waits for each search for faces, so that the same file gives the same lines. A camera does not.
    """
    check_smoothing(smoothing)
    analyzer = Analyzer.load(model, detector, min_face, detector_weights, mesh)
    with ThreadPoolExecutor(1, thread_name_prefix="search") as search:
        beside = search if is_stream(source) else None
        faces = LiveFaces(analyzer, smoothing, window_s, beside)
        return watch(source, faces.see, output, _print_line)


def _print_line(line: str) -> None:
    """Print a line at once; BrokenPipeError when whoever read the lines has left."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would be complained about when the process ends.
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise


def watch(source: str, see: See, output: str | None, tell: Callable[[str], None]) -> str:
    """Tell the faces of a source until it ends or the process is interrupted; how that was, in a sentence.

    Args:
        source: a camera's number, a URL that FFmpeg reads, or a file.
        see: `LiveFaces.see`.
        output: the annotated MP4 to write, if any.
        tell: gets each frame's JSON line; where it raises BrokenPipeError, nobody wants more.

    Raises:
        UsageError: the source cannot be opened, or the output cannot be written.
        RunError: a camera or stream ended by itself; what was written of it is kept.
    """
    stopped = threading.Event()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_interrupts(stopped))
        opened: Stream | VideoFile = Stream(source) if is_stream(source) else VideoFile(local_path(source))
        stack.enter_context(opened)
        if output is not None:
            output = local_path(output)
            check_output(output, source)
        seen, last_us = _see_all(opened, see, output, tell, stopped)
    length = f"{seen} frames ({last_us / 1e6:.1f} s)"
    if stopped.is_set():
        return f"Stopped after {length}."
    if is_stream(source):
        raise RunError(f"{source} sends no more pictures after {length}; check the camera or the connection.")
    if not seen:
        raise RunError(f"{source} has no frame that can be read: {' '.join(opened.problems)}")
    return " ".join([f"{source} ended after {length}.", *opened.problems])


def _see_all(
    source: Stream | VideoFile,
    see: See,
    output: str | None,
    tell: Callable[[str], None],
    stopped: threading.Event,
) -> tuple[int, int]:
    """How many frames were seen, and the time of the last."""
    seen = last_us = step_us = 0
    writer: Mp4Writer | None = None
    with contextlib.ExitStack() as stack:
        for frame in source.frames(stopped):
            faces = see(frame.pts_us, frame.image)
            try:
                tell(as_json_line(frame, faces))
            except BrokenPipeError:
                stopped.set()
            if output is not None:
                if writer is None:
                    size = frame.image.shape[1], frame.image.shape[0]
                    longest_us = source.longest_step_us
                    writer = stack.enter_context(open_mp4(output, size, _FRAME_RATE, longest_us, None))
                draw_tracked(frame.image, faces)
                writer.write(frame.pts_us, frame.image)
            seen, step_us, last_us = seen + 1, frame.pts_us - last_us, frame.pts_us
            if stopped.is_set():
                break
        if writer is not None:
            writer.finish(last_us + step_us)
    return seen, last_us


@contextlib.contextmanager
def _interrupts(stopped: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the loop after a frame, so that the file being written is completed."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
