"""What worker processes cost and gain: one run by 1, 2 and 4 of them, side by side.

    python -m benchmarks.workers VIDEO... [--processes 1 2 4] [--rounds N] [--json]

Each round runs all numbers of processes in turn; of each the round with the least processor time counts. Wall
time says something on a machine that does nothing else. `start_s` is from the command's start to the first
sample, `peak_mb` of all processes together, pages that they share counted once.
"""

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.detection import table
from benchmarks.throughput import Run, watch

PROCESSES: Final = (1, 2, 4)


def measure(videos: tuple[str, ...], processes: tuple[int, ...], rounds: int) -> dict[int, Run]:
    """The best run of each number of processes."""
    best: dict[int, Run] = {}
    for _ in range(rounds):
        for count in processes:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out"
                run = watch(
                    ["-m", "pipeline.cli", "run", *videos, "-o", str(out), "--workers", str(count)],
                    Path(folder),
                )
            if count not in best or run.cost.cpu < best[count].cost.cpu:
                best[count] = run
    return best


def figures(best: dict[int, Run]) -> list[dict[str, Any]]:
    """One row a number of processes, beside the first."""
    first = next(iter(best.values()))
    return [
        {
            "processes": count,
            "wall_s": run.cost.wall,
            "x wall": run.cost.wall / first.cost.wall,
            "cpu_s": run.cost.cpu,
            "x cpu": run.cost.cpu / first.cost.cpu,
            "start_s": run.first_sample,
            "peak_mb": run.peak_mb,
        }
        for count, run in best.items()
    ]


@click.command(help=__doc__)
@click.argument("videos", nargs=-1, required=True, type=click.Path(exists=True))
@click.option("--processes", multiple=True, type=click.IntRange(1), default=PROCESSES, show_default=True)
@click.option("--rounds", default=1, type=click.IntRange(1), show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def main(videos: tuple[str, ...], processes: tuple[int, ...], rounds: int, as_json: bool) -> None:
    """Measure and print."""
    rows = figures(measure(videos, processes, rounds))
    if as_json:
        click.echo(json.dumps({"load": os.getloadavg()[0], "runs": rows}, indent=1))
        return
    click.echo(f"load {os.getloadavg()[0]:.1f} at the end\n")
    click.echo(table(tuple(rows[0]), [list(row.values()) for row in rows]))


if __name__ == "__main__":
    main()
