"""Small videos in every container and codec that PyAV can write here: what the damaged files are made of."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Final

import av

from tests.helpers.videos import even, write_video

_FRAMES: Final = 25
_SIZE: Final = (176, 144)  # H.261 and H.263 know no other
_DV: Final = (720, 576)

# Ending: codecs. A codec with a size needs that one; one with a pixel format takes no other.
_CODECS: Final[dict[str, tuple[str, ...]]] = {
    ".mp4": ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "mpeg4", "mjpeg"),
    ".mov": ("libx264", "prores_ks", "qtrle", "png", "svq1", "rpza"),
    ".m4v": ("mpeg4",),
    ".mkv": ("libx264", "libx265", "ffv1", "libvpx", "snow"),
    ".webm": ("libvpx", "libvpx-vp9", "libsvtav1"),
    ".avi": ("mpeg4", "mjpeg", "msmpeg4", "msmpeg4v2", "rawvideo", "huffyuv", "ffvhuff", "cinepak",
             "msvideo1", "zmbv", "magicyuv", "asv1", "libx264", "wmv1"),
    ".ts": ("libx264", "libx265", "mpeg2video"),
    ".m2ts": ("libx264",),
    ".mpg": ("mpeg1video", "mpeg2video"),
    ".vob": ("mpeg2video",),
    ".flv": ("flv", "libx264", "flashsv"),
    ".f4v": ("libx264",),
    ".wmv": ("wmv1", "wmv2", "msmpeg4"),
    ".ogv": ("libvpx",),
    ".3gp": ("h263", "mpeg4"),
    ".mxf": ("mpeg2video", "libx264"),
    ".nut": ("mpeg4", "ffv1"),
    ".gif": ("gif",),
    ".apng": ("apng",),
    ".webp": ("libwebp_anim",),
    ".y4m": ("wrapped_avframe",),
    ".ivf": ("libvpx", "libsvtav1"),
    ".obu": ("libsvtav1",),
    ".h264": ("libx264",),
    ".h265": ("libx265",),
    ".m1v": ("mpeg1video",),
    ".m2v": ("mpeg2video",),
    ".mjpeg": ("mjpeg",),
    ".h261": ("h261",),
    ".h263": ("h263",),
    ".dv": ("dvvideo",),
    ".rm": ("rv10", "rv20"),
    ".swf": ("flv",),
    ".wtv": ("mpeg2video",),
    ".gxf": ("mpeg2video",),
    ".cpk": ("cinepak",),
}  # fmt: skip
_PIXELS: Final = {
    "apng": "rgb24", "cinepak": "rgb24", "ffv1": "yuv420p", "flashsv": "bgr24", "gif": "rgb8",
    "huffyuv": "yuv422p", "libwebp_anim": "bgra", "magicyuv": "gbrp", "mjpeg": "yuvj420p",
    "msvideo1": "rgb555le", "png": "rgb24", "prores_ks": "yuv422p10le", "qtrle": "rgb24",
    "rawvideo": "yuv420p", "rpza": "rgb555le", "svq1": "yuv410p", "zmbv": "bgr0",
}  # fmt: skip


def write_sources(folder: Path) -> Iterator[Path]:
    """Write a second of video in each; what this build of FFmpeg cannot write is left out."""
    for ending, codecs in _CODECS.items():
        for codec in codecs:
            path = folder / f"{ending[1:]}-{codec}{ending}"
            size, frames = (_DV, 5) if ending in (".dv", ".gxf") else (_SIZE, _FRAMES)
            with suppress(av.FFmpegError, ValueError, OSError):
                write_video(
                    path,
                    even(frames, 1),
                    tick=Fraction(1, _FRAMES),
                    codec=codec,
                    pix_fmt=_PIXELS.get(codec, "yuv420p"),
                    size=size,
                )
                yield path
                continue
            path.unlink(missing_ok=True)
