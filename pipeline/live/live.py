"""Faces in frames as they come: found every few frames, followed between, named from the past alone.

Finding, classifying, tracking, cutting into shots and smoothing are the pipeline's own functions, given
the last seconds of what was seen; what they say of the latest moment is what is shown. Only following
a box from one frame to the next is done here alone, since a run has no need of it.
"""

from collections import deque
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np

from pipeline.live.following import flow_picture, follow
from schemas.emotions import emotion_columns
from transforms.faces.analyzer import AnalyzedFace, Analyzer, TrackedFace, find_faces
from transforms.timelines.shots import find_shots, frame_signature
from transforms.timelines.smoothing import smooth
from transforms.timelines.tracking import APPEARANCE_BYTES, MAX_ABSENCE_S, describe_face, track_faces

LOOK_EVERY_US: Final = 120_000
"""Microseconds from one search for faces to the next."""

_TRACKED_US: Final = round((MAX_ABSENCE_S + 0.5) * 1e6)  # a face may come back after so long
_SMOOTHED_US: Final = 10_000_000  # what lies further back hardly counts in any method's own window
_COAST_US: Final = 300_000  # a face that the detector misses for no longer stays
_TRUST: Final = 0.5  # in the detector's box over the followed one, which is smooth but drifts


@dataclass
class _Look:
    """What one search for faces found, [n] faces."""

    pts_us: int
    signature: bytes
    faces: list[AnalyzedFace]
    appearance: bytes
    track: np.ndarray = field(init=False)  # int64 [n]; -1: not followed

    def __post_init__(self) -> None:
        self.track = np.full(len(self.faces), -1, np.int64)


class LiveFaces:
    """The faces of one stream of frames. Memory and time for a frame do not grow with its length."""

    def __init__(
        self,
        analyzer: Analyzer,
        smoothing: str,
        window_s: float | None = None,
        beside: Executor | None = None,
    ) -> None:
        """Use these.

        Args:
            analyzer: for this stream and, with `beside`, from that executor's thread.
            smoothing: as `transforms.timelines.smoothing.smooth` takes it.
            window_s: the same.
            beside: where to search for faces, so that no frame waits for it: its boxes are then carried
                on to the frame of that time. None: the frame waits, and results depend on frames alone.
        """
        self._analyzer = analyzer
        self._smoothing, self._window_s = smoothing, window_s
        self._beside = beside
        self._memory_us = max(_SMOOTHED_US, round(3e6 * (window_s or 0.0)))
        self._looks: deque[_Look] = deque()
        self._pending: tuple[Future[_Look], np.ndarray] | None = None  # with its flow picture
        self._started_us = -LOOK_EVERY_US
        self._shown: dict[int, TrackedFace] = {}
        self._seen_us: dict[int, int] = {}  # when the detector last saw each of them
        self._picture: np.ndarray | None = None  # of the frame before
        self._pts_us = -1
        self._tracks = 0

    def see(self, pts_us: int, image: np.ndarray) -> list[TrackedFace]:
        """The faces in the next frame, by track; tracks are numbered from 0.

        Args:
            pts_us: its time in microseconds, at least 0 and later than the last one's.
            image: uint8 RGB [H, W, 3].

        Raises:
            ValueError: times do not ascend, or the picture is of another kind.
        """
        if pts_us <= self._pts_us:
            raise ValueError(f"A frame at {pts_us} µs cannot follow one at {self._pts_us} µs.")
        picture = flow_picture(image)
        scale = image.shape[1] / picture.shape[1]
        if self._picture is not None and self._shown:
            boxes = np.array([face.box[:4] for face in self._shown.values()])
            moved, _ = follow(self._picture, picture, scale, boxes)
            for face, box in zip(list(self._shown.values()), moved, strict=True):
                self._shown[face.track] = replace(face, view=face.view.moved(box))
        self._pts_us, self._picture = pts_us, picture
        if self._pending is None and pts_us - self._started_us >= LOOK_EVERY_US:
            self._started_us = pts_us
            self._pending = self._search(pts_us, image), picture
        if self._pending is not None and self._pending[0].done():
            done, seen = self._pending
            self._pending = None
            self._arrive(done.result(), seen, scale)
        return [self._shown[track] for track in sorted(self._shown)]

    def _search(self, pts_us: int, image: np.ndarray) -> Future[_Look]:
        if self._beside is not None:
            return self._beside.submit(self._look, pts_us, image)
        done: Future[_Look] = Future()
        done.set_result(self._look(pts_us, image))
        return done

    def _look(self, pts_us: int, image: np.ndarray) -> _Look:
        faces = find_faces(image, self._analyzer)
        appearance = b"".join(describe_face(image, np.array(face.box[:4], np.float32)) for face in faces)
        return _Look(pts_us, frame_signature(image), faces, appearance)

    def _arrive(self, look: _Look, picture: np.ndarray, scale: float) -> None:
        """Take in a search: number its faces and show them where they are in the frame now."""
        self._looks.append(look)
        while self._looks[0].pts_us < look.pts_us - self._memory_us:
            self._looks.popleft()
        if self._track():
            self._shown.clear()
        boxes = np.array([face.box[:4] for face in look.faces], np.float64).reshape(-1, 4)
        if picture is not self._picture and self._picture is not None:
            boxes, _ = follow(picture, self._picture, scale, boxes)
        self._show(look, boxes)

    def _track(self) -> bool:
        """Number the faces of the last looks; whether the latest look is the first of a shot."""
        since = self._looks[-1].pts_us - _TRACKED_US
        # Two looks in a row are of one person however long the first took, as when a graph is compiled.
        last_two = len(self._looks) - 2
        looks = [look for place, look in enumerate(self._looks) if place >= last_two or look.pts_us >= since]
        times = np.array([look.pts_us for look in looks], np.int64)
        decoded = np.ones(len(looks), bool)
        signatures = np.frombuffer(b"".join(look.signature for look in looks), np.uint8)
        shots = find_shots(signatures.reshape(len(looks), -1), times, decoded)
        counts = [len(look.faces) for look in looks]
        boxes = [face.box[:4] for look in looks for face in look.faces]
        found = track_faces(
            face_sample=np.repeat(np.arange(len(looks), dtype=np.int32), counts),
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            appearance=np.frombuffer(b"".join(look.appearance for look in looks), np.uint8).reshape(
                -1, APPEARANCE_BYTES
            ),
            sample=np.arange(len(looks), dtype=np.int32),
            pts_us=times,
            shots=shots,
            decoded=decoded,
        )
        numbers = self._numbers(found, np.concatenate([look.track for look in looks]))
        for look, track in zip(looks, np.split(numbers, np.cumsum(counts)[:-1]), strict=True):
            look.track = track
        return len(looks) > 1 and bool(shots[-1] != shots[-2])

    def _numbers(self, found: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The number of each face, int64 [n], from its track among these and the numbers given before.

        A track keeps the number that its latest numbered face has; where two claim one, as when the
        tracker parts what it had joined, it goes to the one who had it last.
        """
        numbers = np.full(len(found), -1, np.int64)
        numbered = before >= 0
        latest = {
            track: np.flatnonzero((found == track) & numbered) for track in np.unique(found[found >= 0])
        }
        taken: set[int] = set()
        for track in sorted(latest, key=lambda track: -latest[track].max(initial=-1)):
            rows = latest[track]
            number = int(before[rows[-1]]) if len(rows) else -1
            if number < 0 or number in taken:
                number = self._tracks
                self._tracks += 1
            taken.add(number)
            numbers[found == track] = number
        return numbers

    def _show(self, look: _Look, boxes: np.ndarray) -> None:
        """Show the faces of the latest look in these boxes, and for a moment those that it missed."""
        for face, box, track in zip(look.faces, boxes, look.track.tolist(), strict=True):
            if track < 0:
                continue
            followed = self._shown.get(track)
            if followed is not None and _overlap(box, before := np.array(followed.box[:4])) > 0.5:
                box = before + _TRUST * (box - before)
            self._shown[track] = TrackedFace(
                face.view.moved(box), self._smoothed(track), track, emotions=face.emotions
            )
            self._seen_us[track] = look.pts_us
        for track, seen_us in list(self._seen_us.items()):
            if track not in self._shown or look.pts_us - seen_us > _COAST_US:
                self._shown.pop(track, None)
                del self._seen_us[track]

    def _smoothed(self, track: int) -> np.ndarray:
        """What smoothing makes of a track's latest probabilities, float32 [k], from those up to now."""
        seen = [
            (look.pts_us, look.faces[place].probabilities)
            for look in self._looks
            for place in np.flatnonzero(look.track == track)
        ]
        times = np.array([pts_us for pts_us, _ in seen], np.int64)
        raw = np.stack([probabilities for _, probabilities in seen])
        spec = self._analyzer.spec
        known = emotion_columns(spec.classes)
        result: np.ndarray = raw[-1].copy()
        result[known] = smooth(self._smoothing, times, raw[:, known], self._window_s, spec.prior)[-1]
        return result


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes x, y, w, h."""
    corner = np.maximum(one[:2], other[:2])
    sides = np.minimum(one[:2] + one[2:], other[:2] + other[2:]) - corner
    shared = float(np.maximum(sides, 0.0).prod())
    return shared / float(one[2:].prod() + other[2:].prod() - shared)
