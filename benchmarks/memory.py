"""Memory and rate of a local run: does either change with the number of videos, and with the length of one?

    python -m benchmarks.memory videos [--videos 200] [--seconds 10] [--wave-minutes 5] [--plot FILE.png]
        [-- any option of run]
    python -m benchmarks.memory rows [--hours 10] [--faces 4]

`videos` makes that many clips, runs `affectline run` on them in a process of its own, and samples the memory
of that process and its decoders (resident, in MB) and how much video its log says is done. It prints the peak
and the seconds of video done a second within each tenth of the run: the same numbers ten times mean flat.
`--videos 5000 --seconds 2` is many short ones, `--videos 1 --seconds 21600` a single one of six hours.

`rows` makes the rows of one long video (5 samples a second, a thumbnail on every second one) and groups,
tracks, smooths and writes them with Beam as a run does: what is left of a run without pictures and networks,
whose share does not grow with the length. It prints what that adds to the process at most.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import apache_beam as beam
import click
import numpy as np
import psutil
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from schemas.elements import OK, Face, Sample, SegmentEnd, Video, VideoInfo
from schemas.settings import Settings
from tests.helpers.clips import astronaut_clip
from transforms.steps.pack_rows import Pack
from transforms.steps.track_faces import SmoothEmotions, TrackFaces
from transforms.steps.write_tables import WriteTables
from transforms.tables.receipts import new_folder
from transforms.timelines.shots import SIGNATURE_BYTES
from transforms.timelines.tracking import APPEARANCE_BYTES
from transforms.video.decoder import TIME_LIMIT_S

_TENTHS = 10
_EVERY_S = 0.5
_DRAWN_S = 60.0
_RATE = 5
_SEGMENT_SAMPLES = 60 * _RATE
_VIDEO = Video("long-0123456789", "/videos/long.mp4", "1-1", 1)


def resident_mb(process: psutil.Process) -> float:
    """Memory of a process and all its children, MB; on Linux what they share counts once."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_full_info().pss if psutil.LINUX else member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


@click.group()
def main() -> None:
    """Measure the memory of a local run."""


@main.command("videos")
@click.option("--videos", default=200, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of each clip.")
@click.option("--wave-minutes", default=5.0, show_default=True)
@click.option("--plot", "picture", type=click.Path(path_type=Path), help="Draw into this file.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def _videos(
    videos: int, seconds: float, wave_minutes: float, picture: Path | None, options: tuple[str, ...]
) -> None:
    """Print peak memory and rate over the course of a run over many videos."""
    with tempfile.TemporaryDirectory() as scratch:
        clips, out = Path(scratch) / "clips", Path(scratch) / "out"
        make_clips(clips, videos, seconds)
        command = [sys.executable, "-m", "pipeline.cli", "run", str(clips), "-o", str(out), "--quiet"]
        command += ["--wave-minutes", str(wave_minutes), "--log-format", "json", *options]
        started, zero = time.monotonic(), time.time()
        run = psutil.Popen(command, stdout=subprocess.DEVNULL)
        memory: list[tuple[float, float]] = []  # seconds, MB
        while run.poll() is None:
            memory.append((time.monotonic() - started, resident_mb(run)))
            time.sleep(_EVERY_S)
        if run.returncode != 0:
            raise click.ClickException(f"The run ended with exit code {run.returncode}.")
        done = [(0.0, 0.0), *_progress(out / "affectline.log", zero)]
    end = memory[-1][0]
    bounds = np.linspace(0, end, _TENTHS + 1)
    at_bounds = np.interp(bounds, *np.array(done).T)
    print(f"{videos} clips of {seconds:g} s in {end:.0f} s; in each tenth of the run:")
    print("      peak MB  seconds of video a second")
    for tenth in range(_TENTHS):
        peak = max((mb for at, mb in memory if bounds[tenth] <= at <= bounds[tenth + 1]), default=0.0)
        rate = (at_bounds[tenth + 1] - at_bounds[tenth]) / (end / _TENTHS)
        print(f"  {tenth + 1:2}  {peak:7.0f}  {rate:25.2f}")
    if picture:
        _plot(memory, done, picture)


def make_clips(folder: Path, videos: int, seconds: float) -> None:
    """Clips of this length; a long one is a minute's packets over and over."""
    from benchmarks.throughput import repeat_packets  # which takes `resident_mb` from here

    folder.mkdir()
    first = folder / "clip-0000.mp4"
    if seconds <= _DRAWN_S:
        astronaut_clip(first, seconds)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            repeat_packets(astronaut_clip(Path(scratch) / "minute.mp4", _DRAWN_S), first, seconds)
    for number in range(1, videos):
        shutil.copy(first, folder / f"clip-{number:04}.mp4")


def _progress(log: Path, zero: float) -> Iterator[tuple[float, float]]:
    """Seconds after `zero`, and the seconds of video that a run had done by then."""
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record["event"] == "progress":
            yield datetime.fromisoformat(record["time"]).timestamp() - zero, record["video_s"]


def _plot(memory: list[tuple[float, float]], done: list[tuple[float, float]], picture: Path) -> None:
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, figsize=(8, 5), layout="constrained", sharex=True)
    above.plot([at / 60 for at, _ in memory], [mb for _, mb in memory])
    above.set_ylabel("memory, MB")
    below.plot([at / 60 for at, _ in done], [seconds / 60 for _, seconds in done])
    below.set_ylabel("minutes of video done")
    below.set_xlabel("minutes")
    for axes in (above, below):
        axes.set_ylim(bottom=0)
    figure.savefig(picture, dpi=110)


def _made_rows(segment: int, samples: int, faces: int) -> Iterator[Sample | Face]:
    """One segment's samples and faces: people who sit beside each other and change their minds."""
    rng = np.random.default_rng(segment)
    jpeg = rng.bytes(1500)
    for number in range(segment * _SEGMENT_SAMPLES, min(samples, (segment + 1) * _SEGMENT_SAMPLES)):
        pts_us = number * 1_000_000 // _RATE
        yield Sample(_VIDEO.video_id, number, pts_us, OK, faces, bytes(SIGNATURE_BYTES))
        for face in range(faces):
            yield Face(
                video_id=_VIDEO.video_id,
                sample=number,
                pts_us=pts_us,
                x=100.0 * face + rng.random(),
                y=50.0,
                w=60.0,
                h=60.0,
                score=0.99,
                yaw=0.0,
                pitch=0.0,
                roll=0.0,
                sharpness=-1.6,
                raw=rng.dirichlet(np.ones(7)).tolist(),
                appearance=bytes([20 * face % 256]) * APPEARANCE_BYTES,
                thumbnail=jpeg if number % 2 == 0 else b"",
            )


def _group_and_write(samples: int, faces: int, scratch: str) -> None:
    """The second half of the pipeline, over made rows."""
    segments = -(-samples // _SEGMENT_SAMPLES)
    info = VideoInfo(_VIDEO.video_id, 640, 360, 1.0, 0, "h264", samples * 1_000_000 // _RATE, segments, [])
    end = SegmentEnd(_VIDEO.video_id, 0, 6 * _SEGMENT_SAMPLES, 0, 33_333, 33_334, [], 1.0)
    pack, settings, out = Pack(scratch), Settings(), f"{scratch}/out"
    with beam.Pipeline(FnApiRunner(), options=PipelineOptions([])) as pipeline:
        made = (
            pipeline
            | beam.Create(range(segments))
            | beam.Reshuffle()
            | beam.FlatMap(_made_rows, samples, faces)
        )
        kinds = {"samples": Sample, "faces": Face}
        records = {
            name: made
            | name >> beam.Filter(isinstance, kind).with_output_types(kind)
            | f"Pack {name}" >> pack
            for name, kind in kinds.items()
        }
        whole = {
            "video": [_VIDEO],
            "infos": [info],
            "ends": [end._replace(number=number) for number in range(segments)],
            "failures": [],
        }
        records |= {name: pipeline | f"Create {name}" >> beam.Create(rows) for name, rows in whole.items()}
        _ = (
            {
                name: rows | f"Key {name}" >> beam.WithKeys(lambda row: row.video_id)
                for name, rows in records.items()
            }
            | beam.CoGroupByKey()
            | TrackFaces()
            | SmoothEmotions(settings)
            | WriteTables(settings, out, new_folder(out), TIME_LIMIT_S)
        )


@main.command("rows")
@click.option("--hours", default=10.0, show_default=True)
@click.option("--faces", default=4, show_default=True, help="In every sample.")
def _rows(hours: float, faces: int) -> None:
    """Print what the rows of one long video add to a run's memory."""
    process, ended, peak = psutil.Process(), threading.Event(), 0.0

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, resident_mb(process))

    before, started = resident_mb(process), time.monotonic()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _group_and_write(round(hours * 3600 * _RATE), faces, scratch)
    finally:
        ended.set()
        watcher.join()
    rows = round(hours * 3600 * _RATE) * faces
    print(f"{hours:g} hours, {faces} faces, {rows:,} rows in {time.monotonic() - started:.0f} s:")
    print(f"  {peak - before:.0f} MB more than before, {1e6 * (peak - before) / rows:.0f} bytes a row")


if __name__ == "__main__":
    main()
