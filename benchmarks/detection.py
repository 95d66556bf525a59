"""Face detectors side by side: what they find, what they invent, and how long they take.

    python -m benchmarks.detection [VIDEO OR FOLDER ...] [--yunet-weights FILE] [--json]

Frames with known boxes are composed from scikit-image's astronaut: many sizes, places, tilts, blurs
and light, before clutter. Folders of videos have no known boxes; there the detectors are compared with
one another.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import cv2
import numpy as np
from skimage import data

from models.detectors import Box, Detector, make_detector
from models.detectors.boxes import finish
from schemas import defaults

# The astronaut's face and eyes in scikit-image's picture of 512 x 512 pixels.
FACE: Final = Box(180, 63, 86, 106, 1)  # brows to chin, cheek to cheek
EYES: Final = ((203.0, 99.5), (245.0, 102.0))
HEAD: Final = Box(140, 5, 165, 200, 1)  # with hair and collar, no lettering

OVERLAP: Final = 0.5  # least overlap with the known box of a face that counts as found
FACE_SIZES: Final = (0.06, 0.08, 0.10, 0.12, 0.16, 0.25, 0.4, 0.65, 0.9)  # edges of bins


class Frame(NamedTuple):
    """A composed picture."""

    image: np.ndarray
    faces: list[Box]
    sizes: list[float]  # longer side of each face, as a fraction of the picture's shorter side
    tilts: list[float]  # degrees


class Package:
    """The `mtcnn` package itself, on pictures resized so that its finest face is the smallest wanted."""

    name = "mtcnn package"

    def __init__(self, min_face: float) -> None:
        from mtcnn import MTCNN

        self._min_face = min_face
        self._network = MTCNN()

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """Like `Detector.detect`, for pictures of one size."""
        height, width = images[0].shape[:2]
        scale = 20 / (self._min_face * min(height, width))
        size = (round(width * scale), round(height * scale))
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        rows = self._network.detect_faces(
            [cv2.resize(image, size, interpolation=interpolation) for image in images],
            output_type="numpy",
            box_format="xyxy",
        )
        corners, scores = rows[:, 1:5] / scale, rows[:, 5]
        # With the same limits as ours, so that small faces do not count as lost.
        return [
            finish(corners[rows[:, 0] == index], scores[rows[:, 0] == index], image, self._min_face, 1.0)
            for index, image in enumerate(images)
        ]


def clutter(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """A background with edges, round shapes and texture at many sizes, and no face."""
    canvas = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(60):
        colour = rng.integers(0, 256, 3).tolist()
        x, y = int(rng.integers(width)), int(rng.integers(height))
        a, b = (int(v) for v in np.exp(rng.uniform(1, np.log(height / 2), 2)))
        kind = rng.integers(4)
        if kind == 0:
            cv2.rectangle(canvas, (x, y), (x + a, y + b), colour, -1)
        elif kind == 1:
            cv2.ellipse(
                canvas, (x, y), (a // 2 + 1, b // 2 + 1), float(rng.uniform(0, 180)), 0, 360, colour, -1
            )
        elif kind == 2:
            cv2.line(canvas, (x, y), (x + a, y - b), colour, int(rng.integers(1, 6)))
        else:
            cv2.putText(canvas, "affect", (x, y), cv2.FONT_HERSHEY_SIMPLEX, a / 40 + 0.2, colour, 2)
    coarse = rng.normal(0, 12, (height // 8 + 1, width // 8 + 1, 3)).astype(np.float32)
    texture = cv2.resize(coarse, (width, height)) + rng.normal(0, 4, (height, width, 3))
    return np.clip(canvas + texture, 0, 255).astype(np.uint8)


def place(
    canvas: np.ndarray, centre: tuple[float, float], face_height: float, tilt: float, mirror: bool
) -> Box:
    """Paint the astronaut's head into the canvas; the box of the face there, not clipped."""
    portrait = data.astronaut()
    scale = face_height / FACE.h
    # Shrink by area first, so that a small face is a clean one.
    small = cv2.resize(
        portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    middle = ((FACE.x + FACE.w / 2) * scale, (FACE.y + FACE.h / 2) * scale)
    matrix = cv2.getRotationMatrix2D(middle, tilt, 1.0)
    matrix[:, 2] += np.array(centre) - middle  # type: ignore[arg-type]
    mask = np.zeros(small.shape[:2], np.float32)
    head = [round(v * scale) for v in (HEAD.x + HEAD.w / 2, HEAD.y + HEAD.h / 2, HEAD.w / 2, HEAD.h / 2)]
    cv2.ellipse(mask, (head[0], head[1]), (max(1, head[2]), max(1, head[3])), 0, 0, 360, 1.0, -1)
    if mirror:
        matrix = np.array([[-1, 0, 2 * centre[0]], [0, 1, 0]]) @ np.vstack([matrix, [0, 0, 1]])
    size = (canvas.shape[1], canvas.shape[0])
    painted = cv2.warpAffine(small, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    weight = cv2.warpAffine(mask, matrix, size)[..., None]
    canvas[:] = np.round(canvas * (1 - weight) + painted * weight).astype(np.uint8)
    width = FACE.w * scale
    return Box(centre[0] - width / 2, centre[1] - face_height / 2, width, face_height, 1)


def compose(rng: np.random.Generator, height: int, width: int) -> Frame:
    """A frame with no, one or several faces, none over another, in varied light and sharpness."""
    canvas = clutter(rng, height, width)
    shorter = min(height, width)
    frame = Frame(canvas, [], [], [])
    taken: list[Box] = []
    for _ in range(int(rng.integers(0, 4))):
        size = float(np.exp(rng.uniform(np.log(FACE_SIZES[0]), np.log(FACE_SIZES[-1]))))
        tall = size * shorter
        # A face may leave the picture by up to a fifth.
        x = float(rng.uniform(0.2 * tall, width - 0.2 * tall))
        y = float(rng.uniform(0.3 * tall, height - 0.3 * tall))
        around = Box(x - tall, y - tall, 2 * tall, 2 * tall, 1)
        if any(intersection(around, other) > 0 for other in taken):
            continue
        tilt = float(np.clip(rng.normal(0, 10), -30, 30))
        taken.append(around)
        frame.faces.append(place(canvas, (x, y), tall, tilt, bool(rng.integers(2))))
        frame.sizes.append(size)
        frame.tilts.append(tilt)
    image: np.ndarray = canvas.astype(np.float32) * float(np.exp(rng.uniform(np.log(0.35), np.log(1.5))))
    blur = float(rng.uniform(0, 0.004)) * shorter
    if blur > 0.3:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if rng.integers(4) == 0:
        image[:] = image.mean(axis=2, keepdims=True)
    image += rng.normal(0, float(rng.uniform(0, 6)), image.shape)
    return frame._replace(image=np.clip(image, 0, 255).astype(np.uint8))


def intersection(a: Box, b: Box) -> float:
    """Shared area of two boxes."""
    wide = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    high = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    return max(0.0, wide) * max(0.0, high)


def iou(a: Box, b: Box) -> float:
    """Shared area as a part of the union."""
    shared = intersection(a, b)
    return shared / (a.w * a.h + b.w * b.h - shared)


def matched(wanted: Sequence[Box], found: Sequence[Box]) -> list[int | None]:
    """For each wanted box the index of its own found box, best pairs first; None without one."""
    pairs = sorted(
        ((iou(w, f), i, j) for i, w in enumerate(wanted) for j, f in enumerate(found)), reverse=True
    )
    result: list[int | None] = [None] * len(wanted)
    used: set[int] = set()
    for overlap, i, j in pairs:
        if overlap >= OVERLAP and result[i] is None and j not in used:
            result[i] = j
            used.add(j)
    return result


def timed(
    detector: Detector | Package, images: Sequence[np.ndarray], batch: int
) -> tuple[list[list[Box]], float, float]:
    """The faces, and wall and processor milliseconds a frame, after one batch to warm up."""
    detector.detect(images[:batch])
    faces: list[list[Box]] = []
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(images), batch):
        faces += detector.detect(images[start : start + batch])
    per_frame = 1000 / len(images)
    return faces, (time.perf_counter() - wall) * per_frame, (time.process_time() - cpu) * per_frame


def bin_of(size: float) -> int:
    """Index of the bin of FACE_SIZES that a face size falls in."""
    return min(int(np.searchsorted(FACE_SIZES, size, side="right")) - 1, len(FACE_SIZES) - 2)


def score_composed(frames: Sequence[Frame], faces: Sequence[list[Box]], min_face: float) -> dict[str, Any]:
    """Recall by face size and over all faces of at least min_face, precision, mean overlap."""
    found_in = np.zeros((len(FACE_SIZES) - 1, 2), int)
    hits = total = detections = right = 0
    overlaps, shapes = [], []
    for frame, boxes in zip(frames, faces, strict=True):
        detections += len(boxes)
        for face, size, tilt, j in zip(
            frame.faces, frame.sizes, frame.tilts, matched(frame.faces, boxes), strict=True
        ):
            found_in[bin_of(size)] += (j is not None, 1)
            right += j is not None
            if size >= min_face:
                total += 1
                hits += j is not None
            if j is not None:
                overlaps.append(iou(face, boxes[j]))
                height, width = frame.image.shape[:2]
                inside = face.x > 0 and face.y > 0 and face.x + face.w < width and face.y + face.h < height
                if abs(tilt) < 5 and inside:
                    shapes.append(relative_to_face(face, boxes[j]))
    return {
        "recall": hits / total,
        "precision": right / max(detections, 1),
        "mean_iou": float(np.mean(overlaps)),
        "recall_by_size": {
            f"{low:g}-{high:g}": (int(n[0]) / int(n[1]) if n[1] else None)
            for low, high, n in zip(FACE_SIZES, FACE_SIZES[1:], found_in, strict=False)
        },
        "box": dict(
            zip(("centre_x", "centre_y", "w", "h"), np.mean(shapes, axis=0).round(3).tolist(), strict=True)
        ),
    }


def relative_to_face(face: Box, box: Box) -> tuple[float, float, float, float]:
    """The box's centre from the point between the eyes, and its size, all in eye distances."""
    (x1, y1), (x2, y2) = EYES
    scale = face.h / FACE.h
    eyes = scale * float(np.hypot(x2 - x1, y2 - y1))
    # From the middle of the face: mirrored faces are treated alike, so only the distance down counts.
    between_y = face.y + ((y1 + y2) / 2 - FACE.y) * scale
    return (
        (box.x + box.w / 2 - face.x - face.w / 2) / eyes,
        (box.y + box.h / 2 - between_y) / eyes,
        box.w / eyes,
        box.h / eyes,
    )


def video_frames(paths: Sequence[Path], each: int) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Up to `each` frames of every video, five a second or so; those that do not open are skipped."""
    files = [
        f for path in paths for f in (sorted(path.rglob("*")) if path.is_dir() else [path]) if f.is_file()
    ]
    for file in files:
        video = cv2.VideoCapture(str(file))
        step, index = 6, 0
        images: list[np.ndarray] = []
        while len(images) < each and video.grab():
            if index % step == 0:
                ok, frame = video.retrieve()
                if not ok:
                    break
                images.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            index += 1
        video.release()
        if images:
            yield file.name, images


def agreement(found: dict[str, list[list[Box]]]) -> dict[str, dict[str, float | None]]:
    """Of the faces that the row's detector finds, the share that the column's finds too."""
    return {a: {b: share_found(found[a], found[b]) for b in found if b != a} for a in found}


def share_found(wanted: list[list[Box]], found: list[list[Box]]) -> float | None:
    """Of the faces wanted, picture by picture, the share that is found; None where there are none."""
    pairs = [j is not None for w, f in zip(wanted, found, strict=True) for j in matched(w, f)]
    return sum(pairs) / len(pairs) if pairs else None


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; numbers with three decimals at most."""

    def cell(value: Any) -> str:
        return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)

    lines = [header, ["---"] * len(header), *[[cell(v) for v in row] for row in rows]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@click.command()
@click.argument("videos", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=400, show_default=True, help="Composed frames.")
@click.option("--size", default="596x336", show_default=True, help="Width and height of composed frames.")
@click.option("--min-face", default=defaults.MIN_FACE, show_default=True)
@click.option("--each", default=24, show_default=True, help="Frames of each video given.")
@click.option("--yunet-weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--only", multiple=True, help="Compare only the detectors named.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
def main(
    videos: tuple[Path, ...],
    frames: int,
    size: str,
    min_face: float,
    each: int,
    yunet_weights: Path | None,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compare the detectors on composed frames and on the VIDEOS or folders given."""
    width, height = (int(part) for part in size.split("x"))
    makers: dict[str, Callable[[], Detector | Package]] = {
        "mtcnn": lambda: make_detector("mtcnn", min_face),
        Package.name: lambda: Package(min_face),
        "haar": lambda: make_detector("haar", min_face),
    }
    if yunet_weights:
        makers["yunet"] = lambda: make_detector("yunet", min_face, yunet_weights)
    detectors = {name: make() for name, make in makers.items() if not only or name in only}

    rng = np.random.default_rng(0)
    composed = [compose(rng, height, width) for _ in range(frames)]
    images = [frame.image for frame in composed]
    results: dict[str, Any] = {"frames": frames, "size": size, "min_face": min_face, "composed": {}}
    for name, detector in detectors.items():
        _, wall_1, cpu_1 = timed(detector, images[:100], 1)
        faces, wall_16, cpu_16 = timed(detector, images, 16)
        results["composed"][name] = score_composed(composed, faces, min_face) | {
            "ms_batch_1": wall_1,
            "ms_batch_16": wall_16,
            "cpu_ms_batch_1": cpu_1,
            "cpu_ms_batch_16": cpu_16,
        }
    if videos:
        found: dict[str, list[list[Box]]] = {name: [] for name in detectors}
        seconds = dict.fromkeys(detectors, 0.0)
        count = 0
        for _, pictures in video_frames(videos, each):
            count += len(pictures)
            for name, detector in detectors.items():
                faces, wall, _ = timed(detector, pictures, 16)
                found[name] += faces
                seconds[name] += wall * len(pictures)
        results["videos"] = {
            "frames": count,
            "faces": {name: sum(map(len, boxes)) for name, boxes in found.items()},
            "ms_batch_16": {name: total / max(count, 1) for name, total in seconds.items()},
            "agreement": agreement(found),
        }
    if as_json:
        click.echo(json.dumps(results, indent=1))
        return
    by_name = results["composed"]
    columns = (
        "recall",
        "precision",
        "mean_iou",
        "ms_batch_1",
        "ms_batch_16",
        "cpu_ms_batch_1",
        "cpu_ms_batch_16",
    )
    click.echo(
        f"{frames} composed frames, {size}, min-face {min_face:g}; recall of faces that large or larger\n"
    )
    click.echo(table(("detector", *columns), [[n, *(r[c] for c in columns)] for n, r in by_name.items()]))
    click.echo("\nRecall by face size (longer side as a fraction of the frame's shorter side)\n")
    bins = next(iter(by_name.values()))["recall_by_size"]
    click.echo(table(("detector", *bins), [[n, *r["recall_by_size"].values()] for n, r in by_name.items()]))
    click.echo("\nMean box, in eye distances: centre from the point between the eyes, width, height\n")
    click.echo(table(("detector", "x", "y", "w", "h"), [[n, *r["box"].values()] for n, r in by_name.items()]))
    if videos:
        real = results["videos"]
        click.echo(f"\n{real['frames']} frames of videos; share of the row's faces that the column finds\n")
        click.echo(
            table(
                ("detector", "faces", "ms_batch_16", *detectors),
                [
                    [
                        n,
                        real["faces"][n],
                        real["ms_batch_16"][n],
                        *(real["agreement"][n].get(m) for m in detectors),
                    ]
                    for n in detectors
                ],
            )
        )


if __name__ == "__main__":
    main()
