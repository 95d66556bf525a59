"""What is told of a video by the process that decodes it; needs neither a decoder nor Beam."""

import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from schemas.errors import DecoderKilledError, DecoderStoppedError

FRAME_LOST: Final = "The frame did not decode."
RgbImage = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Probe:
    """What a file is, from listing all its packets and decoding the first frame."""

    zero_pts: int  # of the first frame that decodes, in the stream's time base
    width: int  # of the upright picture as it is shown, with square pixels
    height: int
    sar: float  # width over height of a stored pixel
    rotation: int  # clockwise degrees applied to make the picture upright
    codec: str
    duration_us: int  # from time zero to the end of the last frame listed in the file
    frames: int  # frames listed in the file from time zero on; some may turn out not to decode
    min_step_us: int  # shortest and longest time from one frame to the next; 0 when unknown
    max_step_us: int
    gaps: tuple[tuple[int, int], ...]  # longer than a minute: pts_us of the frames before and after
    one_piece: bool  # only reading from the start gives the right times and pictures
    problems: tuple[str, ...]  # one sentence each


@dataclass(frozen=True)
class Header:
    """What a file says of itself, without a look at what it holds; 0 where it does not say."""

    duration_us: int
    width: int
    height: int


@dataclass(frozen=True)
class SampledFrame:
    """A sampled frame: upright uint8 RGB, [height, width, 3]."""

    sample: int
    pts_us: int
    image: RgbImage


@dataclass(frozen=True)
class LostSample:
    """A sample whose frame is in the file but did not decode."""

    sample: int
    pts_us: int
    reason: str


@dataclass(frozen=True)
class SegmentSummary:
    """What reading one segment amounted to. The sentences do not depend on the cut."""

    frames_read: int
    last_pts_us: int  # of the last frame in the segment, decoded or lost; -1 when it has none
    min_step_us: int  # between frames, the step into the segment included; 0 when unknown
    max_step_us: int
    problems: tuple[str, ...]
    ended_by: DecoderStoppedError | DecoderKilledError | None = field(default=None, compare=False)


@dataclass(frozen=True)
class DecodingProgress:
    """Listing or decoding got to this time; decoding says so at least once per minute of video."""

    pts_us: int


@dataclass(frozen=True)
class Fault:
    """An error that nothing of ours foresaw ended the work on a request."""

    error: str  # its class
    message: str  # in one line
    trace: str


# A message: length of a JSON object, the object, and for a frame its pixels.
HEADER: Final = struct.Struct("=I")
