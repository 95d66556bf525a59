"""Memory and rate of a local run: does either change with the number of videos, and with the length of one?

    python -m benchmarks.memory videos [--videos 200] [--seconds 10] [--wave-minutes 5] [--plot FILE.png]
    python -m benchmarks.memory rows [--hours 10] [--faces 4]

`videos` makes that many small clips, runs `affectline run` on them in a process of its own, and samples the
memory of that process and its decoders (resident, in MB) and the number of videos that are done. It prints
the peak and the videos finished a minute within each tenth of the run: the same number ten times means flat.
`--videos 5000 --seconds 2` is many short ones, `--videos 1 --seconds 21600` a single one of six hours, whose
rate is none until it ends.

`rows` makes the rows of one long video (5 samples a second, a thumbnail on every second one) and groups,
tracks, smooths and writes them with Beam as a run does: what is left of a run without pictures and networks,
whose share does not grow with the length. It prints what that adds to the process at most.
"""

import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
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
def _videos(videos: int, seconds: float, wave_minutes: float, picture: Path | None) -> None:
    """Print peak memory and rate over the course of a run over many videos."""
    with tempfile.TemporaryDirectory() as scratch:
        clips, out = Path(scratch) / "clips", Path(scratch) / "out"
        first = astronaut_clip(clips / "clip-0000.mp4", seconds)
        for number in range(1, videos):
            shutil.copy(first, clips / f"clip-{number:04}.mp4")
        command = [sys.executable, "-m", "pipeline.cli", "run", str(clips), "-o", str(out)]
        started = time.monotonic()
        run = psutil.Popen([*command, "--wave-minutes", str(wave_minutes)], stdout=subprocess.DEVNULL)
        samples: list[tuple[float, float, int]] = []  # seconds, MB, videos done
        while run.poll() is None:
            done = sum(1 for _ in out.glob("videos/*/part-0.parquet"))
            samples.append((time.monotonic() - started, resident_mb(run), done))
            time.sleep(_EVERY_S)
        if run.returncode != 0:
            raise click.ClickException(f"The run ended with exit code {run.returncode}.")
    end = samples[-1][0]
    print(f"{videos} clips of {seconds:g} s in {end:.0f} s; in each tenth of the run:")
    print("      peak MB  videos a minute")
    before = 0
    for tenth in range(_TENTHS):
        part = [(mb, done) for at, mb, done in samples if int(at / end * _TENTHS) == tenth]
        peak, done = max((mb for mb, _ in part), default=0.0), max((done for _, done in part), default=before)
        print(f"  {tenth + 1:2}  {peak:7.0f}  {60 * _TENTHS * (done - before) / end:15.1f}")
        before = done
    if picture:
        _plot(samples, picture)


def _plot(samples: list[tuple[float, float, int]], picture: Path) -> None:
    import matplotlib.pyplot as plt

    minutes = [at / 60 for at, _, _ in samples]
    figure, (above, below) = plt.subplots(2, figsize=(8, 5), layout="constrained", sharex=True)
    above.plot(minutes, [mb for _, mb, _ in samples])
    above.set_ylabel("memory, MB")
    below.plot(minutes, [done for _, _, done in samples])
    below.set_ylabel("videos done")
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
