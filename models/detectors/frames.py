"""From a detector's box to the face's frame: the square that FER2013's makers would have cut out.

Detectors draw their boxes differently around the same face. A classifier states its crop relative to
the frame alone, so that it sees the same part of a face after any of them.
"""

from typing import Final

# Side of the frame, in longer sides of the box: medians over FER2013's own pictures, found again
# (`python -m benchmarks.redetection`). Their centres agree to a hundredth of a side.
_FRAME_SIDE: Final = {"mtcnn": 0.94, "haar": 0.96, "yunet": 0.89}


def face_frame(detector: str, box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    """The frame of the face in a detector's box.

    detector: its name. box: x, y, w, h in pixels, as `Detector.detect` gives it.

    Returns the square's x, y, w, h in pixels; it may reach out of the picture.
    """
    x, y, w, h = box
    side = _FRAME_SIDE[detector] * max(w, h)
    return x + (w - side) / 2, y + (h - side) / 2, side, side
