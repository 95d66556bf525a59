"""The decoding process: answers requests, one JSON object a line on stdin, until stdin ends.

Run by transforms/video/decoder.py; it loads nothing but PyAV, NumPy and its neighbours here, so that it
starts in 0.2 s.
"""

import gc
import json
import os
import queue
import resource
import signal
import sys
import threading
import traceback
from contextlib import suppress
from dataclasses import asdict
from fractions import Fraction
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import BinaryIO, Final

import av

if __name__ == "__main__":
    # Ours are the packages beside this file, whatever folders of their names the user has.
    for _name in ("schemas", "transforms"):
        _package = Path(__file__).resolve().parents[2] / _name
        _spec = spec_from_file_location(
            _name, _package / "__init__.py", submodule_search_locations=[str(_package)]
        )
        assert _spec is not None
        sys.modules[_name] = module_from_spec(_spec)

from schemas.errors import UnreadableVideoError
from transforms.video.reading import header, probe, read_segment
from transforms.video.records import HEADER, Fault, RgbImage, SampledFrame

# Address space of a decoding process; an 8K stream needs 1 to 2 GB of it.
MEMORY_LIMIT: Final = 8 * 2**30


def serve() -> None:
    """Answers requests, one JSON object a line on stdin, with messages on stdout, until stdin ends."""
    gc.freeze()  # what is loaded by now stays, and needs no look at each collection
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to act on
    if "--log" in sys.argv:
        av.logging.set_level(av.logging.WARNING)
    _limit("RLIMIT_CORE", 0)
    _limit("RLIMIT_AS", MEMORY_LIMIT)
    # Nothing but messages may reach the pipe.
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)  # the parent is gone or done, whatever the decoder is at

    threading.Thread(target=listen, daemon=True).start()
    while True:
        request = json.loads(requests.get())
        try:
            operation = request.pop("op")
            if operation == "header":
                _send(out, header(**request))
            elif operation == "probe":
                _send(out, probe(**request, progress=partial(_send, out)))
            else:
                fps, size = Fraction(request.pop("fps")), tuple(request.pop("size"))
                for item in read_segment(fps=fps, size=size, **request):
                    _send(out, item)
                    # PyAV ties a frame and its side data into a cycle; left alone, frames pile up.
                    gc.collect()
        except UnreadableVideoError as error:
            _send(out, error)
        except MemoryError:
            _send(out, UnreadableVideoError("Decoding it takes too much memory."))
        except Exception as error:  # noqa: BLE001 - the parent tells of it; the next request is served
            trace = traceback.format_exc()
            print(trace, file=sys.stderr, flush=True)
            _send(out, Fault(type(error).__name__, " ".join(str(error).split()), trace))


def _limit(name: str, most: int) -> None:
    """Lowers a limit of this process if the system lets it: a Mac refuses some, a cluster sets its own."""
    with suppress(AttributeError, ValueError, OSError):
        number = getattr(resource, name)
        _, hard = resource.getrlimit(number)
        wanted = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(number, (wanted, wanted))


def _send(out: BinaryIO, item: object) -> None:
    pixels: RgbImage | None = None
    if isinstance(item, SampledFrame):
        pixels = item.image
        fields = {"sample": item.sample, "pts_us": item.pts_us, "shape": pixels.shape}
    elif isinstance(item, UnreadableVideoError):  # or a fault of the world
        fields = {"reason": str(item)}
    else:
        fields = asdict(item)  # type: ignore[call-overload]
    text = json.dumps({"kind": type(item).__name__, **fields}).encode()
    _write(out, HEADER.pack(len(text)) + text)
    if pixels is not None:
        _write(out, pixels.data.cast("B"))


def _write(out: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


if __name__ == "__main__":
    serve()
