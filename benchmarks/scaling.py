"""What a large run costs, from measured stage times, and where more GPU workers stop helping.

    python benchmarks/scaling.py measure VIDEO... [--model NAME] > rates.json
    python benchmarks/scaling.py cost rates.json
    python benchmarks/scaling.py simulate rates.json

`measure` runs the whole pipeline over the videos with one thread a process, and prints as JSON what an
hour of such video takes: core seconds by stage, records and the bytes they travel in, and bytes of tables.
The decoder's time is the CPU time of its child processes; detection and inference are timed around
their calls; the rest of the process's CPU time is `other` (crops, tracking, tables, Beam itself).

`cost` multiplies them up to 10,000 hours. `simulate` plays the segments of 10,000 hours of video
through workers with 8 vCPUs and, where they have one, a GPU that serves one batch at a time. What a
GPU would bring was NOT measured: it is a parameter (how many times faster than one core here), and so
are the start-up time of a worker and the bandwidth at which it reads shuffled crops.
"""

import argparse
import heapq
import json
import os
import pickle
import resource
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

# Before TensorFlow and OpenCV start: one thread a process, so that seconds are core seconds.
for _name in ("AFFECTLINE_CORES", "TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np  # noqa: E402

from models.classify.spec import ModelSpec  # noqa: E402
from schemas.elements import Face, Sample, Video  # noqa: E402
from schemas.settings import Settings  # noqa: E402

Rates = dict[str, float]

HOURS: Final = 10_000
SLOTS: Final = 8  # segments that a worker with 8 vCPUs has in work
CPU_STAGES: Final = ("decode", "detect", "infer", "other")


def measure(paths: Sequence[str], model: str) -> Rates:
    """Run the pipeline over videos and put what it took into amounts for an hour of video."""
    import cv2

    from models.classify.spec import find_model
    from pipeline.build import Execution
    from pipeline.run.local import run_wave, worker_environment
    from schemas.tables import TABLES
    from transforms.steps import metrics
    from transforms.tables.receipts import new_folder
    from transforms.video.inputs import find_videos

    cv2.setNumThreads(1)
    settings, found = Settings(model=model), find_model(model)
    videos = find_videos(paths)
    with tempfile.TemporaryDirectory() as out:
        execution = Execution(
            out, segment_seconds=60, segment_timeout=300, receipts=new_folder(out), batch_size=64
        )
        before = _cpu_seconds()
        with worker_environment(1) as workers:
            result = run_wave(videos, settings, found, execution, workers, beam_options=())
        process, children = (after - start for after, start in zip(_cpu_seconds(), before, strict=True))
        counted = metrics.measured(result)
        table_bytes = sum(
            path.stat().st_size for table in TABLES for path in Path(out, table).rglob("*.parquet")
        )

    def amount(name: str) -> float:
        value = counted[name]
        return float(value if isinstance(value, int) else value.sum)

    hours = amount("video_ms") / 3_600_000
    detect, infer = amount("detect_ms") / 1000, amount("infer_ms") / 1000
    face, crop, sample = _record_bytes(videos, settings, found.spec)
    return {
        "seconds_of_video": round(hours * 3600, 1),
        "decode_core_s": children / hours,
        "detect_core_s": detect / hours,
        "infer_core_s": infer / hours,
        "other_core_s": max(0.0, process - detect - infer) / hours,
        "samples": amount("samples") / hours,
        "faces": amount("faces") / hours,
        "face_bytes": face,
        "crop_bytes": crop,
        "sample_bytes": sample,
        "video_bytes": sum(video.size_bytes for video in videos) / hours,
        "table_bytes": table_bytes / hours,
    }


def _cpu_seconds() -> tuple[float, float]:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    own, children = (usage.ru_utime + usage.ru_stime for usage in usages)
    return own, children


def _record_bytes(videos: Sequence[Video], settings: Settings, spec: ModelSpec) -> tuple[float, float, float]:
    """Mean bytes of a face and of a sample in their blocks, and of a FaceCrop, from the first faces found."""
    from models.detectors import make_detector
    from models.mesh import load_mesh
    from transforms.faces.look import look_at
    from transforms.faces.thumbnails import carries_thumbnails
    from transforms.faces.view import see_faces
    from transforms.tables.blocks import make_block
    from transforms.video.decoder import Decoder
    from transforms.video.records import SampledFrame

    detector = make_detector(settings.detector, settings.min_face)
    faces: list[Face] = []
    crops: list[int] = []
    samples: list[Sample] = []
    with Decoder() as decoder:
        for video in videos:
            probe = decoder.probe(video.uri)
            size = probe.width, probe.height
            for frame in decoder.read(video.uri, 0, 10_000_000, probe.zero_pts, size, settings.sampling_rate):
                if not isinstance(frame, SampledFrame):
                    continue
                [views] = see_faces(detector, load_mesh(), [frame.image])
                thumbnails = carries_thumbnails(frame.sample, frame.pts_us, settings.sampling_rate)
                sample, found = look_at("video-0123456789", frame, views, spec, thumbnails)
                samples.append(sample)
                crops += [len(pickle.dumps(crop)) for crop in found]
                faces += [crop.face._replace(raw=[1 / 7] * 7) for crop in found]
    face_block, sample_block = make_block(faces, ""), make_block(samples, "")
    return (
        len(face_block.content) / len(faces),
        float(np.mean(crops)),
        len(sample_block.content) / len(samples),
    )


def cost(rates: Rates) -> Iterator[str]:
    """Lines on 10,000 hours: core hours by stage, bytes shuffled, files."""
    yield f"for {HOURS:,} hours of video like the {rates['seconds_of_video']:.0f} s measured"
    for stage in CPU_STAGES:
        seconds = rates[f"{stage}_core_s"]
        yield f"  {stage:<8}{seconds * HOURS / 3600:>10,.0f} core hours ({seconds:,.0f} core s an hour)"
    total = sum(rates[f"{stage}_core_s"] for stage in CPU_STAGES) * HOURS / 3600
    yield f"  all     {total:>10,.0f} core hours = {total / 8:,.0f} hours of a worker with 8 vCPUs"
    rows = rates["faces"] * rates["face_bytes"] + rates["samples"] * rates["sample_bytes"]
    crops = rates["faces"] * rates["crop_bytes"]
    for what, amount in (
        ("rows shuffled to their video", rows),
        ("crops shuffled with --separate-gpu-stage", crops),
        ("videos read once", rates["video_bytes"]),
        ("tables written", rates["table_bytes"]),
    ):
        yield f"  {what:<42}{amount * HOURS / 1e9:>10,.1f} GB"
    for copies, why in (
        (61, "every minute read on its own"),
        (7, "ten minutes together"),
        (2, "--segment-seconds 0"),
    ):
        read = rates["video_bytes"] * HOURS * copies / 1e9
        yield f"  1-hour videos, {why + ', at most':<41}{read:>9,.0f} GB"
    for minutes in (1, 10, 60):
        files = HOURS * 60 // minutes * 5
        yield f"  files written with videos of {minutes:>2} minutes{'':<8}{files:>12,}"


def segment_hours(hours: float, seed: int = 1) -> np.ndarray:
    """Lengths in hours of the segments of many videos, one of them 24 hours; 60 s each, the last shorter."""
    random = np.random.default_rng(seed)
    lengths = np.minimum(random.lognormal(np.log(0.15), 1.0, size=round(hours / 0.25)), 12)
    lengths = np.append(lengths * (hours - 24) / lengths.sum(), 24.0)
    pieces = [np.append(np.full(int(length * 60), 1 / 60), length % (1 / 60)) for length in lengths]
    # How hard a segment is differs: faces in it, and codec.
    segments = np.concatenate(pieces)
    return random.permutation(segments * random.lognormal(-0.125, 0.5, size=len(segments)))


def play(
    segments: np.ndarray, workers: int, cpu_s: float, gpu_s: float, start_s: float
) -> tuple[float, float]:
    """Seconds until all segments are done, and the share of it that the GPUs were busy.

    cpu_s, gpu_s: seconds that an hour of video takes on a slot, and on the worker's one GPU.
    """
    slots = [(start_s, worker) for worker in range(workers) for _ in range(SLOTS)]
    heapq.heapify(slots)
    gpu_free = [start_s] * workers
    for hours in segments.tolist():
        free, worker = slots[0]
        ready = free + hours * cpu_s
        gpu_free[worker] = max(ready, gpu_free[worker]) + hours * gpu_s if gpu_s else ready
        heapq.heapreplace(slots, (gpu_free[worker] if gpu_s else ready, worker))
    busy = segments.sum() * gpu_s / workers
    end = max(free for free, _ in slots)
    return end, busy / (end - start_s)


def simulate(rates: Rates, speedups: Sequence[float], start_s: float, bandwidth: float) -> Iterator[str]:
    """Tables of the hours a run takes, by layout, number of workers and assumed speed of the GPU."""
    segments = segment_hours(HOURS)
    cpu = {stage: rates[f"{stage}_core_s"] for stage in CPU_STAGES}
    yield f"{HOURS:,} hours of video, {len(segments):,} segments; hours of the whole run (GPU busy)"
    yield ""
    yield "workers " + f"{'CPU only':>10}" + "".join(f"{f'GPU everywhere, {s:g}x':>26}" for s in speedups)
    for workers in (5, 10, 20, 50, 100, 200):
        end, _ = play(segments, workers, sum(cpu.values()), 0.0, start_s)
        line = f"{workers:>7} {end / 3600:>10.1f}"
        for speedup in speedups:
            on_gpu = (cpu["detect"] + cpu["infer"]) / speedup
            end, busy = play(segments, workers, cpu["decode"] + cpu["other"], on_gpu, start_s)
            line += f"{end / 3600:>18.1f} ({busy:>4.0%}) "
        yield line
    yield ""
    crop_bytes = rates["faces"] * rates["crop_bytes"] * HOURS
    yield f"--separate-gpu-stage behind 100 CPU workers; {crop_bytes / 1e9:,.0f} GB of crops to read"
    first, _ = play(segments, 100, cpu["decode"] + cpu["detect"] + cpu["other"], 0.0, start_s)
    yield (
        f"GPU workers {'CPU stage':>12}"
        + "".join(f"{f'then {s:g}x':>14}" for s in speedups)
        + f"{'by reading':>14}"
    )
    for workers in (1, 2, 5, 10, 20, 50):
        reading = crop_bytes / bandwidth / workers
        seconds = [max(cpu["infer"] * HOURS / s / workers, reading) + start_s for s in speedups]
        yield (
            f"{workers:>11} {first / 3600:>12.1f}"
            + "".join(f"{s / 3600:>14.2f}" for s in seconds)
            + (f"{reading / 3600:>14.2f}")
        )


def main() -> None:
    """Run the command asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    measuring = commands.add_parser("measure")
    measuring.add_argument("videos", nargs="+")
    measuring.add_argument("--model", default="default")
    for name in ("cost", "simulate"):
        commands.add_parser(name).add_argument("rates", type=Path)
    simulating = commands.choices["simulate"]
    simulating.add_argument("--speedups", type=float, nargs="+", default=[3, 10, 30])
    simulating.add_argument(
        "--start-s", type=float, default=300.0, help="from the job's start to a ready worker"
    )
    simulating.add_argument("--bandwidth", type=float, default=200e6, help="bytes a second into one worker")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        rates = {name: round(value, 1) for name, value in measure(arguments.videos, arguments.model).items()}
        print(json.dumps(rates, indent=2))
        return
    rates = json.loads(arguments.rates.read_text(encoding="utf-8"))
    lines = (
        cost(rates)
        if arguments.command == "cost"
        else simulate(rates, arguments.speedups, arguments.start_s, arguments.bandwidth)
    )
    for line in lines:
        print(line)


if __name__ == "__main__":
    main()
