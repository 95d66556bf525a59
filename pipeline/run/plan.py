"""`affectline plan`: what a run would do, from opening the inputs and timing a few seconds of them."""

import io
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq

from models.classify.spec import ModelRef
from pipeline.run.length import length
from pipeline.run.options import SettingsOptions
from pipeline.run.settings import check_settings
from pipeline.run.stderr import redirect_stderr
from schemas.elements import Segment, Video, VideoInfo
from schemas.errors import UnreadableVideoError
from schemas.settings import Settings
from transforms.faces.analyzer import Analyzer
from transforms.process import process_planned
from transforms.timelines.gather import Timeline
from transforms.timelines.tabulate import is_variable_rate, tabulate
from transforms.video.inputs import find_videos
from transforms.video.records import Probe
from transforms.video.sampling import VideoReader, video_info

_TIMED_VIDEOS = 3  # of different picture sizes
_TIMED_US = 5_000_000  # from the start of each


@dataclass(frozen=True)
class Plan:
    """What a run over these inputs would amount to, with one worker on this machine."""

    videos: int
    readable: int
    hours: float
    samples: int
    seconds: float
    memory_bytes: int  # of the process and its decoder
    output_bytes: int
    problems: dict[str, list[str]]  # uri: one sentence each


@dataclass(frozen=True)
class _Trial:
    """What the first seconds of one video cost."""

    pixels: int
    seconds_per_sample: float
    bytes_per_sample: float
    bytes_per_video: float


def plan_inputs(inputs: Sequence[str], options: SettingsOptions) -> Plan:
    """The plan of a run over inputs as the user wrote them; UsageError when there can be none."""
    settings, model = check_settings(options)
    videos = find_videos(inputs)
    with redirect_stderr(os.devnull):
        return make_plan(videos, settings, model)


def make_plan(videos: Sequence[Video], settings: Settings, model: ModelRef) -> Plan:
    """Open every input, do the real work on a few seconds of some, and reckon the rest from them."""
    probes: list[tuple[Video, Probe]] = []
    problems: dict[str, list[str]] = {}
    started = time.monotonic()
    analyzer = Analyzer.load(model, settings.detector, settings.min_face, settings.detector_weights)
    start_up = time.monotonic() - started
    with VideoReader() as reader:
        for video in videos:
            try:
                probe = reader.probe(video)
            except (UnreadableVideoError, OSError) as error:
                problems[video.uri] = [str(error)]
                continue
            probes.append((video, probe))
            if found := list(_notable(probe)):
                problems[video.uri] = found
        trials = [_try(video, probe, reader, analyzer, settings) for video, probe in _spread(probes)]
    samples = [_samples(probe, settings.sampling_rate) for _, probe in probes]
    costs = [
        min(trials, key=lambda trial: abs(trial.pixels - probe.width * probe.height)) for _, probe in probes
    ]
    return Plan(
        videos=len(videos),
        readable=len(probes),
        hours=sum(probe.duration_us for _, probe in probes) / 3.6e9,
        samples=sum(samples),
        seconds=start_up + sum(n * cost.seconds_per_sample for n, cost in zip(samples, costs, strict=True)),
        memory_bytes=_peak_memory(),
        output_bytes=round(
            sum(
                cost.bytes_per_video + n * cost.bytes_per_sample
                for n, cost in zip(samples, costs, strict=True)
            )
        ),
        problems=problems,
    )


def _notable(probe: Probe) -> Iterator[str]:
    """What a user may want to know of a video before it is processed."""
    yield from probe.problems
    if is_variable_rate(probe.min_step_us, probe.max_step_us):
        yield (
            f"The frame rate varies: {probe.min_step_us / 1000:.0f} to {probe.max_step_us / 1000:.0f} ms "
            "between frames."
        )
    if probe.rotation:
        yield f"The picture is stored turned by {probe.rotation} degrees; boxes will be upright."
    if probe.one_piece:
        yield "The file makes sense only from its start; the video is read in one piece."


def _samples(probe: Probe, rate: Fraction) -> int:
    """Samples to expect: at most one a frame."""
    return min(probe.frames, int(probe.duration_us * rate // 1_000_000) + 1) if rate else probe.frames


def _spread(probes: Sequence[tuple[Video, Probe]]) -> list[tuple[Video, Probe]]:
    """A few videos, from the smallest picture to the largest."""
    by_size = sorted(probes, key=lambda item: item[1].width * item[1].height)
    chosen = np.linspace(0, len(by_size) - 1, min(_TIMED_VIDEOS, len(by_size))).round().astype(int)
    return [by_size[index] for index in chosen]


def _try(video: Video, probe: Probe, reader: VideoReader, analyzer: Analyzer, settings: Settings) -> _Trial:
    """Do the first seconds of a video twice, since graphs are built on the way, and time the second."""
    stretch = (0, _TIMED_US, probe.zero_pts, probe.width, probe.height)
    segment = Segment(video, 0, *stretch, probe.duration_us, probe.frames)
    planned: list[VideoInfo | Segment] = [video_info(video, probe, [segment]), segment]
    for _ in range(2):
        started = time.monotonic()
        timeline = process_planned(video, planned, reader, analyzer, settings)
        seconds = time.monotonic() - started
    empty = process_planned(video, [video_info(video, probe, [])], reader, analyzer, settings)
    count = max(1, len(timeline.samples.sample))
    bytes_per_video = _table_bytes(empty, settings)
    return _Trial(
        pixels=probe.width * probe.height,
        seconds_per_sample=seconds / count,
        bytes_per_sample=max(0, _table_bytes(timeline, settings) - bytes_per_video) / count,
        bytes_per_video=bytes_per_video,
    )


def _table_bytes(timeline: Timeline, settings: Settings) -> int:
    size = 0
    for table in tabulate(timeline, settings).values():
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        size += sink.tell()
    return size


def _peak_memory() -> int:
    """Bytes that this process and its largest child have held at most."""
    unit = 1 if sys.platform == "darwin" else 1024
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (own + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * unit


def plan_lines(plan: Plan) -> Iterator[str]:
    """The plan as lines to print."""
    yield f"videos   {plan.readable} of {plan.videos} readable, {length(3600 * plan.hours)} of video"
    yield f"samples  {plan.samples}"
    yield f"time     about {length(plan.seconds)} with one worker on this machine"
    yield f"memory   about {plan.memory_bytes / 1e9:.1f} GB a worker"
    yield f"output   about {plan.output_bytes / 1e6:.1f} MB of tables"
    if plan.problems:
        yield ""
        for uri, sentences in plan.problems.items():
            yield f"{uri}: {' '.join(sentences)}"
