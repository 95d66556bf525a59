"""How soon a frame of a camera has its faces, and how many frames a second there can be.

    python -m benchmarks.live [--detector mtcnn yunet haar] [--seconds 20] [--yunet-weights FILE]

One face of scikit-image's astronaut moves before a blurred wall at 640x480 and 30 frames a second, at the
pace of a camera. Two rows a detector: frames that wait for the search, as with a file, and the search in a
thread beside them, as with a camera and on the page. `total` adds the JPEG that the page's frames come in.
Times are milliseconds; `cpu` is the processor time of all threads while a frame is shown, which other work
on the machine hardly lengthens: on free cores `total` takes no longer. `rate` is the frames a second for
which two cores have that time.
"""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from skimage import data

from pipeline.live.live import LiveFaces
from schemas import defaults
from transforms.faces.analyzer import Analyzer

FPS = 30
WARM_UP = 2 * FPS
CORES = 2


def camera_frames(count: int) -> list[bytes]:
    """JPEGs of a face that moves, as the page sends them."""
    portrait = data.astronaut()
    wall = cv2.GaussianBlur(cv2.resize(portrait[256:, :340], (640, 480)), (0, 0), 9)
    person = cv2.resize(portrait[:320, 60:400], (382, 360))
    frames = []
    for number in range(count):
        image = wall.copy()
        left = 130 + round(90 * np.sin(number / 20))
        image[120:, left : left + 382] = person
        _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
        frames.append(jpeg.tobytes())
    return frames


def measure(live: LiveFaces, jpegs: list[bytes]) -> dict[str, float]:
    """Show the frames at a camera's pace; milliseconds a frame once all is warm."""
    see, total, cpu = [], [], []
    found = 0
    start = time.perf_counter()
    spent = 0.0
    for number, jpeg in enumerate(jpegs):
        if number == WARM_UP:
            spent = time.process_time()
        due = start + number / FPS
        if (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        began, worked = time.perf_counter(), time.process_time()
        image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
        assert image is not None
        decoded = time.perf_counter()
        faces = live.see(round(number * 1e6 / FPS), image)
        done = time.perf_counter()
        see.append(1000 * (done - decoded))
        total.append(1000 * (done - began))
        cpu.append(1000 * (time.process_time() - worked))
        found += number >= WARM_UP and len(faces) == 1
    measured = len(jpegs) - WARM_UP
    mean = 1000 * (time.process_time() - spent) / measured
    parts = {"see": see, "total": total, "cpu": cpu}
    return {
        **{
            f"{name}_p{part}": float(np.percentile(times[WARM_UP:], part))
            for name, times in parts.items()
            for part in (50, 95, 99)
        },
        "cpu_mean": mean,
        "rate": 1000 * CORES / mean,
        "seen": 100 * found / measured,
    }


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", nargs="+", default=["mtcnn", "haar"])
    parser.add_argument("--yunet-weights", type=Path)
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    jpegs = camera_frames(WARM_UP + round(options.seconds * FPS))
    rows = []
    for name in options.detector:
        for beside in (False, True):
            weights = options.yunet_weights if name == "yunet" else None
            analyzer = Analyzer.load(detector=name, min_face=defaults.LIVE_MIN_FACE, detector_weights=weights)
            with ThreadPoolExecutor(1) as thread:
                live = LiveFaces(analyzer, "hmm", beside=thread if beside else None)
                rows.append((f"{name}, {'beside' if beside else 'waiting'}", measure(live, jpegs)))
    columns = list(rows[0][1])
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; seen: % of frames with the one face")
    print(f"| detector | {' | '.join(columns)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name, row in rows:
        print(f"| {name} | {' | '.join(f'{row[column]:.1f}' for column in columns)} |")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
