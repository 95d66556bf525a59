"""What docs/pose.md says: the drawing of the signs, what pose costs, how far its two sources are apart.

python -m benchmarks.pose draw docs/pose.svg
python -m benchmarks.pose measure VIDEO...
"""

import sys
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import av
import numpy as np

from models.detectors import Box, make_detector
from models.mesh import Pose, estimate_pose, load_mesh
from transforms.faces.view import view_faces

_RADIUS: Final = 46  # pixels, of a drawn head
_EVERY_S: Final = 0.5  # between the frames that are looked at
_MOST_FRAMES: Final = 12  # of a video
_SIGNS: Final = (
    ("yaw +30", "to the right of the picture", Pose(30, 0, 0)),
    ("yaw −30", "to the left", Pose(-30, 0, 0)),
    ("pitch +25", "up", Pose(0, 25, 0)),
    ("pitch −25", "down", Pose(0, -25, 0)),
    ("roll +25", "clockwise", Pose(0, 0, 25)),
    ("roll −25", "anticlockwise", Pose(0, 0, -25)),
)
# Lines on a head of radius 1 that looks into the camera: x right, y down, z away.
_AROUND: Final = np.linspace(0, 2 * np.pi, 49)
_BROW: Final = np.linspace(-0.5, 0.5, 9)


def _on_head(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.stack([x, y, -np.sqrt(np.maximum(0, 1 - x**2 - y**2))], axis=1)


def _features() -> Iterator[np.ndarray]:
    for side in (-1, 1):
        yield _on_head(side * 0.35 + 0.12 * np.cos(_AROUND), -0.2 + 0.07 * np.sin(_AROUND))
    yield _on_head(0.6 * _BROW, 0.45 + 0.08 * np.cos(np.pi * _BROW))
    yield np.array(
        [[0, -0.25, -0.95], [0, 0.15, -1.25], [-0.1, 0.2, -0.97], [0.1, 0.2, -0.97], [0, 0.15, -1.25]]
    )
    yield np.stack(
        [0 * _AROUND, np.sin(_AROUND), np.cos(_AROUND)], axis=1
    )  # the plane between left and right


def draw(path: Path) -> None:
    """Write the six heads as SVG."""
    width, height = 150 * len(_SIGNS), 170
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13" text-anchor="middle"><rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for place, (name, meaning, pose) in enumerate(_SIGNS):
        axes = pose.axes * [[1.0], [-1.0], [-1.0]]
        middle = np.array([150 * place + 75, 66])
        parts.append(
            f'<circle cx="{middle[0]}" cy="{middle[1]}" r="{_RADIUS}" fill="#f4e3d3" stroke="#555"/>'
        )
        for line in _features():
            points = line @ axes
            for first, second in pairwise(points):
                if max(first[2], second[2]) < 0:
                    (x1, y1), (x2, y2) = (np.round(middle + _RADIUS * end[:2], 1) for end in (first, second))
                    parts.append(f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="#333"/>')
        for axis, color in zip(pose.axes, ("#e63c3c", "#3cb43c", "#3c6ee6"), strict=True):
            x, y = np.round(middle + 0.9 * _RADIUS * axis[:2], 1)
            parts.append(
                f'<line x1="{middle[0]}" y1="{middle[1]}" x2="{x}" y2="{y}" '
                f'stroke="{color}" stroke-width="3"/>'
            )
        parts.append(f'<text x="{middle[0]}" y="138" font-weight="bold">{name}°</text>')
        parts.append(f'<text x="{middle[0]}" y="156" fill="#555">{meaning}</text>')
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")


def _frames(path: str) -> Iterator[np.ndarray]:
    due, count = 0.0, 0
    with av.open(path) as container:
        for frame in container.decode(video=0):
            if frame.time is not None and frame.time >= due and count < _MOST_FRAMES:
                yield frame.to_ndarray(format="rgb24")
                due, count = frame.time + _EVERY_S, count + 1


def _milliseconds(images: Sequence[np.ndarray], found: Sequence[list[Box]], faces: int) -> float:
    started = time.process_time()
    view_faces(load_mesh(), images, found)
    return 1000 * (time.process_time() - started) / faces


def measure(videos: Sequence[str]) -> None:
    """Print what pose costs a face, how many faces have a mesh, and how far mesh and marks are apart."""
    detector = make_detector("mtcnn")
    apart: list[tuple[float, float]] = []
    costs: list[float] = []
    faces = meshes = 0
    for video in videos:
        images = list(_frames(video))
        found = detector.detect(images)
        count = sum(map(len, found))
        if not count:
            continue
        view_faces(load_mesh(), images[:1], found[:1])
        costs.append(min(_milliseconds(images, found, count) for _ in range(3)))
        faces += count
        for views in view_faces(load_mesh(), images, found):
            for view in views:
                if view.mesh is None:
                    continue
                meshes += 1
                by_marks = estimate_pose(None, view.box)
                apart.append((abs(view.pose.yaw - by_marks.yaw), abs(view.pose.roll - by_marks.roll)))
    differences = np.array(apart)
    print(f"{faces} faces of {len(costs)} videos, {meshes} with a mesh")
    print(f"processor ms a face: median {np.median(costs):.2f}, least {min(costs):.2f}")
    for name, values in zip(("yaw", "roll"), differences.T, strict=True):
        known = values[~np.isnan(values)]
        told = ", ".join(f"{np.percentile(known, part):.1f} ({part} %)" for part in (50, 90, 99))
        print(f"{name}: mesh and marks apart by {told} degrees; within 8: {np.mean(known <= 8):.1%}")


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "draw":
        draw(Path(rest[0]))
    else:
        measure(rest)
