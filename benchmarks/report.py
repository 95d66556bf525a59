"""How long `report` and `compact` take, and how large pages get, on tables of videos that never were.

python -m benchmarks.report --videos 2000     # short videos, 2 people each
python -m benchmarks.report --hour 3          # one hour with so many people all the time
python -m benchmarks.report --hour 400        # or, above 20, each for 30 seconds
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from pipeline.commands.compact import compact, compact_lines
from pipeline.report.pages import check_tables, write_report
from tests.helpers import synthetic


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=0)
    parser.add_argument("--hour", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        if arguments.hour > 20:
            people = [(8.0 * number % 3570, 8.0 * number % 3570 + 30) for number in range(arguments.hour)]
            synthetic.write(out, [synthetic.timeline("/v/hour.mp4", 3600, people)])
        elif arguments.hour:
            synthetic.write(out, [synthetic.timeline("/v/hour.mp4", 3600, [(0, 3600)] * arguments.hour)])
        else:
            for number in range(arguments.videos):
                people = [(0.0, 12.0), (3.0, 20.0)]
                synthetic.write(out, [synthetic.timeline(f"/v/{number}.mp4", 20, people, seed=number)])
        _report(out)
        start = time.perf_counter()
        lines = list(compact_lines(compact(str(out))))
        print(f"compact: {time.perf_counter() - start:.1f} s", *lines, sep="\n  ")
        _report(out)


def _report(out: Path) -> None:
    start = time.perf_counter()
    index = write_report(str(out), str(out / "report"), check_tables(str(out)))
    seconds = time.perf_counter() - start
    largest = max(os.path.getsize(page) for page in (out / "report" / "pages").iterdir())
    print(f"report: {seconds:.1f} s, index {os.path.getsize(index):,} bytes, largest page {largest:,} bytes")


if __name__ == "__main__":
    main()
