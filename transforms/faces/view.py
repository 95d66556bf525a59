"""A face in a picture before anyone names its emotion: where it is, how it is turned, how sharp it is."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

import cv2
import numpy as np

from models.classify.crop import cut_square
from models.classify.sharpness import sharpness
from models.detectors import Box, Detector
from models.mesh import UNKNOWN, FaceMesh, Pose, estimate_pose

_SHARPNESS_SIDE: Final = 48  # pixels, at which `sharpness` measures


class FaceView(NamedTuple):
    """A face in a picture.

    sharpness: see `models.classify.sharpness`, of the face's frame; nan where it was not measured. mesh:
    float32 [468, 3], see `FaceMesh.fit`; None where there is none.
    """

    box: Box
    pose: Pose = UNKNOWN
    sharpness: float = float("nan")
    mesh: np.ndarray | None = None

    @property
    def face_px(self) -> float:
        """The shorter side of the box in pixels."""
        return min(self.box.w, self.box.h)

    def moved(self, to: np.ndarray) -> "FaceView":
        """The same face, with its mesh, where its box is now: float [4], x, y, w and h in pixels."""
        x, y, w, h = to.tolist()
        mesh = self.mesh
        if mesh is not None:
            zoom = np.array([w / self.box.w, h / self.box.h, w / self.box.w])
            mesh = ((mesh - (self.box.x, self.box.y, 0)) * zoom + (x, y, 0)).astype(np.float32)
        return self._replace(box=self.box._replace(x=x, y=y, w=w, h=h), mesh=mesh)


def see_faces(detector: Detector, mesh: FaceMesh, images: Sequence[np.ndarray]) -> list[list[FaceView]]:
    """The faces of neighbouring frames, looked for only where a frame differs from the one before it.

    images: uint8 RGB [height, width, 3]. A frame's faces depend on nothing but its pixels, so those of an
    equal frame are the same; slides and stills are full of them.
    """
    changed = [number == 0 or not _equal(images[number - 1], images[number]) for number in range(len(images))]
    new = [image for image, is_new in zip(images, changed, strict=True) if is_new]
    found = view_faces(mesh, new, detector.detect(new))
    return [found[place - 1] for place in accumulate(changed)]


def view_faces(
    mesh: FaceMesh, images: Sequence[np.ndarray], found: Sequence[list[Box]]
) -> list[list[FaceView]]:
    """What is to be seen of the faces in each picture, uint8 RGB [height, width, 3], by their boxes."""
    faces = [(image, box) for image, boxes in zip(images, found, strict=True) for box in boxes]
    meshes = iter(mesh.fit(faces))
    views: list[list[FaceView]] = []
    for image, boxes in zip(images, found, strict=True):
        points = [next(meshes) for _ in boxes]
        views.append(
            [
                FaceView(box, estimate_pose(mine, box), _sharpness(image, box), mine)
                for box, mine in zip(boxes, points, strict=True)
            ]
        )
    return views


def _sharpness(image: np.ndarray, box: Box) -> float:
    """As the picture has it: neither turned nor as one model cuts it out, so that values compare."""
    x, y, side, _ = box.frame
    square = cv2.cvtColor(cut_square(image, x, y, max(1, round(side))), cv2.COLOR_RGB2GRAY)
    interpolation = cv2.INTER_AREA if len(square) > _SHARPNESS_SIDE else cv2.INTER_LINEAR
    small = cv2.resize(square, (_SHARPNESS_SIDE, _SHARPNESS_SIDE), interpolation=interpolation)
    return float(sharpness(small[None, ..., None])[0])


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    middle = len(a) // 2
    # One row tells most unequal frames apart.
    return a.shape == b.shape and np.array_equal(a[middle], b[middle]) and np.array_equal(a, b)
