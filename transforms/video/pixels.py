"""From a decoded frame to an upright RGB picture with square pixels."""

import struct
from fractions import Fraction
from typing import Any, Final, cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.sidedata.sidedata import Type as SideData
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from schemas.errors import UnreadableVideoError
from transforms.video.records import RgbImage

# Pixels further from square than this are a mistake in the file.
_LONGEST_PIXEL: Final = 10


def _pass_over(kinds: type[SideData], _value: object) -> SideData:
    return kinds.PANSCAN


# PyAV builds all side data of a frame when asked for one, and raises for kinds that it has no name for.
cast(Any, SideData)._missing_ = classmethod(_pass_over)


def to_rgb(frame: VideoFrame, size: tuple[int, int]) -> RgbImage:
    """The upright picture, uint8 RGB [height, width, 3]. Raises UnreadableVideoError.

    Args:
        frame: as it was decoded.
        size: width and height that the upright picture is scaled to.
    """
    matrix = display_matrix(frame)
    width, height = size if matrix[0] else size[::-1]
    try:
        # One thread: waking others for a picture costs more than they bring.
        stored = frame.to_ndarray(format="rgb24", width=width, height=height, threads=1)
    except (av.FFmpegError, ValueError) as error:
        raise UnreadableVideoError(f"Pixels of the kind {frame.format.name} cannot be converted.") from error
    return upright(np.asarray(stored, np.uint8), matrix)


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Width over height of a stored pixel; 1 where the file does not say, or says what cannot be."""
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if 1 / Fraction(_LONGEST_PIXEL) <= aspect <= _LONGEST_PIXEL else Fraction(1)


def display_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Width and height of the upright picture as players show it: wider or narrower, never taller."""
    size = max(1, round(frame.width * aspect)), frame.height
    return size if display_matrix(frame)[0] else size[::-1]


def display_matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """Signs (a, b, c, d): a step right in the stored picture goes (a, b) on screen, one down (c, d).

    Raises:
        UnreadableVideoError: the picture is to be turned by something else than quarter turns.
    """
    # PyAV's stub calls the container of side data a dict of motion vectors.
    found = cast(SideDataContainer, frame.side_data)
    matrix = next((data for data in found if data.type is SideData.DISPLAYMATRIX), None)
    if matrix is None:
        return 1, 0, 0, 1
    a, b, _, c, d = struct.unpack("=9i", bytes(matrix))[:5]
    small = max(map(abs, (a, b, c, d))) / 100
    a, b, c, d = ((value > small) - (value < -small) for value in (a, b, c, d))
    if (a * d != 0) == (b * c != 0):
        raise UnreadableVideoError("The picture is to be shown at an angle that is no quarter turn.")
    return a, b, c, d


def upright(image: RgbImage, matrix: tuple[int, int, int, int]) -> RgbImage:
    """Turns and mirrors a stored picture as its display matrix says."""
    a, b, c, d = matrix
    if a == 0:
        image, right, down = image.swapaxes(0, 1), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(image[::down, ::right])


def rotation(matrix: tuple[int, int, int, int]) -> int:
    """Clockwise degrees; a mirrored picture is first turned, then mirrored left to right."""
    a, b, c, d = matrix
    if a * d - b * c < 0:
        a, c = -a, -c
    return {(1, 0): 0, (0, 1): 90, (-1, 0): 180, (0, -1): 270}[a, b]
