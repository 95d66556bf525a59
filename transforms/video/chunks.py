"""Frames looked at together: enough to fill the detector, few enough to keep memory flat."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from transforms.video.records import LostSample, SampledFrame, SegmentSummary

# Frames looked at together: enough to fill the detector, few enough to keep memory flat at 4K.
CHUNK_FRAMES: Final = 16
CHUNK_BYTES: Final = 96 << 20


@dataclass(frozen=True)
class FrameChunk:
    """Neighbouring samples of one video. Never leaves the worker that decoded them."""

    video_id: str
    frames: list[SampledFrame]
    advance_us: int  # video time since the chunk before, for progress


def chunks(
    items: Iterable[SampledFrame | LostSample | SegmentSummary],
) -> Iterator[list[SampledFrame] | LostSample | SegmentSummary]:
    """Group frames into lists of at most CHUNK_FRAMES and CHUNK_BYTES; the rest passes through."""
    held: list[SampledFrame] = []
    size = 0
    for item in items:
        if not isinstance(item, SampledFrame):
            yield item
            continue
        if held and (len(held) == CHUNK_FRAMES or size + item.image.nbytes > CHUNK_BYTES):
            yield held
            held, size = [], 0
        held.append(item)
        size += item.image.nbytes
    if held:
        yield held
