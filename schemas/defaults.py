"""What is taken where a user says nothing. Imports nothing, so that `affectline --help` is there at once."""

from typing import Final

FPS: Final = "5"
DETECTOR: Final = "mtcnn"
MODEL: Final = "default"
SMOOTHING: Final = "hmm"
MIN_FACE: Final = 0.08  # of the frame's shorter side
LIVE_MIN_FACE: Final = 0.15  # who is before a camera is near it, and larger is faster
