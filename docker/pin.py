"""Writes docker/requirements-cpu.txt and -gpu.txt: an image's packages in the versions pip chooses today.

Run it with the Python version of the image: `python3.11 docker/pin.py`.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BEAM = "2.77.0"
TENSORFLOW = {"cpu": "tensorflow-cpu==2.21.0", "gpu": "tensorflow[and-cuda]==2.21.0"}


def run_requirements() -> list[str]:
    """What setup.py asks for in a run, as it is written there."""
    text = (HERE.parent / "setup.py").read_text(encoding="utf-8")
    [block] = re.findall(r"^RUN = \[(.*?)^\]", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', block)


def resolve(names: list[str]) -> dict[str, str]:
    """All that pip would install into an empty environment, with versions."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    report = subprocess.run([*command, "--report", "-", *names], check=True, capture_output=True, text=True)
    chosen = json.loads(report.stdout)["install"]
    return {
        item["metadata"]["name"].lower().replace("_", "-"): item["metadata"]["version"] for item in chosen
    }


if __name__ == "__main__":
    asked = [name for name in run_requirements() if not name.startswith(("apache-beam", "tensorflow"))]
    for variant, tensorflow in TENSORFLOW.items():
        pins = resolve([*asked, f"apache-beam[gcp]=={BEAM}", tensorflow])
        lines = [f"{name}=={version}\n" for name, version in sorted(pins.items())]
        header = "# Written by docker/pin.py; do not edit.\n"
        (HERE / f"requirements-{variant}.txt").write_text(header + "".join(lines), encoding="utf-8")
