"""Make the clip that `affectline demo` runs on, from scikit-image's public-domain astronaut portrait.

    python examples/make_demo_clip.py pipeline/data/demo.mp4

The view zooms in on the face, pans away until the face has left the frame, waits, and comes back.
"""

import sys
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
from skimage import data

FPS = 25
SIZE = (480, 360)  # width, height
# Second, centre of the view in the portrait (x, y), its width in portrait pixels.
KEYFRAMES = [
    (0.0, 245, 185, 380),
    (2.5, 225, 135, 240),
    (3.5, 250, 140, 260),
    (4.2, 335, 400, 260),
    (6.4, 360, 410, 250),
    (7.1, 235, 140, 250),
    (10.0, 215, 130, 210),
]


def view(second: float) -> tuple[float, float, float]:
    """Centre and width of the view at a time, eased between key frames."""
    for (start, *a), (end, *b) in pairwise(KEYFRAMES):
        if second <= end:
            part = (second - start) / (end - start)
            eased = part * part * (3 - 2 * part)
            x, y, width = (p + eased * (q - p) for p, q in zip(a, b, strict=True))
            return x, y, width
    return KEYFRAMES[-1][1:]


def main(path: str) -> None:
    """Render and encode."""
    portrait = data.astronaut()
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "slow"})
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for number in range(round(KEYFRAMES[-1][0] * FPS)):
            x, y, width = view(number / FPS)
            scale = SIZE[0] / width
            matrix = np.array([[scale, 0, SIZE[0] / 2 - scale * x], [0, scale, SIZE[1] / 2 - scale * y]])
            image = cv2.warpAffine(
                portrait, matrix, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
            )
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


if __name__ == "__main__":
    main(sys.argv[1])
