"""One video from its file to its timeline, in this process: what the steps do, one after the other."""

import tempfile
from collections.abc import Callable, Iterable, Iterator

from schemas.elements import Block, Face, Failure, Sample, Segment, SegmentEnd, Video, VideoInfo
from schemas.settings import Settings
from transforms.faces.analyzer import Analyzer
from transforms.faces.look import FaceCrop, classify, look_at_chunk
from transforms.faces.view import see_faces
from transforms.tables.blocks import Packer
from transforms.timelines.gather import Timeline, gather, smooth_tracks, track
from transforms.video.chunks import FrameChunk
from transforms.video.inputs import find_video
from transforms.video.sampling import VideoReader, plan_video

_FACES_AT_ONCE = 64  # enough to keep all cores busy
Watch = Callable[[float, float], None]


def _nobody(done_s: float, of_s: float) -> None:
    """Watches."""


def process_video(path: str, analyzer: Analyzer, settings: Settings, watch: Watch = _nobody) -> Timeline:
    """The timeline of a video, whose tables (see `tabulate`) have the very rows that a run writes.

    Memory holds a few frames and, to the end, a few hundred bytes of each face.

    Args:
        path: a file, or a URI that Beam reads.
        analyzer: the detector and the model that the settings name.
        settings: what is sampled, kept and smoothed.
        watch: told now and then how many seconds of video are done, of how many.

    Raises:
        UsageError: `path` names no video, or several.
    """
    video = find_video(path)
    with VideoReader() as reader:
        return process_planned(video, plan_video(video, reader.probe, 0), reader, analyzer, settings, watch)


def process_planned(
    video: Video,
    planned: Iterable[VideoInfo | Segment | Failure],
    reader: VideoReader,
    analyzer: Analyzer,
    settings: Settings,
    watch: Watch = _nobody,
) -> Timeline:
    """As `process_video`, of those segments that were planned alone."""
    infos: list[VideoInfo] = []
    ends: list[SegmentEnd] = []
    failures: list[Failure] = []
    samples: list[Block] = []
    faces: list[Block] = []
    with tempfile.TemporaryDirectory(prefix="affectline-") as folder:
        sample_packer, face_packer = Packer(folder), Packer(folder)
        for item in _records(planned, reader, analyzer, settings, watch):
            match item:
                case VideoInfo():
                    infos.append(item)
                case SegmentEnd():
                    ends.append(item)
                case Failure():
                    failures.append(item)
                case Sample():
                    samples += sample_packer.add(item)
                case Face():
                    faces += face_packer.add(item)
        samples += sample_packer.flush()
        faces += face_packer.flush()
        timeline = track(gather(video, infos, ends, samples, faces, failures))
    return smooth_tracks(timeline, settings)


def _records(
    planned: Iterable[VideoInfo | Segment | Failure],
    reader: VideoReader,
    analyzer: Analyzer,
    settings: Settings,
    watch: Watch,
) -> Iterator[VideoInfo | Failure | SegmentEnd | Sample | Face]:
    for item in planned:
        if isinstance(item, Segment):
            yield from _read(item, reader, analyzer, settings, watch)
        else:
            yield item


def _read(
    segment: Segment, reader: VideoReader, analyzer: Analyzer, settings: Settings, watch: Watch
) -> Iterator[Failure | SegmentEnd | Sample | Face]:
    waiting: list[FaceCrop] = []
    for item in reader.read(segment, settings.sampling_rate):
        if not isinstance(item, FrameChunk):
            yield item
            continue
        found = see_faces(analyzer.detector, analyzer.mesh, [frame.image for frame in item.frames])
        for sample, crops in look_at_chunk(item, found, analyzer.spec, settings):
            yield sample
            waiting += crops
        watch(item.frames[-1].pts_us / 1e6, segment.listed_us / 1e6)
        if len(waiting) >= _FACES_AT_ONCE:
            yield from classify(waiting, analyzer.classifier)
            waiting = []
    if waiting:
        yield from classify(waiting, analyzer.classifier)
