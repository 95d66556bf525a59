"""A mesh of points laid over a face, and how the head is turned."""

from models.mesh.network import FaceMesh, load_mesh
from models.mesh.pose import UNKNOWN, Pose, estimate_pose

__all__ = ["UNKNOWN", "FaceMesh", "Pose", "estimate_pose", "load_mesh"]
