"""Memory of a local run over many videos: does it grow with their number?

    python -m benchmarks.memory [--videos 200] [--seconds 10] [--wave-minutes 5]

Makes that many small clips, runs `affectline run` on them in a process of its own, and samples the
memory of that process and its decoders (resident, in MB). Prints the peak within each tenth of the
run: the same number ten times means flat.
"""

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import psutil

from tests.clips import astronaut_clip

_TENTHS = 10


def resident_mb(process: psutil.Process) -> float:
    """Memory of a process and all its children, MB."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


@click.command()
@click.option("--videos", default=200, show_default=True)
@click.option("--seconds", default=10.0, show_default=True, help="Length of each clip.")
@click.option("--wave-minutes", default=5.0, show_default=True)
def main(videos: int, seconds: float, wave_minutes: float) -> None:
    """Print peak memory over the course of a run."""
    with tempfile.TemporaryDirectory() as scratch:
        clips = Path(scratch) / "clips"
        first = astronaut_clip(clips / "clip-000.mp4", seconds)
        for number in range(1, videos):
            shutil.copy(first, clips / f"clip-{number:03}.mp4")
        command = [sys.executable, "-m", "pipeline.cli", "run", str(clips), "-o", f"{scratch}/out"]
        started = time.monotonic()
        run = psutil.Popen([*command, "--wave-minutes", str(wave_minutes)], stdout=subprocess.DEVNULL)
        samples: list[tuple[float, float]] = []
        while run.poll() is None:
            samples.append((time.monotonic() - started, resident_mb(run)))
            time.sleep(0.2)
        if run.returncode != 0:
            raise click.ClickException(f"The run ended with exit code {run.returncode}.")
    end = samples[-1][0]
    print(f"{videos} clips of {seconds:g} s in {end:.0f} s; peak MB in each tenth of the run:")
    for tenth in range(_TENTHS):
        part = [mb for at, mb in samples if int(at / end * _TENTHS) == tenth]
        print(f"  {tenth + 1:2}  {max(part, default=0):7.0f}")


if __name__ == "__main__":
    main()
