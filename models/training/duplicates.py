"""Pictures of one photograph, in one data set or in two, found by descriptor and by pixels.

Two pictures of one photograph may be cut, scaled, mirrored and compressed differently. What the network
says of the middle of a face finds candidates; the middle of one, searched for in the other, decides.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch.nn import functional

from models.training.resnet48_torch import Network

SIZE: Final = 48  # of the pictures that are compared
DESCRIPTOR: Final = 0.7  # cosine from which two pictures are compared; of those below, few are duplicates
CORRELATION: Final = 0.9  # of the pixels, from which two pictures are one photograph
_SCALES: Final = (0.8, 0.9, 1.0, 1.1, 1.25)
_MIDDLE: Final = slice(10, 40), slice(9, 39)  # eyes to mouth


@dataclass(frozen=True)
class Pairs:
    """Candidates: rows int64 [K, 2], the descriptor's cosine and the pixels' correlation, float32 [K]."""

    rows: np.ndarray
    cosine: np.ndarray
    correlation: np.ndarray


@torch.no_grad()
def descriptors(pictures: np.ndarray, network: Network) -> np.ndarray:
    """What the network reads in the middle of each face, in even light: float32 [N, 256].

    pictures: uint8 [N, 48, 48].
    """
    network.eval()
    oval = cv2.ellipse(np.zeros((SIZE, SIZE), np.float32), ((24, 25), (34, 40), 0), 1.0, -1)
    mask = torch.tensor(oval)
    features = []
    for rows in torch.tensor(pictures)[:, None].split(256):
        x = rows.float()
        mean = (x * mask).sum((2, 3), keepdim=True) / mask.sum()
        deviation = (((x - mean) * mask).square().sum((2, 3), keepdim=True) / mask.sum()).sqrt()
        even = (x - mean) / deviation.clamp(min=4) * 50 * mask + 117
        with torch.autocast("cpu", torch.bfloat16):
            features.append(network.features(even.to(memory_format=torch.channels_last)).float())
    together: np.ndarray = torch.cat(features).numpy()
    return together


def whitened(features: np.ndarray, by: np.ndarray) -> torch.Tensor:
    """Rows of length 1, without what all faces share: [N, 256], of features by whose covariance it is told.

    Expressions are nearly all that the network's features show, and a face has that in common with
    thousands; what is left beside them tells a photograph.
    """
    mean = by.mean(axis=0)
    spread, axes = np.linalg.eigh(np.cov((by - mean).T))
    found = (features - mean) @ (axes / np.sqrt(spread + spread.max() * 1e-3))
    return functional.normalize(torch.tensor(found, dtype=torch.float32))


def candidate_pairs(pictures: np.ndarray, network: Network) -> Pairs:
    """Pictures that are like one another, or like the mirror image of one another; uint8 [N, 48, 48]."""
    plain = descriptors(pictures, network)
    sides = {
        False: whitened(plain, plain).bfloat16(),
        True: whitened(descriptors(pictures[:, :, ::-1].copy(), network), plain).bfloat16(),
    }
    best: dict[tuple[int, int], tuple[float, float]] = {}
    for start in range(0, len(plain), 1024):
        for mirrored, side in sides.items():
            cosine = (side[start : start + 1024] @ sides[False][start:].T).float()
            cosine = cosine.triu(1)  # each pair once
            for i, j in torch.argwhere(cosine >= DESCRIPTOR).tolist():
                a, b = start + i, start + j
                one = pictures[a, :, ::-1] if mirrored else pictures[a]
                found = same_middle(one, pictures[b]), float(cosine[i, j])
                best[a, b] = max(best.get((a, b), found), found)
    values = np.array(list(best.values()), np.float32).reshape(-1, 2)
    return Pairs(np.array(list(best), np.int64).reshape(-1, 2), values[:, 1], values[:, 0])


def same_middle(one: np.ndarray, other: np.ndarray) -> float:
    """The highest correlation of the middle of one picture with any place of the other, at any scale."""
    middle, best = np.ascontiguousarray(one[_MIDDLE]), -1.0
    if middle.std() < 2 or other.std() < 2:
        return -1.0
    for scale in _SCALES:
        side = round(SIZE * scale)
        scaled = cv2.resize(other, (side, side), interpolation=cv2.INTER_LINEAR)
        best = max(best, float(cv2.matchTemplate(scaled, middle, cv2.TM_CCOEFF_NORMED).max()))
    return best


def groups(pairs: Pairs, count: int) -> np.ndarray:
    """The number of the photograph that each picture shows: int64 [count]."""
    same = pairs.rows[pairs.correlation >= CORRELATION]
    graph = coo_array((np.ones(len(same), bool), (same[:, 0], same[:, 1])), shape=(count, count))
    photographs: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return photographs
