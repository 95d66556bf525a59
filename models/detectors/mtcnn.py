"""MTCNN: three small networks that propose faces, sort them out and place them.

Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters, 2016. The weights are the ones inside the `mtcnn` wheel
(1.0.0, MIT), and so are thresholds, box arithmetic and the form of non-maximum suppression: the
package is the reference that tests compare with. What differs is how it is run: the image pyramid of a
picture packed into one canvas, and the candidates of all pictures of a call in common batches.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final, NamedTuple

import cv2
import numpy as np

from models.detectors.boxes import Box, check_image, finish, resize
from models.detectors.mtcnn_files import LITERT_FILES
from models.detectors.tilt import roll_of
from models.gpu import has_gpu
from models.litert import LitertNetwork
from models.thread_pool import thread_pool
from schemas.errors import UsageError

_CELL: Final = 12  # pixels; side of the square that P-Net judges
_STRIDE: Final = 2  # pixels from one such square to the next
_FINEST: Final = 11  # pixels; side of the smallest face in the finest level, a little under a cell
_WORKING: Final = 20  # pixels; its side in the picture that R-Net and O-Net crop from
_PYRAMID_STEP: Final = 0.709

_PNET_SCORE: Final = 0.6
_RNET_SCORE: Final = 0.7
_ONET_SCORE: Final = 0.8
_LEVEL_OVERLAP: Final = 0.5  # between proposals of one pyramid level
_OVERLAP: Final = 0.7  # between all others

# Only noise and patterns reach this; it bounds the memory that pairwise overlaps take.
_MOST_PROPOSALS: Final = 2000

_GREY: Final = (127.5,) * 3  # zero to the networks
_RNET_SIDE: Final = 24  # pixels
_ONET_SIDE: Final = 48

# Pictures, uint8 [N, H, W, 3], to a face's four offsets, the logit of its probability and, from O-Net, its
# five marks, in the last axis of float32; may be called from several threads.
_Network = Callable[[np.ndarray], np.ndarray]


class _BatchSizes(NamedTuple):
    """How many items each network takes at a time."""

    pnet: int
    rnet: int
    onet: int


# On a CPU, one canvas a core, and batches of one fixed size, which give the same bits whatever else is in
# the call. A GPU needs more work at a time.
_CPU: Final = _BatchSizes(pnet=1, rnet=32, onet=8)
_GPU: Final = _BatchSizes(pnet=16, rnet=512, onet=128)


@dataclass(frozen=True)
class _Candidates:
    """Boxes that may be faces, in working pictures that have one size."""

    picture: np.ndarray  # int32 [m], index of the picture
    corners: np.ndarray  # float32 [m, 4], left, top, right, bottom in its pixels
    score: np.ndarray  # float32 [m]
    roll: np.ndarray  # float [m], tilt in degrees clockwise; 0 before O-Net
    marks: np.ndarray  # float32 [m, 5, 2], see `Box`, in pixels; [m, 0, 2] before O-Net

    def __getitem__(self, keep: Any) -> "_Candidates":
        return _Candidates(**{name: value[keep] for name, value in vars(self).items()})


class MtcnnDetector:
    """MTCNN in LiteRT, or in TensorFlow's graphs where that sees a GPU.

    Boxes are tight around the face. The score is O-Net's probability of a face, always above 0.8.
    Faces under 12 pixels are not found, whatever `min_face` says.
    """

    name = "mtcnn"

    def __init__(self, min_face: float, frame_scale: float) -> None:
        self._min_face, self._frame_scale = min_face, frame_scale
        load: Callable[[str], _Network] = load_litert
        self._sizes = _CPU
        if has_gpu():
            from models.detectors.mtcnn_networks import tensorflow_network

            load, self._sizes = tensorflow_network, _GPU
        self._pnet, self._rnet, self._onet = load("pnet"), load("rnet"), load("onet")

    def detect(self, images: Sequence[np.ndarray]) -> list[list[Box]]:
        """See `Detector.detect`."""
        by_shape: dict[tuple[int, int], list[int]] = {}
        for index, image in enumerate(images):
            check_image(image)
            shorter = min(image.shape[:2])
            if shorter >= _CELL:
                scale = min(1.0, _WORKING / (self._min_face * shorter))
                shape = (round(image.shape[0] * scale), round(image.shape[1] * scale))
                by_shape.setdefault(shape, []).append(index)
        faces: list[list[Box]] = [[] for _ in images]
        for (height, width), indices in by_shape.items():
            shrunk = thread_pool().map(lambda index: resize(images[index], height, width), indices)  # noqa: B023
            pictures = np.stack(list(shrunk))
            found = self._detect(pictures)
            for position, index in enumerate(indices):
                image, mine = images[index], found[found.picture == position]
                to_image = np.array([image.shape[1] / width, image.shape[0] / height])
                faces[index] = finish(
                    mine.corners * np.tile(to_image, 2),
                    mine.score,
                    image,
                    self._min_face,
                    self._frame_scale,
                    mine.roll,
                    mine.marks * to_image,
                )
        return faces

    def _detect(self, pictures: np.ndarray) -> _Candidates:
        """Faces in working pictures, uint8 [n, height, width, 3]."""
        found, level = self._propose(pictures)
        keep = _survivors(found, _LEVEL_OVERLAP, level=level)
        found = found[keep]
        found = _squared(found[_survivors(found, _OVERLAP)])
        found = _judged(self._rnet, _RNET_SIDE, self._sizes.rnet, pictures, found, _RNET_SCORE)
        found = _squared(found[_survivors(found, _OVERLAP)])
        found = _judged(self._onet, _ONET_SIDE, self._sizes.onet, pictures, found, _ONET_SCORE)
        return found[_survivors(found, _OVERLAP, of_smaller=True)]

    def _propose(self, pictures: np.ndarray) -> tuple[_Candidates, np.ndarray]:
        """What P-Net takes for faces in the pyramid of every picture, and each one's level."""
        height, width = pictures.shape[1:3]
        shorter = min(height, width)
        finest = np.clip(_FINEST / (self._min_face * shorter), _CELL / shorter, 1)
        layout = _layout(height, width, float(finest))

        def scan(start: int) -> tuple[np.ndarray, np.ndarray]:
            batch = pictures[start : start + self._sizes.pnet]
            output = self._pnet(np.stack([_pack(picture, layout) for picture in batch]))
            output[..., 4] = _probability(output[..., 4])
            cells = np.argwhere(output[..., 4] > _PNET_SCORE)  # canvas, row and column
            return cells + np.array([start, 0, 0]), output[tuple(cells.T)]

        parts = thread_pool().map(scan, range(0, len(pictures), self._sizes.pnet))
        cells, output = (np.concatenate(part) for part in zip(*parts, strict=True))
        level = layout.level_of_cell[cells[:, 1], cells[:, 2]]
        inside = level >= 0
        cells, output, level = cells[inside], output[inside], level[inside]
        corner = cells[:, [2, 1]] * _STRIDE - layout.origin[level]
        corners = np.concatenate([corner, corner + _CELL], axis=1) + output[:, :4] * _CELL
        corners *= np.tile(layout.zoom[level], 2)
        upright, unmarked = np.zeros(len(cells)), np.zeros((len(cells), 0, 2), np.float32)
        owner = cells[:, 0].astype(np.int32)
        return _Candidates(owner, corners.astype(np.float32), output[:, 4], upright, unmarked), level


class _Layout(NamedTuple):
    """Where the levels of an image pyramid lie in one canvas."""

    height: int  # of the canvas
    width: int
    sizes: list[tuple[int, int]]  # height and width of each level, finest first
    origin: np.ndarray  # int [levels, 2], left and top of each level in the canvas, even
    zoom: np.ndarray  # float [levels, 2], x and y, from pixels of the level to pixels of the picture
    level_of_cell: np.ndarray  # int8 [rows, columns] of P-Net's output; -1 where two levels mix


@lru_cache(maxsize=256)
def _layout(height: int, width: int, finest: float) -> _Layout:
    """Pack the pyramid of a picture; `finest` is the scale of its finest level.

    Two levels are made from the picture, one `_PYRAMID_STEP` smaller than the other. Every further
    one is half of the last but one, which averages exactly four pixels into one, is quick, and comes
    to a step of 0.707.
    """
    sizes = [(round(height * scale), round(width * scale)) for scale in (finest, finest * _PYRAMID_STEP)]
    zoom = [(width / w, height / h) for h, w in sizes]
    while min(sizes[-2]) >= 2 * _CELL:
        sizes.append((sizes[-2][0] // 2, sizes[-2][1] // 2))
        zoom.append((2 * zoom[-2][0], 2 * zoom[-2][1]))
    sizes = [size for size in sizes if min(size) >= _CELL]  # the second may be too small
    zoom = zoom[: len(sizes)]
    # Shelves: each level goes on the first shelf with room, below all shelves when there is none.
    canvas_width = _even(sizes[0][1])
    shelves: list[list[int]] = []  # top, height, width taken
    origin = []
    bottom = 0
    for h, w in sizes:
        shelf = next((s for s in shelves if s[1] >= h and canvas_width - s[2] >= w), None)
        if shelf is None:
            shelf = [bottom, _even(h), 0]
            shelves.append(shelf)
            bottom += shelf[1]
        origin.append((shelf[2], shelf[0]))
        shelf[2] += _even(w)
    level_of_cell = np.full(_cells(bottom, canvas_width), -1, np.int8)
    for level, ((left, top), (h, w)) in enumerate(zip(origin, sizes, strict=True)):
        rows, columns = _cells(h, w)
        level_of_cell[top // 2 :, left // 2 :][:rows, :columns] = level
    return _Layout(bottom, canvas_width, sizes, np.array(origin), np.array(zoom), level_of_cell)


def _even(length: int) -> int:
    return length + length % 2


def _cells(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of P-Net's cells in a level; the last cell may reach a pixel beyond it."""
    return (_even(height) - _CELL) // _STRIDE + 1, (_even(width) - _CELL) // _STRIDE + 1


def _pack(picture: np.ndarray, layout: _Layout) -> np.ndarray:
    """The canvas, uint8 [height, width, 3], with the pyramid of a working picture."""
    canvas = np.zeros((layout.height, layout.width, 3), np.uint8)
    levels: list[np.ndarray] = []
    for (h, w), (left, top) in zip(layout.sizes, layout.origin, strict=True):
        source = picture if len(levels) < 2 else levels[-2][: 2 * h, : 2 * w]
        level = resize(source, h, w)
        canvas[top : top + h, left : left + w] = level
        # The last pixels again where a level is odd: its last row or column of cells needs them.
        canvas[top + h : top + _even(h), left : left + w] = level[-1:]
        canvas[top : top + _even(h), left + w : left + _even(w)] = canvas[
            top : top + _even(h), left + w - 1 : left + w
        ]
        levels.append(level)
    return canvas


def load_litert(name: str) -> _Network:
    """A network by name, from its shipped file; UsageError when that is damaged."""
    path, sha256 = LITERT_FILES[name]
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise UsageError(f"The detector's weights at {path} are damaged; install affectline again.")
    return LitertNetwork(content)


def _probability(logit: np.ndarray) -> np.ndarray:
    return 0.5 + 0.5 * np.tanh(0.5 * logit)  # the logistic function, without its overflow


def _judged(
    network: _Network, side: int, size: int, pictures: np.ndarray, found: _Candidates, least: float
) -> _Candidates:
    """Let R-Net or O-Net look at every candidate: those above `least`, moved and scored anew.

    Crops run in batches of one size, the last one padded.
    """
    if not len(found.score):
        return found

    def judge(start: int) -> np.ndarray:
        crops = np.zeros((size, side, side, 3), np.uint8)
        part = found[start : start + size]
        for crop, picture, corners in zip(crops, part.picture, part.corners, strict=False):
            _crop(pictures[picture], corners, crop)
        return network(crops)[: len(part.score)]

    count = len(found.score)
    output = np.concatenate(list(thread_pool().map(judge, range(0, count, size))))
    output[:, 4] = _probability(output[:, 4])
    # The networks learned offsets in units of a box whose last pixel counts, hence the 1.
    extent = np.tile(found.corners[:, 2:] - found.corners[:, :2] + 1, 2)
    # O-Net places five marks as well: their x, then their y, in the candidate's square.
    marks = output[:, 5:].reshape(count, 2, -1).transpose(0, 2, 1)
    roll = roll_of(marks) if marks.size else found.roll
    placed = found.corners[:, None, :2] + marks * extent[:, None, :2]
    moved = _Candidates(found.picture, found.corners + output[:, :4] * extent, output[:, 4], roll, placed)
    return moved[moved.score > least]


def _crop(picture: np.ndarray, corners: np.ndarray, crop: np.ndarray) -> None:
    """Fill a square crop with a box of the picture, grey outside: first pixels on its left and top, last ones
    on its right and bottom, as the networks learned it.
    """
    low, high = corners.reshape(2, 2).astype(float) * [1 - 1 / length for length in picture.shape[1::-1]]
    step = (high - low) / (len(crop) - 1)
    cv2.warpAffine(
        picture,
        np.array([[step[0], 0, low[0]], [0, step[1], low[1]]]),
        crop.shape[:2],
        dst=crop,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=_GREY,
    )


def _survivors(
    found: _Candidates, limit: float, level: np.ndarray | None = None, of_smaller: bool = False
) -> np.ndarray:
    """Indices of the candidates that no better one of their picture, and level, overlaps too much.

    Overlap is the shared area as a part of the union, or of the smaller box. As in the reference, a
    candidate that is suppressed still suppresses others. Best first within each picture.
    """
    order = np.lexsort((-found.score, found.picture))
    kept = []
    for same in np.split(order, np.flatnonzero(np.diff(found.picture[order])) + 1):
        same = same[:_MOST_PROPOSALS]
        clash = _overlaps(found.corners[same], of_smaller) > limit
        if level is not None:
            clash &= level[same][:, None] == level[same]
        kept.append(same[~np.triu(clash, 1).any(axis=0)])
    return np.concatenate(kept)


def _overlaps(corners: np.ndarray, of_smaller: bool) -> np.ndarray:
    """Shared area of every two boxes [m, m], as a part of their union or of the smaller one."""
    left, top, right, bottom = corners.T
    wide = np.minimum.outer(right, right) - np.maximum.outer(left, left)
    high = np.minimum.outer(bottom, bottom) - np.maximum.outer(top, top)
    shared = np.maximum(wide, 0) * np.maximum(high, 0)
    area = (right - left) * (bottom - top)
    return shared / (np.minimum.outer(area, area) if of_smaller else np.add.outer(area, area) - shared)


def _squared(found: _Candidates) -> _Candidates:
    """Each box grown to a square about its centre."""
    low, high = found.corners[:, :2], found.corners[:, 2:]
    extent = high - low
    side = extent.max(axis=1, keepdims=True)
    low = low + extent / 2 - side / 2
    return replace(found, corners=np.concatenate([low, low + side], axis=1))
