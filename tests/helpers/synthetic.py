"""Tables of videos that never were, made by the pipeline's own last step: people, gaps, shots, failures."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from schemas.elements import DECODE_ERROR, NO_FACE, OK, Failure, SegmentEnd, Video, VideoInfo
from schemas.emotions import EMOTIONS
from schemas.settings import Settings
from transforms.tables.write import write_video
from transforms.timelines.gather import FaceColumns, SampleColumns, Timeline, smooth_tracks
from transforms.timelines.tabulate import tabulate
from transforms.timelines.tracking import APPEARANCE_BYTES
from transforms.video.inputs import video_id

FPS = 5
SETTINGS = Settings(model_sha256="0" * 64)


def face_picture(number: int) -> bytes:
    """A JPEG of a drawn face, another one for each number."""
    hue = (37 * number) % 180
    image = np.full((72, 72, 3), (hue, 90, 200), np.uint8)
    cv2.circle(image, (36, 38), 26, ((hue + 20) % 180, 60, 250), -1, cv2.LINE_AA)
    for x in (27, 45):
        cv2.circle(image, (x, 32), 3, (0, 0, 40), -1, cv2.LINE_AA)
    cv2.ellipse(image, (36, 44), (12, 4 + number % 8), 0, 0, 180, (0, 0, 60), 2, cv2.LINE_AA)
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_HSV2BGR))
    return jpeg.tobytes()


def probabilities(rng: np.random.Generator, count: int) -> np.ndarray:
    """Moods that last some seconds, with the noise of a classifier; float32 [count, 7], rows sum to 1."""
    weights = [0.08, 0.03, 0.08, 0.3, 0.15, 0.11, 0.25]
    moods = rng.choice(len(EMOTIONS), size=count // 20 + 1, p=weights)
    logits = np.repeat(3.5 * np.eye(len(EMOTIONS))[moods], 20, axis=0)[:count]
    kernel = np.hanning(9) / np.hanning(9).sum()
    logits = np.apply_along_axis(np.convolve, 0, logits, kernel, "same") if count > 9 else logits
    logits = logits + rng.normal(0, 0.6, logits.shape)
    raw = np.exp(logits)
    shares: np.ndarray = raw / raw.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


def timeline(
    uri: str,
    seconds: float,
    people: Sequence[tuple[float, float]],
    *,
    lost: tuple[float, float] = (0, 0),
    shots: Sequence[float] = (0,),
    failures: Sequence[tuple[str, int | None, str, str]] = (),
    seed: int = 0,
    fingerprint: str = "1-1",
) -> Timeline:
    """A video's timeline before its tables.

    Args:
        uri: its name; the id is made of the last part.
        seconds: how long it is, sampled 5 times a second.
        people: when each is seen, from and to, in seconds.
        lost: a stretch of time that could not be decoded.
        shots: where shots begin.
        failures: stage, time, type and message of each.
        seed: of the moods.
        fingerprint: of the file.
    """
    rng = np.random.default_rng(seed)
    video = Video(video_id(uri.rpartition("/")[2]), uri, fingerprint, 1000)
    count = round(seconds * FPS)
    pts_us = np.arange(count, dtype=np.int64) * (1_000_000 // FPS)
    decoded = (pts_us < lost[0] * 1e6) | (pts_us >= lost[1] * 1e6)
    shot = (np.searchsorted(np.array(shots) * 1e6, pts_us, side="right") - 1).astype(np.int32)
    seen = [np.flatnonzero((pts_us >= start * 1e6) & (pts_us < end * 1e6) & decoded) for start, end in people]
    sample = np.concatenate([*seen, np.zeros(0, int)]).astype(np.int32)
    track = np.repeat(np.arange(len(people)), [len(rows) for rows in seen]).astype(np.int32)
    raw = np.concatenate([*(probabilities(rng, len(rows)) for rows in seen), np.zeros((0, 7), np.float32)])
    left = 20 + 110 * track + 15 * np.sin(sample / 9)
    boxes = np.stack(
        [left, np.full(len(sample), 40.0), np.full(len(sample), 80.0), np.full(len(sample), 96.0)], 1
    )
    order = np.lexsort((left, sample))
    faces = np.bincount(sample, minlength=count).astype(np.int16)
    columns = FaceColumns(
        sample=sample,
        pts_us=pts_us[sample],
        boxes=boxes.astype(np.float32),
        score=np.full(len(sample), 0.97, np.float32),
        pose=np.stack([25.0 * track, np.full(len(sample), -5.0), np.zeros(len(sample))], 1).astype(
            np.float32
        ),
        sharpness=np.full(len(sample), -1.7, np.float32),
        raw=raw,
        appearance=np.zeros((len(sample), APPEARANCE_BYTES), np.uint8),
        thumbnail=track.astype(np.int64),
        shot=shot[sample],
        track=track,
        smoothed=raw,
    ).take(order)
    status = np.where(~decoded, DECODE_ERROR, np.where(faces > 0, OK, NO_FACE)).astype(object)
    problems = tuple(message for _, _, _, message in failures)
    made = Timeline(
        video=video,
        info=VideoInfo(video.video_id, 640, 360, 1.0, 0, "h264", round(seconds * 1e6), 1, ()),
        ends=[
            SegmentEnd(video.video_id, 0, count * 5, count * 200_000 - 40_000, 40_000, 40_000, problems, 1.5)
        ],
        samples=SampleColumns(np.arange(count, dtype=np.int32), pts_us, status, faces, shot),
        faces=columns,
        thumbnails=[face_picture(number) for number in range(len(people))],
        failures=[
            Failure(video.video_id, uri, stage, time_us, kind, message)
            for stage, time_us, kind, message in failures
        ],
    )
    known = ~np.isnan(raw).any(axis=0)
    classes = tuple(name for name, is_known in zip(EMOTIONS, known, strict=True) if is_known)
    return smooth_tracks(made, Settings(smoothing="ema", classes=classes))


def unreadable(uri: str, message: str) -> Timeline:
    """The timeline of a file of which nothing can be read."""
    video = Video(video_id(uri.rpartition("/")[2]), uri, "0-0", 0)
    empty = timeline(uri, 1, [])
    no_samples = {name: value[:0] for name, value in vars(empty.samples).items()}
    failure = Failure(video.video_id, uri, "PlanSegments", None, "UnreadableVideoError", message)
    return Timeline(video, None, [], SampleColumns(**no_samples), empty.faces, [], [failure])


EVIL_NAME = "<img src=x onerror=alert(1)>.mp4"
EVIL_ERROR = "</script><script>alert('error')</script> did not decode.\u2028"


def write(out: Path, timelines: Sequence[Timeline]) -> list[str]:
    """Write their tables below `out`; the ids."""
    for each in timelines:
        write_video(tabulate(each, SETTINGS), each.video.video_id, str(out))
    return [each.video.video_id for each in timelines]


def write_corpus(out: Path) -> list[str]:
    """Four videos: two people in three shots; an evil name with damage; nobody; an unreadable file."""
    return write(
        out,
        [
            timeline("/videos/talk.mp4", 60, [(0, 22), (3, 41), (46, 58)], shots=(0, 22, 46), seed=1),
            timeline(
                "/videos/more/" + EVIL_NAME,
                40,
                [(2, 9), (2.2, 30)],
                lost=(11, 14),
                failures=[("SampleFrames", 11_000_000, "LostFrame", EVIL_ERROR)],
                seed=2,
            ),
            timeline("/videos/nobody.mkv", 12, []),
            unreadable("/videos/broken.avi", "The file cannot be opened as a video: <b>Invalid data</b>."),
        ],
    )
