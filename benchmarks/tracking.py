"""How well faces are followed and cuts found, on composed videos whose answer is known.

    python benchmarks/tracking.py [--rates 2 5 10] [--repeats 4] [--clips FOLDER]

Composes scenes from the pictures inside scikit-image: recoloured and mirrored people (all from the one
portrait it ships) cross, leave, return, come nearer and jostle in front of moving backgrounds, with
cuts and flashes. A simulated detector jitters boxes, misses faces and invents some. Prints, by scene
and sampling rate, this project's tracker beside a plain overlap tracker: IDF1, switches and
fragmentations by motmetrics (over real faces: IoU of 0.5 or more), purity (share of kept faces whose
track mostly holds the same person), real faces lost and false ones weeded, and cuts found, missed and
invented, as the Markdown table that stands in docs/tracking.md.

With --clips, also finds the faces in every .mp4 of a folder, five times a second, with the mtcnn package,
and prints how many of them the longest track of each shot holds: the goal of 0.95 is for clips of one
person. Needs motmetrics; it is no dependency of the package.

Long, since the scenes that it measures on are drawn here.

Long for its scenes: each composed video whose answer is known is a function here.
"""

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from skimage import data

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.timelines.shots import SIGNATURE_BYTES, find_shots, frame_signature
from transforms.timelines.tracking import APPEARANCE_BYTES, MAX_ABSENCE_S, describe_face, track_faces

Image = NDArray[np.uint8]
Path3 = Callable[[float], tuple[float, float, float]]  # time to x, y of the face's centre and its height

WIDTH, HEIGHT = 640, 360
FACE: Final = (178, 66, 94, 118)  # x, y, w, h in the portrait
CUTOUT: Final = (110, 10, 240, 350)
JITTER, MISSED, INVENTED = 0.06, 0.08, 0.04  # of the face's size; by face; by frame


def look(number: int) -> Image:
    """The portrait's person in another colouring; odd numbers are mirrored. RGB."""
    x, y, w, h = CUTOUT
    hsv = cv2.cvtColor(data.astronaut()[y : y + h, x : x + w], cv2.COLOR_RGB2HSV).astype(np.int16)
    hsv[..., 0] = (hsv[..., 0] + 41 * number) % 180
    hsv[..., 1] = hsv[..., 1] * (1.0 - 0.25 * (number % 3))
    hsv[..., 2] = hsv[..., 2] * (1.0 - 0.2 * (number % 4))
    tile = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    return np.ascontiguousarray(tile[:, ::-1]) if number % 2 else tile


@dataclass
class Person:
    """Somebody in the scene: a path, the times in view, and a look."""

    path: Path3
    look: int
    spans: Sequence[tuple[float, float]] = ((0.0, 1e9),)


@dataclass
class Shot:
    """A stretch with one background, one camera and its people; nearer (larger) people hide others."""

    seconds: float
    people: list[Person]
    background: int = 0
    camera: Path3 = lambda t: (0.0, 0.0, 1.0)  # time to shift x, y and zoom
    flashes: Sequence[float] = ()


@dataclass
class Video:
    """A composed video as sampled and detected; `person` -1 is a false detection."""

    signatures: list[bytes] = field(default_factory=list)
    pts_us: list[int] = field(default_factory=list)
    shots: list[int] = field(default_factory=list)
    face_sample: list[int] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    appearance: list[bytes] = field(default_factory=list)
    person: list[int] = field(default_factory=list)
    truth: list[list[tuple[int, tuple[float, ...]]]] = field(default_factory=list)  # visible, by sample


def backgrounds() -> list[Image]:
    """RGB pictures wide enough to move the camera over."""
    pictures = [data.coffee(), data.rocket(), data.chelsea(), data.stereo_motorcycle()[0], data.astronaut()]
    pictures += [cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB) for grey in (data.brick(), data.grass())]
    return [
        cv2.resize(picture, (2 * WIDTH, 2 * HEIGHT), interpolation=cv2.INTER_AREA) for picture in pictures
    ]


def compose(shots: Sequence[Shot], rate: float, rng: np.random.Generator) -> Video:
    """Renders the shots one after the other, sampled `rate` times a second, and finds the faces."""
    scenery = backgrounds()
    looks = {p.look: look(p.look) for shot in shots for p in shot.people}
    video = Video()
    seen: dict[tuple[int, int], tuple[int, float]] = {}
    start = 0.0
    for number, shot in enumerate(shots):
        while len(video.pts_us) / rate < start + shot.seconds:
            t = len(video.pts_us) / rate - start
            _sample(video, shot, number, t, scenery[shot.background], looks, seen, rng)
            video.pts_us.append(round(len(video.pts_us) / rate * 1e6))
        start += shot.seconds
    return video


def _sample(
    video: Video,
    shot: Shot,
    number: int,
    t: float,
    scenery: Image,
    looks: dict[int, Image],
    seen: dict[tuple[int, int], tuple[int, float]],
    rng: np.random.Generator,
) -> None:
    """Adds the sample at `t` seconds of a shot."""
    shift_x, shift_y, zoom = shot.camera(t)
    # The camera looks at the middle half of the scenery; the world is as large as the frame.
    view = np.array([[zoom, 0, WIDTH / 2], [0, zoom, HEIGHT / 2]], np.float64)
    view[:, 2] -= zoom * np.array([WIDTH / 2 + shift_x, HEIGHT / 2 + shift_y])
    placed = view.copy()
    placed[:, 2] -= zoom * np.array([WIDTH / 2, HEIGHT / 2])
    frame: np.ndarray = cv2.warpAffine(scenery, placed, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)

    visible: list[tuple[int, tuple[float, ...]]] = []
    owner = np.full((HEIGHT, WIDTH), -1, np.int16)
    boxes = []
    for index, person in sorted(enumerate(shot.people), key=lambda pair: pair[1].path(t)[2]):
        if not any(first <= t <= last for first, last in person.spans):
            continue
        x, y, height = person.path(t)
        x, y = view @ (x, y, 1.0)
        scale = zoom * height / FACE[3]
        left, top = (
            x - scale * (FACE[0] + FACE[2] / 2 - CUTOUT[0]),
            y - scale * (FACE[1] + FACE[3] / 2 - CUTOUT[1]),
        )
        put = np.array([[scale, 0, left], [0, scale, top]])
        cv2.warpAffine(looks[person.look], put, (WIDTH, HEIGHT), frame, borderMode=cv2.BORDER_TRANSPARENT)
        x0, y0 = max(0, round(left)), max(0, round(top))
        x1, y1 = round(left + scale * CUTOUT[2]), round(top + scale * CUTOUT[3])
        owner[y0 : max(y0, y1), x0 : max(x0, x1)] = index
        w, h = scale * FACE[2], scale * FACE[3]
        boxes.append((index, (x - w / 2, y - h / 2, w, h)))
    if any(abs(t - flash) < 0.03 for flash in shot.flashes):
        frame = np.clip(frame.astype(np.int16) * 2 + 70, 0, 255).astype(np.uint8)

    here = len(video.pts_us)
    for index, (x, y, w, h) in boxes:
        inside = owner[max(0, round(y)) : max(0, round(y + h)), max(0, round(x)) : max(0, round(x + w))]
        if (inside == index).sum() >= 0.6 * w * h:
            # Back within the set time is the same person still, later it is a new one.
            who, last = seen.get((number, index), (-1, -np.inf))
            if t - last > MAX_ABSENCE_S:
                who = max((w for w, _ in seen.values()), default=-1) + 1
            seen[number, index] = who, t
            visible.append((who, (x, y, w, h)))
    found = [(who, box) for who, box in visible if rng.random() > MISSED]
    if rng.random() < INVENTED:
        size = rng.uniform(25, 90)
        found.append((-1, (rng.uniform(0, WIDTH - size), rng.uniform(0, HEIGHT - size), size, size)))
    for who, (x, y, w, h) in found:
        jitter = rng.normal(0, JITTER, 4) * (1, 1, 0.7, 0.7)
        w2, h2 = w * np.exp(jitter[2]), h * np.exp(jitter[3])
        box = np.array(
            [x + (w - w2) / 2 + jitter[0] * w, y + (h - h2) / 2 + jitter[1] * h, w2, h2], np.float32
        )
        video.face_sample.append(here)
        video.boxes.append(tuple(float(value) for value in box))
        video.appearance.append(describe_face(frame, box))
        video.person.append(who)
    video.truth.append(visible)
    video.signatures.append(frame_signature(frame))
    video.shots.append(number)


def walk(rng: np.random.Generator, x: float, y: float, height: float, reach: float = 25.0) -> Path3:
    """Somebody who stays about where they are and moves like somebody who talks."""
    speed, phase = rng.uniform(0.7, 2.5, 3), rng.uniform(0, 6.28, 3)

    def path(t: float) -> tuple[float, float, float]:
        a, b, c = np.sin(speed * t + phase)
        return x + reach * a, y + 0.4 * reach * b, height * (1 + 0.08 * c)

    return path


def across(start: float, end: float, seconds: float, y: float, height: float) -> Path3:
    """Somebody who walks through the picture and back, again and again."""

    def path(t: float) -> tuple[float, float, float]:
        turn = t / seconds % 2
        return start + (end - start) * (turn if turn <= 1 else 2 - turn), y, height

    return path


Scene = Callable[[np.random.Generator], list[Shot]]


def lone(rng: np.random.Generator) -> list[Shot]:
    """One person who talks, for a minute."""
    return [Shot(60, [Person(walk(rng, 320, 150, 90, 60), int(rng.integers(8)))], int(rng.integers(7)))]


def crossing(rng: np.random.Generator, alike: bool = False) -> list[Shot]:
    """Two people who walk past each other every few seconds, one behind the other."""
    seconds = rng.uniform(2.5, 4.5)
    first, second = rng.choice(8, 2, replace=False)
    people = [
        Person(across(90, 550, seconds, 150, 70), int(first)),
        Person(across(560, 80, seconds * rng.uniform(0.95, 1.05), 160, 80), int(first if alike else second)),
    ]
    return [Shot(60, people, int(rng.integers(7)))]


def crossing_alike(rng: np.random.Generator) -> list[Shot]:
    """The same with two people who look the same."""
    return crossing(rng, alike=True)


def returning(rng: np.random.Generator) -> list[Shot]:
    """Three people; some go for a second and come back, some for five."""
    spans: list[list[tuple[float, float]]] = [
        [(0, 9), (9.9, 20), (25, 60)],
        [(2, 14), (15.2, 33), (34, 50)],
        [(0, 60)],
    ]
    return [
        Shot(
            60,
            [
                Person(walk(rng, 130 + 190 * i, 140, 70), int(number), spans[i])
                for i, number in enumerate(rng.choice(8, 3, replace=False))
            ],
            int(rng.integers(7)),
        )
    ]


def group(rng: np.random.Generator) -> list[Shot]:
    """Six people close to each other."""
    looks = rng.permutation(8)[:6]
    people = [
        Person(walk(rng, 70 + 100 * i, 110 + 60 * (i % 2), rng.uniform(40, 60), 30), int(looks[i]))
        for i in range(6)
    ]
    return [Shot(60, people, int(rng.integers(7)))]


def pan(rng: np.random.Generator) -> list[Shot]:
    """Three people, and a camera that swings and zooms."""
    sway, zoom = rng.uniform(0.8, 1.4), rng.uniform(0.4, 0.8)
    people = [
        Person(walk(rng, 150 + 170 * i, 150, 60), int(number))
        for i, number in enumerate(rng.choice(8, 3, replace=False))
    ]

    def camera(t: float) -> tuple[float, float, float]:
        return 230 * float(np.sin(sway * t)), 30 * float(np.sin(0.7 * t)), 1.3 + 0.3 * float(np.sin(zoom * t))

    return [Shot(60, people, int(rng.integers(7)), camera)]


def _slow_pan(speed: float, t: float) -> tuple[float, float, float]:
    """The camera after t seconds: its shift, and a zoom that grows a little."""
    return speed * t, 0.0, 1.2 + 0.02 * t


def cuts(rng: np.random.Generator) -> list[Shot]:
    """Shots of one to five seconds with one to three people, at the same places as often as not."""
    shots, background = [], 0
    for _ in range(20):
        background = int((background + rng.integers(1, 7)) % 7)
        people = [
            Person(walk(rng, 160 * (i + 1), 150, rng.uniform(60, 100)), int(number))
            for i, number in enumerate(rng.choice(8, int(rng.integers(1, 4)), replace=False))
        ]
        slow = rng.uniform(-60, 60)
        shots.append(
            Shot(
                float(rng.uniform(1, 5)),
                people,
                background,
                partial(_slow_pan, slow),
            )
        )
    return shots


def flashes(rng: np.random.Generator) -> list[Shot]:
    """Two people and a photographer."""
    people = [Person(walk(rng, 200 + 220 * i, 150, 80), i + int(rng.integers(3))) for i in range(2)]
    return [Shot(60, people, int(rng.integers(7)), flashes=np.arange(1.0, 60.0, 1.5).tolist())]


SCENES: Final[list[Scene]] = [lone, crossing, crossing_alike, returning, group, pan, cuts, flashes]


def overlap_tracks(video: Video) -> NDArray[np.int32]:
    """The plain tracker to beat: best total overlap with each track's last box, at least 0.3."""
    tracks = np.full(len(video.boxes), -1, np.int32)
    live: dict[int, tuple[int, tuple[float, ...]]] = {}
    count = 0
    for place, faces in _by_sample(video):
        now = video.pts_us[place]
        live = {k: v for k, v in live.items() if now - v[0] <= MAX_ABSENCE_S * 1e6}
        names = list(live)
        iou = np.array([[_iou(live[k][1], video.boxes[f]) for f in faces] for k in names]).reshape(
            -1, len(faces)
        )
        for row, column in zip(*linear_sum_assignment(-iou), strict=True):
            if iou[row, column] >= 0.3:
                tracks[faces[column]] = names[row]
        for f in faces:
            if tracks[f] < 0:
                tracks[f] = count
                count += 1
            live[int(tracks[f])] = (now, video.boxes[f])
    return tracks


def _by_sample(video: Video) -> Iterator[tuple[int, list[int]]]:
    faces: dict[int, list[int]] = {}
    for f, place in enumerate(video.face_sample):
        faces.setdefault(place, []).append(f)
    yield from sorted(faces.items())


def _iou(a: Sequence[float], b: Sequence[float]) -> float:
    w = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    h = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(w, 0.0) * max(h, 0.0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def our_tracks(video: Video) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """This project's tracks, and the shots they were found with."""
    pts = np.array(video.pts_us, np.int64)
    decoded = np.ones(len(pts), np.bool_)
    signatures = np.frombuffer(b"".join(video.signatures), np.uint8).reshape(-1, SIGNATURE_BYTES)
    shots = find_shots(signatures, pts, decoded)
    tracks = track_faces(
        np.array(video.face_sample, np.int32),
        np.array(video.boxes, np.float32).reshape(-1, 4),
        np.frombuffer(b"".join(video.appearance), np.uint8).reshape(-1, APPEARANCE_BYTES),
        np.arange(len(pts), dtype=np.int32),
        pts,
        shots,
        decoded,
    )
    return tracks, shots


@dataclass
class Score:
    """Sums over the videos of one scene."""

    idf1: list[float] = field(default_factory=list)
    switches: int = 0
    fragments: int = 0
    pure: int = 0
    kept: int = 0
    dropped_true: int = 0
    dropped_false: int = 0

    def add(self, video: Video, tracks: NDArray[np.int32]) -> None:
        import motmetrics

        accumulator = motmetrics.MOTAccumulator(auto_id=True)
        faces = dict(_by_sample(video))
        for place, truth in enumerate(video.truth):
            mine = [f for f in faces.get(place, []) if tracks[f] >= 0]
            distance = np.array([[1 - _iou(box, video.boxes[f]) for f in mine] for _, box in truth])
            distance = distance.reshape(len(truth), len(mine))
            distance[distance > 0.5] = np.nan
            accumulator.update([who for who, _ in truth], [int(tracks[f]) for f in mine], distance)
        names = ["idf1", "num_switches", "num_fragmentations"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row = motmetrics.metrics.create().compute(accumulator, metrics=names).iloc[0]
        self.idf1.append(float(row["idf1"]))
        self.switches += int(row["num_switches"])
        self.fragments += int(row["num_fragmentations"])
        people = np.array(video.person)
        for track in np.unique(tracks[tracks >= 0]):
            self.pure += Counter(people[tracks == track].tolist()).most_common(1)[0][1]
        self.kept += int((tracks >= 0).sum())
        self.dropped_true += int((people[tracks < 0] >= 0).sum())
        self.dropped_false += int((people[tracks < 0] < 0).sum())

    @property
    def purity(self) -> float:
        return self.pure / self.kept


def count_crossings(video: Video) -> int:
    """How often two people's left-to-right order changes."""
    count = 0
    before: dict[tuple[int, int], bool] = {}
    for truth in video.truth:
        for i, (who, box) in enumerate(truth):
            for other, other_box in truth[i + 1 :]:
                pair = (min(who, other), max(who, other))
                side = (box[0] < other_box[0]) == (who < other)
                count += before.get(pair, side) != side
                before[pair] = side
    return count


HEADER: Final = """
| scene | rate | IDF1 | switches | crossings | fragmentations | purity | lost | weeded | plain overlap: IDF1 | switches | purity | cuts: found | missed | invented |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""  # noqa: E501


def composed(rates: Sequence[float], seeds: Sequence[int]) -> None:
    print(HEADER)
    for rate in rates:
        pure = kept = 0
        for scene in SCENES:
            ours, plain = Score(), Score()
            crossings = found = missed = invented = 0
            for seed in seeds:
                rng = np.random.default_rng([seed, int(rate * 10)])
                video = compose(scene(rng), rate, rng)
                tracks, shots = our_tracks(video)
                ours.add(video, tracks)
                plain.add(video, overlap_tracks(video))
                crossings += count_crossings(video)
                true, ours_at = (set(np.flatnonzero(np.diff(s)).tolist()) for s in (video.shots, shots))
                found, missed, invented = (
                    found + len(true & ours_at),
                    missed + len(true - ours_at),
                    invented + len(ours_at - true),
                )
            cells = [scene.__name__, f"{rate:g}/s", f"{np.mean(ours.idf1):.3f}", ours.switches, crossings]
            cells += [ours.fragments, f"{ours.purity:.4f}", ours.dropped_true, ours.dropped_false]
            cells += [f"{np.mean(plain.idf1):.3f}", plain.switches, f"{plain.purity:.4f}"]
            print("| " + " | ".join(map(str, [*cells, found, missed, invented])) + " |")
            pure, kept = pure + ours.pure, kept + ours.kept
        print(f"| **all** | {rate:g}/s | | | | | **{pure / kept:.4f}** | | | | | | | | |")


def real(folder: Path, rate: float = 5.0, width: int = 480) -> None:
    import av
    from mtcnn import MTCNN

    detector = MTCNN()
    print("\nclip: faces, kept, shots, tracks, share of kept faces in the longest track of their shot")
    for path in sorted(folder.glob("*.mp4")):
        video = Video()
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            first = None
            for decoded in container.decode(stream):
                assert decoded.pts is not None
                assert stream.time_base is not None
                first = decoded.pts if first is None else first
                time_us = round((decoded.pts - first) * stream.time_base * 1_000_000)
                if time_us < len(video.pts_us) / rate * 1e6:
                    continue
                frame = decoded.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
                scale = min(1.0, width / frame.shape[1])
                small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
                for face in detector.detect_faces(small):
                    box = np.array(face["box"], np.float32) / np.float32(scale)
                    video.face_sample.append(len(video.pts_us))
                    video.boxes.append(tuple(float(value) for value in box))
                    video.appearance.append(describe_face(frame, box))
                video.signatures.append(frame_signature(frame))
                video.pts_us.append(time_us)
        tracks, shots = our_tracks(video)
        kept = tracks >= 0
        of_face = shots[np.array(video.face_sample, np.int64)]
        longest = sum(
            np.bincount(tracks[kept & (of_face == shot)]).max() for shot in np.unique(of_face[kept])
        )
        share = longest / kept.sum() if kept.any() else np.nan
        print(
            f"{path.name:45s} {len(tracks):4d} {kept.sum():4d} {shots[-1] + 1:3d} "
            f"{tracks.max(initial=-1) + 1:3d} {share:6.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rates", type=float, nargs="+", default=[2.0, 5.0, 10.0])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first repeat; 0 to 3 and 1000 to 1005 served for tuning"
    )
    parser.add_argument("--clips", type=Path)
    args = parser.parse_args()
    composed(args.rates, range(args.seed, args.seed + args.repeats))
    if args.clips:
        real(args.clips)


if __name__ == "__main__":
    main()
