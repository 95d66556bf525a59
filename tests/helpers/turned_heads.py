"""A portrait's face drawn over a head that can be turned by known degrees."""

import zipfile
from typing import Final

import cv2
import numpy as np
from scipy.spatial import ConvexHull, Delaunay
from skimage import data

from models.detectors import Box
from models.mesh import Pose, load_mesh
from tests.helpers.needs import SHARED

# Where the default detector finds the astronaut's face, so that no test has to run it.
ASTRONAUT: Final = Box(179.7, 65.1, 83.3, 105.5, 0.998, 2.6, 0.94)
_DISTANCE: Final = 12.0  # from the camera, in longer sides of the face: about two metres
_SIZE: Final = 400
_VERTEX: Final = np.dtype([("tag", "u1"), ("value", "<f4")])  # in a protocol buffer, five a point


def portrait() -> tuple[np.ndarray, np.ndarray]:
    """The astronaut, uint8 RGB [512, 512, 3], and the mesh of her face."""
    picture = data.astronaut()
    [mesh] = load_mesh().fit([(picture, ASTRONAUT)])
    assert mesh is not None
    return picture, mesh


def canonical_head() -> np.ndarray:
    """Google's canonical face model, which looks into the camera: x right, y down, z away, [468, 3]."""
    with zipfile.ZipFile(SHARED / "face_landmarker.task") as archive:
        content = archive.read("geometry_pipeline_metadata_landmarks.binarypb")
    length = 468 * 5 * _VERTEX.itemsize
    start = next(at for at in range(len(content)) if content[at : at + length : 5] == b"\x1d" * 468 * 5)
    values = np.frombuffer(content[start : start + length], _VERTEX)["value"]
    return values.reshape(468, 5)[:, :3] * [1.0, -1.0, -1.0]


def _behind(points: np.ndarray, rim: np.ndarray) -> list[np.ndarray]:
    """Two rings about a face's rim, each wider and further away from the camera."""
    middle, size = points.mean(axis=0), np.ptp(points[:, 1])
    return [
        (points[rim] - middle) * [wider, wider, 1.0] + middle + [0.0, 0.0, away * size]
        for wider, away in ((1.2, 0.15), (1.4, 0.4))
    ]


def turned(picture: np.ndarray, mesh: np.ndarray, head: np.ndarray, pose: Pose) -> tuple[np.ndarray, Box]:
    """The mesh's part of the picture on a head [468, 3], turned by these degrees on a grey ground.

    Returns uint8 RGB [400, 400, 3], and the box of the face in it.
    """
    # A face alone is no head: hair and neck go on behind it.
    rim = ConvexHull(mesh[:, :2]).vertices
    mesh, head = (np.concatenate([points, *_behind(points, rim)]) for points in (mesh, head))
    axes = pose.axes * [[1.0], [-1.0], [-1.0]]
    points = (head - head[:468].mean(axis=0)) * (0.4 * _SIZE / np.ptp(head[:468, 1])) @ axes
    distance = _DISTANCE * 0.4 * _SIZE
    seen = points[:, :2] * distance / (points[:, 2:] + distance) + _SIZE / 2
    image = np.full((_SIZE, _SIZE, 3), 128, np.uint8)
    triangles = Delaunay(mesh[:, :2]).simplices
    for corners in triangles[np.argsort(-points[triangles][:, :, 2].mean(axis=1))]:
        source, target = mesh[corners, :2].astype(np.float32), seen[corners].astype(np.float32)
        low, high = np.floor(target.min(axis=0)).astype(int), np.ceil(target.max(axis=0)).astype(int) + 1
        width, height = (high - low).tolist()
        affine = cv2.getAffineTransform(source, target - low.astype(np.float32))
        patch = cv2.warpAffine(picture, affine, (width, height), borderMode=cv2.BORDER_REPLICATE)
        mask = np.zeros((height, width), np.uint8)
        cv2.fillConvexPoly(mask, np.rint((target - low) * 16).astype(np.int32), 1, shift=4)
        place = image[low[1] : high[1], low[0] : high[0]]
        place[mask > 0] = patch[mask > 0]
    face = seen[: -2 * len(rim)]
    (x, y), (w, h) = face.min(axis=0).tolist(), np.ptp(face, axis=0).tolist()
    return image, Box(x, y, w, h, 0.99, pose.roll, 1.0)
