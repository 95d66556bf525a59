"""What some tests need and not every machine has: each has a marker, and its tests skip without it."""

from pathlib import Path
from typing import Final

from tests.helpers.chromium import CHROMIUM

ROOT: Final = Path(__file__).resolve().parents[2]
# Practice clips and weights that may not be part of the project.
SHARED: Final = ROOT.parent / "shared" / "data"
YUNET: Final = SHARED / "face_detection_yunet_2026may.onnx"

# By marker: whether it is here, and what to say when it is not.
NEEDS: Final = {
    "needs_shared": (SHARED.is_dir(), "needs ../shared/data"),
    "browser": (CHROMIUM is not None, "needs Chromium"),
}
# Fixtures whose tests get the marker of the same name, and folders whose tests do.
MARKING_FIXTURES: Final = ("browser",)
MARKING_FOLDERS: Final = ("torture", "cluster")
