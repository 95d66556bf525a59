"""How soon a command is there: seconds and memory, beside those of Python with NumPy and OpenCV alone.

    python -m benchmarks.startup [--rounds N] [--json]

Takes turns and keeps the least of all rounds. On a machine that does other work, trust processor seconds and
ratios (each to the yardstick in the same rounds), not the clock. Memory is of all a command's processes
together: a run's decoder is a second one. The goals are seconds on two quiet cores.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import click
import cv2
from skimage import data

from benchmarks.detection import table
from benchmarks.throughput import Run, clip_of_faces, watch

YARDSTICK: Final = "numpy, cv2"
CLIP_S: Final = 2


class Goal(NamedTuple):
    """What a command shall stay under; None: nothing was set."""

    wall_s: float | None = None
    first_sample_s: float | None = None
    peak_mb: float | None = None


GOALS: Final = {
    YARDSTICK: Goal(),
    "a record": Goal(wall_s=0.4),
    "--help": Goal(wall_s=0.3),
    "predict, one picture": Goal(wall_s=1.5),
    f"run, {CLIP_S} s at 360p": Goal(3, 2, 500),
    f"run, {CLIP_S} s at 4K": Goal(peak_mb=900),
}


def commands(folder: Path) -> dict[str, list[str]]:
    """Python's arguments for each of GOALS, and the files that they need, made below `folder`."""
    picture = folder / "one.jpg"
    cv2.imwrite(str(picture), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    small = clip_of_faces(folder / "360p.mp4", (640, 360), CLIP_S, 1)
    large = clip_of_faces(folder / "4k.mp4", (3840, 2160), CLIP_S, 1)
    cli = ["-m", "pipeline.cli"]
    arguments = (
        ["-c", f"import {YARDSTICK}"],
        ["-c", "import schemas.elements"],
        [*cli, "--help"],
        [*cli, "predict", str(picture)],
        *([*cli, "run", str(clip), "-o", str(folder / "out"), "--force"] for clip in (small, large)),
    )
    return dict(zip(GOALS, arguments, strict=True))


def measure(rounds: int) -> dict[str, list[Run]]:
    """Every command in turn, so many times, after one round that fills the disk's cache."""
    with tempfile.TemporaryDirectory() as scratch:
        asked = commands(Path(scratch))
        runs: dict[str, list[Run]] = {name: [] for name in asked}
        for number in range(rounds + 1):
            for name, arguments in asked.items():
                with tempfile.TemporaryDirectory(dir=scratch) as folder:
                    taken = watch(arguments, Path(folder))
                if number:
                    runs[name].append(taken)
    return runs


def figures(runs: dict[str, list[Run]]) -> Iterator[dict[str, Any]]:
    """One row a command: the least of its rounds, as they are and in yardsticks."""

    def least(name: str) -> tuple[float, float, float, float]:
        own = runs[name]
        return (
            min(run.cost.wall for run in own),
            min(run.cost.cpu for run in own),
            min(run.first_sample for run in own),
            max(run.peak_mb for run in own),
        )

    unit_wall, unit_cpu, _, _ = least(YARDSTICK)
    for name, goal in GOALS.items():
        wall, cpu, first_sample, peak_mb = least(name)
        yield {
            "command": name,
            "wall_s": wall,
            "wall_ratio": wall / unit_wall,
            "cpu_s": cpu,
            "cpu_ratio": cpu / unit_cpu,
            "first_sample_s": first_sample if name.startswith("run") else None,
            "peak_mb": peak_mb,
            "goal_wall_s": goal.wall_s,
            "goal_first_sample_s": goal.first_sample_s,
            "goal_peak_mb": goal.peak_mb,
        }


@click.command(help=__doc__)
@click.option("--rounds", default=3, type=click.IntRange(1), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(rounds: int, as_json: bool) -> None:
    """Measure and print."""
    rows = list(figures(measure(rounds)))
    if as_json:
        click.echo(json.dumps({"load": os.getloadavg()[0], "commands": rows}, indent=1))
        return
    click.echo(f"least of {rounds} rounds (memory: most), load {os.getloadavg()[0]:.1f} at the end\n")
    click.echo(table(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
