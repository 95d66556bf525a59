"""The whole pipeline on one page."""

from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.transforms.util import ReshufflePerKey

from models.classify.spec import ModelRef
from schemas.elements import Segment, Video
from schemas.settings import Settings
from transforms.remote import is_remote
from transforms.steps import plan_segments, sample_frames
from transforms.steps.classify_emotions import ClassifyEmotions
from transforms.steps.detect_faces import DetectFaces
from transforms.steps.pack_rows import Pack
from transforms.steps.plan_segments import PlanSegments
from transforms.steps.sample_frames import SampleFrames
from transforms.steps.track_faces import SmoothEmotions, TrackFaces
from transforms.steps.write_tables import Resmooth, WriteTables
from transforms.tables.resume import Resume, State
from transforms.timelines.gather import Timeline

# Segments that are worth a copy of a remote video: few copies, and still many tasks for many workers.
_SEGMENTS_A_COPY = 10


@dataclass(frozen=True)
class Execution:
    """How the work is done; none of it changes what is written."""

    out: str  # "": nothing is written
    segment_seconds: float  # 0: each video in one piece
    segment_timeout: float  # seconds a decoder may take for a minute of video
    receipts: str  # folder below `out` for what was written, as data; "": nobody asks
    batch_size: int | None  # faces classified at once; None: as many as pay
    gpu: bool = False  # classify on a GPU or not at all
    rows_folder: str = ""  # local, in which rows wait to be grouped by video; "": they travel themselves
    gpu_stage: str = ""  # the accelerator of workers that only classify; "": on those that find faces
    retries: bool = False  # the runner tries again what raises: so does what the disk or network refused


def unfinished(
    videos: beam.PCollection[Video], settings: Settings, model: ModelRef, execution: Execution, resume: Resume
) -> None:
    """What is left to do with each video: nothing, to smooth it anew from its tables, or all."""

    def part(video: Video, parts: int) -> int:
        state = resume.state(video, execution.out, settings)
        return 2 if state.needs_decoding else int(state == State.OTHER_SMOOTHING)

    _, smoothed, decoded = videos | "WhatIsLeft" >> beam.Partition(part, 3)
    _ = smoothed | Resmooth(settings, execution.out, execution.receipts)
    emotion_timelines(decoded, settings, model, execution)


def emotion_timelines(
    videos: beam.PCollection[Video], settings: Settings, model: ModelRef, execution: Execution
) -> beam.PCollection[str]:
    """Videos to tables; the ids of those whose tables are complete."""
    return timelines(videos, settings, model, execution) | WriteTables(
        settings, execution.out, execution.receipts, execution.segment_timeout
    )


def timelines(
    videos: beam.PCollection[Video], settings: Settings, model: ModelRef, execution: Execution
) -> beam.PCollection[Timeline]:
    """Videos to their timelines, tracked and smoothed."""
    # Frames can be numbered only from the start: every frame means every video in one piece.
    segment_us = round(execution.segment_seconds * 1_000_000) if settings.sampling_rate else 0
    planned = videos | PlanSegments(segment_us, execution.segment_timeout, execution.retries)
    frames = (
        planned.segments
        # Frames are large and never travel: what follows is one fused stage up to the face rows.
        | beam.WithKeys(read_together)
        | ReshufflePerKey()
        | beam.Values()
        | SampleFrames(settings.sampling_rate, execution.segment_timeout, execution.retries)
    )
    found = frames.chunks | DetectFaces(settings, model.spec)
    crops = found.crops
    classify = ClassifyEmotions(model, execution.batch_size, execution.gpu)
    if execution.gpu_stage:
        crops |= "ToGpuWorkers" >> beam.Reshuffle()
        classify = classify.with_resource_hints(accelerator=execution.gpu_stage)
    pack = Pack(execution.rows_folder)
    records = {
        "video": videos,
        "infos": planned[plan_segments.INFOS],
        "ends": frames[sample_frames.ENDS],
        "samples": (
            frames[sample_frames.SAMPLES] | "PackLost" >> pack,
            found[sample_frames.SAMPLES] | "PackSamples" >> pack,
        )
        | "Samples" >> beam.Flatten(),
        "faces": crops | classify | "PackFaces" >> pack,
        "failures": (planned[plan_segments.FAILURES], frames[sample_frames.FAILURES])
        | "Failures" >> beam.Flatten(),
    }
    return (
        {kind: rows | f"Key {kind}" >> beam.WithKeys(_video_id) for kind, rows in records.items()}
        | "GroupByVideo" >> beam.CoGroupByKey()
        | TrackFaces()
        | SmoothEmotions(settings)
    )


def read_together(segment: Segment) -> str:
    """A key that segments share when one worker shall read them: neighbours in a video to be copied first."""
    group = segment.number // _SEGMENTS_A_COPY if is_remote(segment.video.uri) else segment.number
    return f"{segment.video.video_id}/{group}"


def _video_id(record: Any) -> str:
    video_id: str = record.video_id
    return video_id
