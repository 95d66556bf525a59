"""Time and memory of shots, tracks and smoothing for one very long video.

    python benchmarks/long_track.py [--hours 10] [--faces 4] [--rate 5]

Makes the rows of a video of that length in memory: faces that wander, with misses, false faces and a cut
every ten minutes; then follows and smooths them all as the pipeline does. Prints the seconds of each
step, the peak memory of the whole process and, for a tenth of the length, the same again: both must
grow no faster than the length. The goal is 10 hours, 4 faces and 5 samples/s in 2 minutes and 2 GB.
"""

import argparse
import resource
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from transforms.timelines.shots import SIGNATURE_BYTES, find_shots
from transforms.timelines.smoothing import smooth
from transforms.timelines.tracking import APPEARANCE_BYTES, track_faces


def run(hours: float, faces: int, rate: float) -> None:
    """One video, end to end."""
    rng = np.random.default_rng(0)
    n = int(hours * 3600 * rate)
    pts_us = np.rint(np.arange(n) / rate * 1e6).astype(np.int64)
    scene = (pts_us // 600_000_000).astype(np.int64)
    pictures = rng.integers(0, 256, (scene[-1] + 1, SIGNATURE_BYTES), np.uint8)
    signatures = pictures[scene]
    signatures[:, ::7] ^= rng.integers(0, 4, (n, 1), np.uint8)

    angle = pts_us[:, None] / 1e6 * rng.uniform(0.3, 1.5, faces)
    boxes = np.empty((n, faces, 4), np.float32)
    boxes[..., 0] = 40 + 150 * np.arange(faces) + 50 * np.sin(angle) + rng.normal(0, 2, (n, faces))
    boxes[..., 1] = 100 + 20 * np.cos(1.7 * angle) + rng.normal(0, 2, (n, faces))
    boxes[..., 2:] = 50 * np.exp(rng.normal(0, 0.05, (n, faces, 1)))
    false = rng.random((n, faces)) < 0.01
    boxes[false, 0] = rng.uniform(0, 600, false.sum())
    sample, person = np.nonzero(rng.random((n, faces)) > 0.05)
    boxes = boxes[sample, person]
    looks = rng.integers(40, 200, (faces, APPEARANCE_BYTES))
    appearance = np.empty((len(sample), APPEARANCE_BYTES), np.uint8)
    for face in range(faces):
        rows = person == face
        appearance[rows] = looks[face] + rng.integers(-12, 13, (rows.sum(), APPEARANCE_BYTES))
    raw = rng.dirichlet(np.full(7, 0.5), len(sample)).astype(np.float32)
    samples = np.arange(n, dtype=np.int32)
    decoded = np.ones(n, np.bool_)

    cpu = time.process_time()
    started = [time.perf_counter()]
    shots = find_shots(signatures, pts_us, decoded)
    started.append(time.perf_counter())
    tracks = track_faces(sample.astype(np.int32), boxes, appearance, samples, pts_us, shots, decoded)
    started.append(time.perf_counter())
    smoothed = _smooth_all(tracks, pts_us[sample], raw)
    started.append(time.perf_counter())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    steps = ", ".join(
        f"{name} {seconds:.1f} s"
        for name, seconds in zip(("shots", "tracks", "smoothing"), np.diff(started), strict=True)
    )
    print(
        f"{hours:g} h, {faces} faces, {rate:g}/s: {len(sample):,} rows, {tracks.max() + 1} tracks, "
        f"{(tracks < 0).sum():,} dropped, {shots[-1] + 1} shots, {len(smoothed):,} smoothed"
    )
    print(
        f"    {steps}; together {started[-1] - started[0]:.1f} s "
        f"({time.process_time() - cpu:.1f} s of processor time); peak memory {peak:.2f} GB"
    )


def _smooth_all(
    tracks: NDArray[np.int32], time_us: NDArray[np.int64], raw: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Every track by the default method, in place of its rows."""
    smoothed = np.zeros_like(raw)
    order = np.argsort(tracks, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(tracks[order])) + 1):
        if tracks[rows[0]] >= 0:
            smoothed[rows] = smooth("hmm", time_us[rows], raw[rows])
    return smoothed


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--faces", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5.0)
    args = parser.parse_args()
    run(args.hours / 10, args.faces, args.rate)
    run(args.hours, args.faces, args.rate)


if __name__ == "__main__":
    main()
