"""affect7: faces from the web, cut out along their outline, and what to put around them.

The pictures are black outside the face. A network that saw only these so would learn where a picture
comes from instead of what its face shows, so in training other things come around the face, and
FER2013's faces are cut out the same way now and then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
import pyarrow.parquet as pq
import torch
from torch import Tensor
from torch.nn import functional

from schemas.emotions import EMOTIONS, canonical_emotion

_BLACK: Final = 16  # what JPEG leaves of black is below
_EDGE: Final = 5  # side of the square by which the outline is taken in: two pixels are half black

# What comes around a face, and how often: its own colours blurred, another picture of the batch, noise,
# an even grey, or black as it was.
FILLS: Final = {"blurred": 0.35, "other": 0.3, "noise": 0.1, "flat": 0.15, "black": 0.1}


@dataclass(frozen=True)
class WebFaces:
    """pixels: uint8 [N, H, W], grey. inside: uint8 [N, H, W], 255 in the face and 0 outside. emotions:
    int64 [N], indexes into EMOTIONS.
    """

    pixels: np.ndarray
    inside: np.ndarray
    emotions: np.ndarray


def read_web_faces(path: Path) -> WebFaces:
    """The faces of affect7.parquet, which has the columns label and image (an encoded RGB picture)."""
    table = pq.read_table(path, columns=["label", "image"])
    pictures = [_decode(data) for data in table["image"].to_pylist()]
    return WebFaces(
        pixels=np.stack([cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures]),
        inside=np.stack([inside_outline(picture) for picture in pictures]),
        emotions=np.array([EMOTIONS.index(canonical_emotion(label)) for label in table["label"].to_pylist()]),
    )


def _decode(data: bytes) -> np.ndarray:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise ValueError(
            "The data set holds a picture that cannot be decoded; give the affect7 Parquet file."
        )
    return picture


def inside_outline(picture: np.ndarray) -> np.ndarray:
    """255 in the face and 0 in the black around it: uint8 [H, W], of uint8 [H, W, 3]."""
    lit = (picture.max(axis=2) >= _BLACK).astype(np.uint8)
    # The outline is convex, and shadows in the face are not outside.
    points = cv2.findNonZero(cv2.morphologyEx(lit, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    inside = np.zeros(lit.shape, np.uint8)
    if points is None:
        return inside + 255
    cv2.fillConvexPoly(inside, cv2.convexHull(points), 255)
    framed = cv2.copyMakeBorder(inside, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    return cv2.erode(framed, np.ones((_EDGE, _EDGE), np.uint8))[1:-1, 1:-1]


def resized(pictures: np.ndarray, size: int) -> np.ndarray:
    """uint8 [N, H, W] to [N, size, size], as faces are cut out of videos."""
    if pictures.shape[1] == size:
        return pictures
    way = cv2.INTER_AREA if pictures.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(picture, (size, size), interpolation=way) for picture in pictures])


def surrounded(pixels: Tensor, inside: Tensor, others: Tensor) -> Tensor:
    """Faces with something else outside their outline: [N, 1, H, W], each after FILLS by chance.

    pixels: 0 to 255. inside: 1 in the face, 0 outside. others: pictures whose own surroundings may come
    around the faces. All are [N, 1, H, W].
    """
    count, size = len(pixels), pixels.shape[-1]
    kind = torch.multinomial(torch.tensor(list(FILLS.values())), count, replacement=True)

    def enlarged(x: Tensor) -> Tensor:
        return functional.interpolate(x, size=(size, size), mode="bilinear", align_corners=False)

    light = torch.exp((torch.rand(count, 1, 1, 1) * 2 - 1) * 0.5)
    grain = enlarged(torch.rand(count, 1, int(torch.randint(3, 16, (1,))), 6)) + torch.rand_like(pixels) * 0.2
    fills = {
        "blurred": enlarged(_spread(pixels, inside)) * light,
        "other": others,
        "noise": grain * 255 * light,
        "flat": (torch.rand(count, 1, 1, 1) * 255).expand_as(pixels),
        "black": torch.zeros_like(pixels),
    }
    stacked = torch.stack([fills[name] for name in FILLS])
    around = stacked[kind, torch.arange(count)].clamp(0, 255)
    return pixels * inside + around * (1 - inside)


def _spread(pixels: Tensor, inside: Tensor) -> Tensor:
    """The faces' colours coarsely, carried on into what is outside: [N, 1, 8, 8]."""
    colour, weight = (functional.adaptive_avg_pool2d(x, 8) for x in (pixels * inside, inside))
    for _ in range(3):
        blurs = (functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) for x in (colour, weight))
        colour, weight = (old * 0.5 + new for old, new in zip((colour, weight), blurs, strict=True))
    return colour / weight.clamp(min=1e-3)
