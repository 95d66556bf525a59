"""Small clips with a face in them, made from scikit-image's astronaut portrait."""

from pathlib import Path

import av
import numpy as np
from skimage import data

FPS = 25


def astronaut_clip(path: Path, seconds: float) -> Path:
    """Write a 240x240 H.264 clip in which the view drifts a little around the face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    portrait = data.astronaut()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": "10"})
        stream.width = stream.height = 240
        stream.pix_fmt = "yuv420p"
        for number in range(round(seconds * FPS)):
            left = 100 + round(20 * np.sin(number / 10))
            image = np.ascontiguousarray(portrait[:240, left : left + 240])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path
