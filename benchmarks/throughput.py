"""How fast a run is: beside reading alone, stage by stage, beside `fer`, and how cost grows.

    python -m benchmarks.throughput compare VIDEO [--fer-python PYTHON] [--json]
    python -m benchmarks.throughput growth [--plot FILE.png] [--json]

`compare` repeats the video's packets until it is long enough for start-up not to matter, and takes
turns: reading alone, each stage alone in this process, `affectline run` with one process and with two, and
`fer` on the same samples if a Python that has it is named. Every figure is the least of all rounds.

Start-up is what a run of the video's first second takes, from the shell to the shell, and is subtracted from
the run's time. The goal is a run, start-up aside, in 2.5 times the time of reading alone, and three times
as fast as `fer` would need with reading that costs as little.

`growth` makes videos of scikit-image's astronaut and lets one thing grow at a time.

Long, since it measures each step by itself and their growth.

Long, because everything that it sets side by side is measured in one process's rounds.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import click
import cv2
import numpy as np
import psutil
from skimage import data

from benchmarks.detection import table
from benchmarks.memory import resident_mb
from transforms.steps.progress import EVENTS_NAME, TEMP_PREFIX
from transforms.video.decoder import Decoder
from transforms.video.records import SampledFrame

FPS: Final = Fraction(5)
FER_FRAMES: Final = 200  # enough for a mean; fer takes its time
GOAL_READING: Final = 2.5
GOAL_FER: Final = 3.0
MEMORY_GOAL_GB: Final = 2.0

# Runs in another Python: milliseconds for each frame of an array, after one to warm up.
FER: Final = """
import sys, time
import numpy as np
from fer.fer import FER
frames = np.load(sys.argv[1], mmap_mode="r")
detector = FER(mtcnn=False)
detector.detect_emotions(np.array(frames[0]))
wall, cpu = time.perf_counter(), time.process_time()
faces = sum(len(detector.detect_emotions(np.array(frame))) for frame in frames)
print(time.perf_counter() - wall, time.process_time() - cpu, faces)
"""


@dataclass(frozen=True)
class Cost:
    """Seconds on the clock, and of all processors together."""

    wall: float
    cpu: float

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.wall - other.wall, self.cpu - other.cpu)


@dataclass(frozen=True)
class Run:
    """What a whole command took."""

    cost: Cost
    first_sample: float  # seconds from its start until faces were looked for; until its end without videos
    peak_mb: float  # resident, of all its processes together


def repeat_packets(source: Path, target: Path, seconds: float) -> float:
    """Copy a video's packets over and over until `seconds` are full; gives its length."""
    with av.open(str(target), "w") as out:
        stream = None
        shift = end = 0
        while True:
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                first = None
                for packet in container.demux(video):
                    if packet.dts is None or packet.pts is None:
                        continue
                    first = packet.dts if first is None else first
                    packet.pts += shift - first
                    packet.dts += shift - first
                    end = max(end, packet.dts + (packet.duration or 0))
                    length = float(end * packet.time_base)
                    packet.stream = stream
                    out.mux(packet)
                    if length >= seconds:
                        return length
            shift = end


@contextmanager
def measured(costs: dict[str, list[Cost]], name: str) -> Iterator[None]:
    """Add what the block took, its ended child processes included."""

    def cpu() -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system

    wall, before = time.perf_counter(), cpu()
    yield
    costs.setdefault(name, []).append(Cost(time.perf_counter() - wall, cpu() - before))


def least(costs: Sequence[Cost]) -> Cost:
    """The quickest round."""
    return min(costs, key=lambda cost: cost.wall)


def decode_all(video: Path) -> int:
    """Decode every frame in this process, with one thread and no conversion; gives their number."""
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        return sum(1 for _ in container.decode(stream))


def read(video: Path, fps: Fraction, keep: int = 0) -> tuple[int, list[SampledFrame]]:
    """Read a video as the run does; the number of samples, and the first `keep` of them."""
    kept: list[SampledFrame] = []
    count = 0
    with Decoder() as decoder:
        probe = decoder.probe(str(video))
        for item in decoder.read(str(video), 0, -1, probe.zero_pts, (probe.width, probe.height), fps):
            if isinstance(item, SampledFrame):
                count += 1
                if len(kept) < keep:
                    kept.append(item)
    return count, kept


def run(video: Path, scratch: Path, *options: str) -> Run:
    """Run `affectline run` on a video, in processes of its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return watch(["-m", "pipeline.cli", "run", str(video), "-o", f"{folder}/out", *options], Path(folder))


def watch(arguments: Sequence[str], folder: Path) -> Run:
    """Run Python with these arguments, and `folder` for its temporary files; what it took."""
    before, started = os.times(), time.perf_counter()
    process = psutil.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"TMPDIR": str(folder)},
    )
    first_sample = peak_mb = 0.0
    while process.poll() is None:
        time.sleep(0.02)
        peak_mb = max(peak_mb, resident_mb(process))
        if not first_sample and any(folder.glob(f"{TEMP_PREFIX}*/{EVENTS_NAME}")):
            first_sample = time.perf_counter() - started
    wall = time.perf_counter() - started
    if process.returncode != 0:
        raise click.ClickException(f"{' '.join(arguments)} ended with exit code {process.returncode}.")
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(Cost(wall, cpu), first_sample or wall, peak_mb)


def stages(frames: Sequence[SampledFrame], costs: dict[str, list[Cost]]) -> int:
    """Each stage alone over the same frames; the number of faces."""
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")  # as in a run; read when TensorFlow starts
    from models.classify.classifier import load_classifier
    from models.detectors import make_detector
    from models.mesh import load_mesh
    from transforms.faces.look import look_at
    from transforms.faces.thumbnails import carries_thumbnails
    from transforms.faces.view import view_faces
    from transforms.video.chunks import CHUNK_FRAMES

    detector, classifier = make_detector("mtcnn"), load_classifier("default")
    detector.detect([frame.image for frame in frames[:CHUNK_FRAMES]])
    found = []
    with measured(costs, "detect"):
        for start in range(0, len(frames), CHUNK_FRAMES):
            found += detector.detect([frame.image for frame in frames[start : start + CHUNK_FRAMES]])
    mesh = load_mesh()
    with measured(costs, "pose"):
        seen = view_faces(mesh, [frame.image for frame in frames], found)
    crops = []
    with measured(costs, "crop"):
        for frame, views in zip(frames, seen, strict=True):
            thumbnails = carries_thumbnails(frame.sample, frame.pts_us, FPS)
            _, faces = look_at("video", frame, views, classifier.spec, thumbnails)
            crops += [face.crop for face in faces]
    if crops:
        pixels = np.stack(crops)
        classifier.predict(pixels)
        with measured(costs, "classify"):
            classifier.predict(pixels)
    return len(crops)


def run_fer(python: str, frames: Sequence[SampledFrame], scratch: Path) -> tuple[Cost, int]:
    """What `fer` takes for frames that have been read, and how many faces it finds."""
    array = scratch / "frames.npy"
    np.save(array, np.stack([frame.image[..., ::-1] for frame in frames]))
    done = subprocess.run([python, "-c", FER, str(array)], check=True, capture_output=True, text=True)
    wall, cpu, faces = done.stdout.split()[-3:]
    return Cost(float(wall), float(cpu)), int(faces)


def compare(video: Path, seconds: float, rounds: int, fer_python: str | None) -> dict[str, Any]:
    """All figures for one video, start-up told apart."""
    costs: dict[str, list[Cost]] = {}
    runs: dict[str, list[Run]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        long, short = scratch / "long.mp4", scratch / "short.mp4"
        length = repeat_packets(video, long, seconds)
        repeat_packets(video, short, 1.0)
        _, frames = read(long, FPS, keep=400)
        faces = fer_faces = 0
        for _ in range(rounds):
            with measured(costs, "decode"):
                decoded = decode_all(long)
            with measured(costs, "read"):
                samples, _ = read(long, FPS)
            for name, options in (("run", ()), ("run --workers 2", ("--workers", "2"))):
                for clip, path in (("start-up", short), ("whole", long)):
                    runs.setdefault(f"{name}, {clip}", []).append(run(path, scratch, *options))
            faces = stages(frames, costs)
            if fer_python:
                cost, fer_faces = run_fer(fer_python, frames[:FER_FRAMES], scratch)
                costs.setdefault("fer", []).append(cost)
    best = {name: least(found) for name, found in costs.items()}
    quickest = {name: min(found, key=lambda one: one.cost.wall) for name, found in runs.items()}
    steady = {
        name: quickest[f"{name}, whole"].cost - quickest[f"{name}, start-up"].cost
        for name in ("run", "run --workers 2")
    }
    height, width = frames[0].image.shape[:2]
    result: dict[str, Any] = {
        "video": f"{video.name}, {width}x{height}, {length:.0f} s, {decoded} frames, {samples} samples",
        "load": os.getloadavg()[0],
        "decode": asdict(best["decode"]),
        "read": asdict(best["read"]),
        "detect_ms_per_sample": _each(best["detect"], len(frames)),
        "pose_ms_per_sample": _each(best["pose"], len(frames)),
        "crop_ms_per_sample": _each(best["crop"], len(frames)),
        "classify_ms_per_face": _each(best["classify"], faces) if faces else None,
        "faces_per_sample": faces / len(frames),
        "runs": {name: asdict(found) for name, found in quickest.items()},
        "steady": {name: asdict(cost) for name, cost in steady.items()},
        "over_reading": {name: cost.wall / best["read"].wall for name, cost in steady.items()},
        "over_decoding": {name: cost.wall / best["decode"].wall for name, cost in steady.items()},
        "samples": samples,
    }
    if fer_python:
        count = min(FER_FRAMES, len(frames))
        each = _each(best["fer"], count)
        whole = best["decode"].wall + each["wall"] * samples / 1000
        result["fer"] = {
            "ms_per_sample": each,
            "faces_per_sample": fer_faces / count,
            "whole_wall": whole,
            "times_slower": {name: whole / cost.wall for name, cost in steady.items()},
        }
    return result


def _each(cost: Cost, count: int) -> dict[str, float]:
    return {"wall": 1000 * cost.wall / count, "cpu": 1000 * cost.cpu / count}


def describe(result: dict[str, Any]) -> Iterator[str]:
    """The figures as tables."""
    samples = result["samples"]
    yield f"{result['video']}; least of all rounds, load {result['load']:.1f} at the end\n"
    rows = [
        ["decoding, no conversion", result["decode"]["wall"], result["decode"]["cpu"]],
        ["reading as the run does", result["read"]["wall"], result["read"]["cpu"]],
        *([f"{name}, no start-up", cost["wall"], cost["cpu"]] for name, cost in result["steady"].items()),
    ]
    fer = result.get("fer")
    if fer:
        cpu = result["decode"]["cpu"] + fer["ms_per_sample"]["cpu"] * samples / 1000
        rows.append(["decoding, and fer for each sample", fer["whole_wall"], cpu])
    reading, decoding = result["read"]["wall"], result["decode"]["wall"]
    yield table(
        ("", "wall s", "cpu s", "cpu ms a sample", "x reading", "x decoding"),
        [[n, w, c, 1000 * c / samples, w / reading, w / decoding] for n, w, c in rows],
    )
    yield f"\nstages alone, {result['faces_per_sample']:.2f} faces a sample\n"
    stage_rows = [
        [name.replace("_", " "), result[name]["wall"], result[name]["cpu"]]
        for name in (
            "detect_ms_per_sample",
            "pose_ms_per_sample",
            "crop_ms_per_sample",
            "classify_ms_per_face",
        )
        if result[name]
    ]
    if fer:
        each = fer["ms_per_sample"]
        stage_rows.append([f"fer ({fer['faces_per_sample']:.2f} faces a sample)", each["wall"], each["cpu"]])
    yield table(("", "wall ms", "cpu ms"), stage_rows)
    yield "\nwhole commands\n"
    yield table(
        ("", "wall s", "cpu s", "first sample s", "peak MB"),
        [
            [name, found["cost"]["wall"], found["cost"]["cpu"], found["first_sample"], found["peak_mb"]]
            for name, found in result["runs"].items()
        ],
    )
    over = min(result["over_reading"].values())
    yield f"\na run takes {over:.2f} times reading (goal: {GOAL_READING:g})"
    if fer:
        yield f"and is {max(fer['times_slower'].values()):.1f} times as fast as fer (goal: {GOAL_FER:g})"


# ---------------------------------------------------------------------------------------- growth


def clip_of_faces(path: Path, size: tuple[int, int], seconds: float, faces: int, rate: int = 30) -> Path:
    """An H.264 clip, `size` width and height, in which that many portraits drift about a grid."""
    width, height = size
    portrait = data.astronaut()[:240, 100:340]
    columns = max(1, int(np.ceil(np.sqrt(faces * width / height))))
    rows = max(1, -(-faces // columns))
    side = int(0.9 * min(width / columns, height / rows))
    tile = cv2.resize(portrait, (side, side), interpolation=cv2.INTER_AREA)
    texture = np.random.default_rng(0).integers(60, 120, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    ground = cv2.resize(texture, size, interpolation=cv2.INTER_CUBIC)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "g": str(rate)})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * rate)):
            picture: np.ndarray = ground.copy()
            drift = 0.05 * side * np.array([np.sin(number / 20), np.cos(number / 25)])
            for place in range(faces):
                cell = np.array([(place % columns) * width / columns, (place // columns) * height / rows])
                left, top = (cell + 0.05 * side + drift).astype(int).clip(0)
                there = picture[top : top + side, left : left + side]
                there[:] = tile[: there.shape[0], : there.shape[1]]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


RESOLUTIONS: Final = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}
SWEEP_S: Final = 30.0


def growth(minutes: Sequence[float]) -> dict[str, Any]:
    """Seconds of a run, start-up aside, and of reading alone, as one thing grows at a time."""
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        start_up = run(clip_of_faces(scratch / "start.mp4", (640, 360), 1, 1), scratch).cost

        def point(label: str, video: Path, fps: str = "5") -> dict[str, Any]:
            costs: dict[str, list[Cost]] = {}
            with measured(costs, "read"):
                samples, _ = read(video, Fraction(fps))
            found = run(video, scratch, "--fps", fps)
            steady = found.cost - start_up
            return {
                "at": label,
                "samples": samples,
                "read": asdict(costs["read"][0]),
                "run": asdict(steady),
                "peak_mb": found.peak_mb,
            }

        def grown(base: Path, seconds: float) -> Path:
            repeat_packets(base, scratch / "grown.mp4", seconds)
            return scratch / "grown.mp4"

        base = clip_of_faces(scratch / "base.mp4", (640, 360), 20, 1)
        results["minutes of video"] = [point(f"{m:g}", grown(base, 60 * m)) for m in minutes]
        results["resolution"] = [
            point(name, grown(clip_of_faces(scratch / f"{name}.mp4", size, 5, 1), SWEEP_S))
            for name, size in RESOLUTIONS.items()
        ]
        results["faces in every frame"] = [
            point(str(count), grown(clip_of_faces(scratch / f"{count}.mp4", (1280, 720), 5, count), SWEEP_S))
            for count in (0, 1, 4, 9, 16)
        ]
        results["samples a second"] = [
            point("every frame" if fps == "0" else fps, grown(base, SWEEP_S), fps)
            for fps in ("1", "5", "15", "0")
        ]
    return results


def plot(results: dict[str, Any], path: Path) -> None:
    """One column for each thing that grows: processor time above, memory below."""
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, len(results), figsize=(13, 5), layout="constrained", sharey="row")
    for (above, below), (name, points) in zip(panels.T, results.items(), strict=True):
        places = range(len(points))
        # Processor time: it is the same on a busy machine.
        above.bar([p - 0.2 for p in places], [p["run"]["cpu"] for p in points], 0.4, label="run")
        above.bar([p + 0.2 for p in places], [p["read"]["cpu"] for p in points], 0.4, label="reading alone")
        above.set_yscale("log")
        below.bar(places, [p["peak_mb"] / 1000 for p in points], 0.4, color="#8c8c8c")
        below.axhline(MEMORY_GOAL_GB, color="#d55e00", linewidth=1)
        for axes in (above, below):
            axes.set_xticks(list(places), [p["at"] for p in points])
        below.set_xlabel(name)
    panels[0, 0].set_ylabel("processor seconds,\nstart-up aside")
    panels[1, 0].set_ylabel("peak memory, GB")
    panels[0, 0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def growth_table(results: dict[str, Any]) -> str:
    """The points behind the plot."""
    return table(
        (
            "what grows",
            "at",
            "samples",
            "read s",
            "run s",
            "read cpu s",
            "run cpu s",
            "x reading, cpu",
            "peak MB",
        ),
        [
            [
                name,
                p["at"],
                str(p["samples"]),
                p["read"]["wall"],
                p["run"]["wall"],
                p["read"]["cpu"],
                p["run"]["cpu"],
                p["run"]["cpu"] / p["read"]["cpu"],
                p["peak_mb"],
            ]
            for name, points in results.items()
            for p in points
        ],
    )


@click.group()
def main() -> None:
    """Measure how fast a run is."""


_json_option: Callable[[Any], Any] = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.command("compare")
@click.argument("video", type=click.Path(exists=True, path_type=Path))
@click.option("--seconds", default=300.0, show_default=True, help="Repeat the video until it is this long.")
@click.option("--rounds", default=2, show_default=True, help="Take the least of so many.")
@click.option("--fer-python", metavar="PYTHON", help="An interpreter that has fer 25.10 installed.")
@_json_option
def _compare(video: Path, seconds: float, rounds: int, fer_python: str | None, as_json: bool) -> None:
    """Reading, stages, whole runs and fer, side by side."""
    result = compare(video, seconds, rounds, fer_python)
    for line in [json.dumps(result, indent=1)] if as_json else describe(result):
        click.echo(line)


@main.command("growth")
@click.option("--minutes", multiple=True, type=float, default=(1, 10, 60), show_default=True)
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw into this file.")
@_json_option
def _growth(minutes: tuple[float, ...], picture: Path | None, as_json: bool) -> None:
    """Length, resolution, faces and samples a second, one at a time."""
    results = growth(minutes)
    click.echo(json.dumps(results, indent=1) if as_json else growth_table(results))
    if picture:
        plot(results, picture)


if __name__ == "__main__":
    main()
