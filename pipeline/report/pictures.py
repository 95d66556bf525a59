"""Pictures of moments, cut from the video itself where it is still at hand."""

import os
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from models.detectors.boxes import Box
from schemas.errors import UnreadableVideoError
from transforms.faces.thumbnails import make_thumbnail
from transforms.remote import is_remote
from transforms.video.decoder import Decoder
from transforms.video.inputs import local_fingerprint
from transforms.video.records import SampledFrame

_EVERY_FRAME = Fraction(1_000_000)  # samples a second; unlike 0 it may start anywhere


def is_at_hand(uri: str, fingerprint: str) -> bool:
    """Whether the very file that was processed can be read from this machine's disk."""
    if is_remote(uri) or not os.path.isfile(uri):
        return False
    return local_fingerprint(os.stat(uri)) == fingerprint


def cut_faces(decoder: Decoder, path: str, wanted: Sequence[tuple[int, np.ndarray]]) -> list[bytes | None]:
    """A small JPEG for each (pts_us, box float32 [4]); None for one whose frame cannot be had.

    A file whose timestamps need reading from the start gives none: that would take too long.
    """
    try:
        probe = decoder.probe(path)
    except UnreadableVideoError:
        return [None] * len(wanted)
    if probe.one_piece:
        return [None] * len(wanted)
    return [_cut_face(decoder, path, probe.zero_pts, pts_us, box) for pts_us, box in wanted]


def _cut_face(decoder: Decoder, path: str, zero_pts: int, pts_us: int, box: np.ndarray) -> bytes | None:
    # To its end, so that the decoder stays for the next.
    frames = list(decoder.read(path, pts_us, pts_us + 1, zero_pts, _EVERY_FRAME))
    for frame in frames:
        if isinstance(frame, SampledFrame):
            x, y, w, h = box.tolist()
            return make_thumbnail(frame.image, Box(x, y, w, h, score=1.0))
    return None
