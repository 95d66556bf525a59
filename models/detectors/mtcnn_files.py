"""The shipped files of MTCNN's networks, in LiteRT."""

from pathlib import Path
from typing import Final

_WEIGHTS: Final = Path(__file__).parent.parent / "weights"
# Each with its sha256, as written by `python -m models.detectors.mtcnn_networks`.
LITERT_FILES: Final = {
    "pnet": (
        _WEIGHTS / "mtcnn-pnet.tflite",
        "5eea1654a647c384af4699de7b445aea2c0ca2152bf5f4c3ff784f2406c25e1d",
    ),
    "rnet": (
        _WEIGHTS / "mtcnn-rnet.tflite",
        "b779401df91ceb1120a05f8c6f3d90df56bc710a911021d37e2769b417a1e40f",
    ),
    "onet": (
        _WEIGHTS / "mtcnn-onet.tflite",
        "a613943c62c40aa3da8125fde7e5ab4a97b7f92b37e63e2e7072afc75ec3b4eb",
    ),
}
