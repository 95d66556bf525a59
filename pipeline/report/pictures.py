"""Pictures of moments, cut from the video itself where it is still at hand."""

import os
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from models.detectors.boxes import Box
from schemas.errors import UnreadableVideoError
from transforms.faces.thumbnails import make_thumbnail
from transforms.fingerprints import is_same_content, local_fingerprint
from transforms.remote import is_remote, local_path
from transforms.video.decoder import Decoder
from transforms.video.records import Probe, SampledFrame


def is_at_hand(uri: str, fingerprint: str) -> bool:
    """Whether the very file that was processed can be read from this machine's disk."""
    if is_remote(uri) or not os.path.isfile(local_path(uri)):
        return False
    path = local_path(uri)
    return is_same_content(fingerprint, uri, local_fingerprint(path, os.path.getsize(path)))


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
    return [_cut_face(decoder, path, probe, pts_us, box) for pts_us, box in wanted]


def _cut_face(decoder: Decoder, path: str, probe: Probe, pts_us: int, box: np.ndarray) -> bytes | None:
    size = probe.width, probe.height
    # Its second sample is the wanted frame: it falls due right before that, after any other.
    fps = Fraction(1_000_000, max(1, pts_us - 1))
    # To its end, so that the decoder stays for the next.
    frames = list(decoder.read(path, pts_us, pts_us + 1, probe.zero_pts, size, fps))
    for frame in frames:
        if isinstance(frame, SampledFrame):
            x, y, w, h = box.tolist()
            return make_thumbnail(frame.image, Box(x, y, w, h, score=1.0))
    return None
