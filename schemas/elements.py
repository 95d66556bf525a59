"""The small records that travel between pipeline steps.

Each is a NamedTuple; `transforms.steps` gives each a RowCoder, so that Beam shuffles it with a deterministic,
compact encoding. Times are integer microseconds after the video's first decodable frame; boxes are pixels
of the upright picture. Frames and crops are not here: they never leave their fused stage.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import pyarrow as pa

from schemas.tables import APPEARANCE, POSE

# Sampled instants: a frame with faces, a frame without, a frame that did not decode.
OK: Final = "ok"
NO_FACE: Final = "no_face"
DECODE_ERROR: Final = "decode_error"
UNREAD: Final = "unread"  # on the way alone: planned for a segment that could not be fetched

# Videos that are not `ok`: something of it was lost, nothing was read, what went wrong may go right later.
PARTIAL: Final = "partial"
FAILED: Final = "failed"
RETRY: Final = "retry"


class Video(NamedTuple):
    """One matched input file."""

    video_id: str
    uri: str
    fingerprint: str  # changes when the file does
    size_bytes: int


class VideoInfo(NamedTuple):
    """What listing a file's packets and decoding its first frame tells."""

    video_id: str
    width: int  # of the upright picture as it is shown, with square pixels
    height: int
    sar: float  # width over height of a stored pixel
    rotation: int  # clockwise degrees applied to make the picture upright: 0, 90, 180 or 270
    codec: str
    duration_us: int  # up to the end of the last frame that the file lists
    segments: int  # pieces planned
    problems: Sequence[str]  # one sentence each


class Segment(NamedTuple):
    """A stretch of one video: the frames with start_us <= pts_us < end_us."""

    video: Video
    number: int  # from 0 in each video
    start_us: int  # 0 in the first piece
    end_us: int  # -1: to the end of the stream
    zero_pts: int  # timestamp of the first decodable frame, in the stream's own time base
    width: int  # that pictures are scaled to
    height: int
    listed_us: int  # where the video ends by the file's list of packets
    listed_frames: int  # of the whole video


class Sample(NamedTuple):
    """One sampled instant."""

    video_id: str
    sample: int
    pts_us: int
    status: str
    faces: int
    signature: bytes  # tiny colour picture of the frame, for finding cuts; empty when it did not decode


class Face(NamedTuple):
    """One face found at a sample, with the model's calibrated probabilities."""

    video_id: str
    sample: int
    pts_us: int
    x: float
    y: float
    w: float
    h: float
    score: float
    yaw: float  # degrees, see docs/pose.md; as pitch and roll, nan where it cannot be known
    pitch: float
    roll: float
    sharpness: float
    raw: Sequence[float]  # in the order of `all_emotions`; nan for classes that the model does not know
    appearance: bytes  # coarse descriptor that tells neighbours apart; no identity
    thumbnail: bytes  # small JPEG, only at some samples so that rows stay small; else empty


class Block(NamedTuple):
    """Many Samples or many Faces of one video, in columns."""

    video_id: str
    content: bytes  # an Arrow file; empty when it lies at `path`
    path: str


class SegmentEnd(NamedTuple):
    """What reading one segment amounted to."""

    video_id: str
    number: int  # of the segment
    frames_read: int
    last_pts_us: int  # of the last frame in the segment, -1 when it had none
    min_step_us: int  # shortest and longest time from one frame to the next; 0 when unknown
    max_step_us: int
    problems: Sequence[str]  # one sentence each; empty when every frame decoded
    seconds: float  # spent on it, decoding to detection


class Failure(NamedTuple):
    """Something that went wrong, with its place."""

    video_id: str
    uri: str
    stage: str
    pts_us: int | None
    error_type: str
    message: str


ELEMENTS: Final = (Video, VideoInfo, Segment, Sample, Face, Block, SegmentEnd, Failure)

# What a Block of each kind holds, beside the video that all its rows share.
BLOCK_COLUMNS: Final = {
    Sample: pa.schema(
        [
            pa.field("sample", pa.int32()),
            pa.field("pts_us", pa.int64()),
            pa.field("status", pa.string()),
            pa.field("faces", pa.int16()),
            pa.field("signature", pa.binary()),
        ]
    ),
    Face: pa.schema(
        [
            pa.field("sample", pa.int32()),
            pa.field("pts_us", pa.int64()),
            *[pa.field(name, pa.float64()) for name in ("x", "y", "w", "h", "score", *POSE, "sharpness")],
            pa.field("raw", pa.list_(pa.float32())),
            pa.field("appearance", APPEARANCE),
            pa.field("thumbnail", pa.binary()),
        ]
    ),
}
