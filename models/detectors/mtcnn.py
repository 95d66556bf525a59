"""MTCNN: three small networks that propose faces, sort them out and place them.

Zhang, Zhang, Li and Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters, 2016. The weights are the ones inside the `mtcnn` wheel
(1.0.0, MIT), and so are thresholds, box arithmetic and the form of non-maximum suppression: the
package is the reference that tests compare with. What differs is how it is run: compiled graphs
instead of eager layers, the image pyramid of a picture packed into one canvas, and the candidates of
all pictures of a call in common batches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, NamedTuple

import joblib
import numpy as np
import tensorflow as tf

from models.detectors.boxes import Box, check_image, finish, resize
from models.detectors.tilt import roll_of
from models.thread_pool import thread_pool

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

_RNET_SIDE: Final = 24  # pixels
_ONET_SIDE: Final = 48


class _BatchSizes(NamedTuple):
    """How many items each network takes at a time."""

    pnet: int
    rnet: int
    onet: int


# On a CPU, one canvas at a time stays in the cache, and batches of one fixed size give the same bits
# whatever else is in the call. A GPU needs more work at a time.
_CPU: Final = _BatchSizes(pnet=1, rnet=32, onet=8)
_GPU: Final = _BatchSizes(pnet=16, rnet=512, onet=128)


@dataclass(frozen=True)
class _Candidates:
    """Boxes that may be faces, in working pictures that have one size."""

    picture: np.ndarray  # int32 [m], index of the picture
    corners: np.ndarray  # float32 [m, 4], left, top, right, bottom in its pixels
    score: np.ndarray  # float32 [m]
    roll: np.ndarray  # float [m], tilt in degrees clockwise; 0 before O-Net

    def __getitem__(self, keep: Any) -> "_Candidates":
        return _Candidates(self.picture[keep], self.corners[keep], self.score[keep], self.roll[keep])


class MtcnnDetector:
    """MTCNN in compiled TensorFlow graphs, on the GPU when TensorFlow sees one.

    Boxes are tight around the face. The score is O-Net's probability of a face, always above 0.8.
    Faces under 12 pixels are not found, whatever `min_face` says.
    """

    name = "mtcnn"

    def __init__(self, min_face: float, frame_scale: float) -> None:
        self._min_face, self._frame_scale = min_face, frame_scale
        self._sizes = _GPU if tf.config.list_physical_devices("GPU") else _CPU
        self._pnet = _compile_pnet()
        self._rnet = _compile_judge(_rnet, "rnet", _RNET_SIDE)
        self._onet = _compile_judge(_onet, "onet", _ONET_SIDE)

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
                to_image = np.array([image.shape[1] / width, image.shape[0] / height] * 2)
                faces[index] = finish(
                    mine.corners * to_image, mine.score, image, self._min_face, self._frame_scale, mine.roll
                )
        return faces

    def _detect(self, pictures: np.ndarray) -> _Candidates:
        """Faces in working pictures, uint8 [n, height, width, 3]."""
        found, level = self._propose(pictures)
        keep = _survivors(found, _LEVEL_OVERLAP, level=level)
        found = found[keep]
        found = _squared(found[_survivors(found, _OVERLAP)])
        found = _judged(self._rnet, self._sizes.rnet, pictures, found, _RNET_SCORE)
        found = _squared(found[_survivors(found, _OVERLAP)])
        found = _judged(self._onet, self._sizes.onet, pictures, found, _ONET_SCORE)
        return found[_survivors(found, _OVERLAP, of_smaller=True)]

    def _propose(self, pictures: np.ndarray) -> tuple[_Candidates, np.ndarray]:
        """What P-Net takes for faces in the pyramid of every picture, and each one's level."""
        height, width = pictures.shape[1:3]
        shorter = min(height, width)
        finest = np.clip(_FINEST / (self._min_face * shorter), _CELL / shorter, 1)
        layout = _layout(height, width, float(finest))

        def scan(start: int) -> tuple[np.ndarray, np.ndarray]:
            batch = pictures[start : start + self._sizes.pnet]
            cells, output = self._pnet(tf.constant(np.stack([_pack(picture, layout) for picture in batch])))
            return cells.numpy() + np.array([start, 0, 0]), output.numpy()

        parts = thread_pool().map(scan, range(0, len(pictures), self._sizes.pnet))
        cells, output = (np.concatenate(part) for part in zip(*parts, strict=True))
        level = layout.level_of_cell[cells[:, 1], cells[:, 2]]
        inside = level >= 0
        cells, output, level = cells[inside], output[inside], level[inside]
        corner = cells[:, [2, 1]] * _STRIDE - layout.origin[level]
        corners = np.concatenate([corner, corner + _CELL], axis=1) + output[:, :4] * _CELL
        corners *= np.tile(layout.zoom[level], 2)
        upright = np.zeros(len(cells))
        owner = cells[:, 0].astype(np.int32)
        return _Candidates(owner, corners.astype(np.float32), output[:, 4], upright), level


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


def _judged(
    network: Callable[..., tf.Tensor], size: int, pictures: np.ndarray, found: _Candidates, least: float
) -> _Candidates:
    """Let R-Net or O-Net look at every candidate: those above `least`, moved and scored anew.

    Crops run in batches of one size, the last one padded.
    """
    if not len(found.score):
        return found
    count = len(found.score)
    padding = (0, -count % size)
    owner = np.pad(found.picture, padding)
    corners = np.pad(found.corners, (padding, (0, 0)))
    stack = tf.constant(pictures)

    def judge(start: int) -> np.ndarray:
        part = slice(start, start + size)
        return network(stack, tf.constant(corners[part]), tf.constant(owner[part])).numpy()

    output = np.concatenate(list(thread_pool().map(judge, range(0, len(owner), size))))[:count]
    # The networks learned offsets in units of a box whose last pixel counts, hence the 1.
    extent = np.tile(found.corners[:, 2:] - found.corners[:, :2] + 1, 2)
    # O-Net places five marks as well: their x, then their y, in the candidate's square.
    marks = output[:, 5:].reshape(count, 2, -1).transpose(0, 2, 1)
    roll = roll_of(marks) if marks.size else found.roll
    moved = _Candidates(found.picture, found.corners + output[:, :4] * extent, output[:, 4], roll)
    return moved[moved.score > least]


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


# The networks. Weights are constants of the graphs; kernels are [height, width, in, out].


def _weights(network: str) -> list[np.ndarray]:
    """The arrays in the order of the wheel's own layers: kernel, bias, slopes; kernel, ..."""
    # Found without importing the package, which would build its own networks' classes.
    spec = find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise ImportError("The package 'mtcnn' is not installed; its weights are needed.")
    return joblib.load(Path(spec.origin).parent / "assets" / "weights" / f"{network}.lz4")


def _normalised(pixels: tf.Tensor) -> tf.Tensor:
    return (tf.cast(pixels, tf.float32) - 127.5) / 128


def _prelu(x: tf.Tensor, slopes: np.ndarray) -> tf.Tensor:
    slopes = slopes.reshape(-1)
    if slopes.max() <= 1:  # the shorter form of the same
        return tf.maximum(x, slopes * x)
    return tf.maximum(x, 0) + slopes * tf.minimum(x, 0)


def _convolution(x: tf.Tensor, kernel: np.ndarray, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "VALID"), bias)


# Compiled functions are handed out as concrete ones: to find the graph that fits takes tf.function a
# third of a millisecond each time.


def _compile_pnet() -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Canvases, uint8 [n, height, width, 3], to the cells that may hold a face.

    Gives int [m, 3] canvas, row and column, and float [m, 5]: four offsets and the probability.
    """
    k1, b1, a1, k2, b2, a2, k3, b3, a3, k_box, b_box, k_face, b_face = _weights("pnet")
    kernel = np.concatenate([k_box, k_face], axis=3)
    bias = np.concatenate([b_box, b_face])
    # Pooled before its activation, which is then a quarter of the work and gives the same: with a slope
    # s >= 0 PReLU rises, so it may follow; with s < 0 the greatest of a window is max(x) or max(-|s| x).
    a1 = a1.reshape(-1)
    rising, folded = np.flatnonzero(a1 >= 0), np.flatnonzero(a1 < 0)
    k1, b1 = (
        np.concatenate([v[..., rising], v[..., folded], v[..., folded] * a1[folded]], axis=-1)
        for v in (k1, b1)
    )
    parts = [len(rising), len(folded), len(folded)]
    k2 = k2[:, :, np.concatenate([rising, folded])]

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])
    def pnet(canvases: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x = tf.nn.max_pool2d(_convolution(_normalised(canvases), k1, b1), 2, 2, "SAME")
        up, positive, negative = tf.split(x, parts, axis=3)
        x = tf.concat([_prelu(up, a1[rising]), tf.maximum(positive, negative)], axis=3)
        x = _prelu(_convolution(x, k2, b2), a2)
        x = _prelu(_convolution(x, k3, b3), a3)
        x = _convolution(x, kernel, bias)
        face = tf.sigmoid(x[..., 5] - x[..., 4])
        cells = tf.where(face > _PNET_SCORE)
        output = tf.concat([tf.gather_nd(x, cells)[:, :4], tf.gather_nd(face, cells)[:, None]], axis=1)
        return cells, output

    return pnet.get_concrete_function()


def _compile_judge(
    network: Callable[[tf.Tensor, list[np.ndarray]], tuple[tf.Tensor, tf.Tensor]], name: str, side: int
) -> Callable[..., tf.Tensor]:
    """Pictures, uint8 [n, h, w, 3], corners [m, 4] and owner [m] to offsets, probability, marks [m, 5+]."""
    weights = _weights(name)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.uint8),
            tf.TensorSpec([None, 4], tf.float32),
            tf.TensorSpec([None], tf.int32),
        ]
    )
    def judge(pictures: tf.Tensor, corners: tf.Tensor, owner: tf.Tensor) -> tf.Tensor:
        size = tf.cast(tf.shape(pictures)[1:3], tf.float32)
        squares = tf.gather(corners, [1, 0, 3, 2], axis=1) / tf.tile(size, [2])
        crops = tf.image.crop_and_resize(pictures, squares, owner, [side, side], extrapolation_value=127.5)
        places, face = network(_normalised(crops), weights)
        return tf.concat([places[:, :4], tf.nn.softmax(face)[:, 1:], places[:, 4:]], axis=1)

    return judge.get_concrete_function()


def _rnet(x: tf.Tensor, weights: list[np.ndarray]) -> tuple[tf.Tensor, tf.Tensor]:
    """R-Net: normalised crops [m, 24, 24, 3] to offsets [m, 4] and logits [m, 2]."""
    k1, b1, a1, k2, b2, a2, k3, b3, a3, w4, b4, a4, w_box, b_box, w_face, b_face = weights
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k1, b1), a1), 3, 2, "SAME")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k2, b2), a2), 3, 2, "VALID")
    x = _prelu(_convolution(x, k3, b3), a3)
    x = _prelu(_flattened(x) @ w4 + b4, a4)
    return x @ w_box + b_box, x @ w_face + b_face


def _onet(x: tf.Tensor, weights: list[np.ndarray]) -> tuple[tf.Tensor, tf.Tensor]:
    """O-Net: normalised crops [m, 48, 48, 3] to offsets and five marks [m, 4 + 10] and logits [m, 2]."""
    *layers, w_box, b_box, w_marks, b_marks, w_face, b_face = weights
    k1, b1, a1, k2, b2, a2, k3, b3, a3, k4, b4, a4, w5, b5, a5 = layers
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k1, b1), a1), 3, 2, "SAME")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k2, b2), a2), 3, 2, "VALID")
    x = tf.nn.max_pool2d(_prelu(_convolution(x, k3, b3), a3), 2, 2, "SAME")
    x = _prelu(_convolution(x, k4, b4), a4)
    x = _prelu(_flattened(x) @ w5 + b5, a5)
    return tf.concat([x @ w_box + b_box, x @ w_marks + b_marks], axis=1), x @ w_face + b_face


def _flattened(x: tf.Tensor) -> tf.Tensor:
    """Columns before rows, as the weights were trained."""
    x = tf.transpose(x, [0, 2, 1, 3])
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])
