"""Faces and timelines as pictures for a notebook, in HTML that needs no script."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Final

import numpy as np

from pipeline.report.summarize import Track, stretches
from schemas.emotions import colors_of

_ROW: Final = "display:flex;gap:12px;align-items:center;margin:4px 0"
_MOST_TRACKS: Final = 12  # the longest
_WIDTH, _HEIGHT = 640, 44  # of a track's band, in pixels


def face_html(thumbnail: bytes, probabilities: Mapping[str, float]) -> str:
    """A face beside a bar for each emotion."""
    colors = colors_of([*probabilities])
    bars = "".join(
        f'<tr><td>{escape(name)}</td><td style="text-align:left"><div style="background:{colors[name]};'
        f'height:10px;width:{round(160 * value)}px"></div></td><td>{value:.0%}</td></tr>'
        for name, value in probabilities.items()
    )
    return f'<div style="{_ROW}">{_image(thumbnail, 120)}<table>{bars}</table></div>'


def timeline_html(
    title: str,
    told: str,
    tracks: Sequence[Track],
    emotions: Sequence[str],
    thumbnails: Mapping[int, bytes | None],
    duration_s: float,
) -> str:
    """A band of colour for each track, beside its face, over the video's time."""
    longest = sorted(tracks, key=lambda track: -float(track.spans.sum()))[:_MOST_TRACKS]
    shown = sorted(longest, key=lambda track: track.track_id)
    colors = colors_of(emotions)
    legend = " ".join(
        f'<span style="color:{colors[name]}">&#9632;</span>&nbsp;{escape(name)}' for name in emotions
    )
    rows = "".join(
        f'<div style="{_ROW}"><div style="width:56px">{_image(thumbnails.get(track.track_id), 48)}</div>'
        f"<div>#{track.track_id}</div>{_band(track, emotions, duration_s)}</div>"
        for track in shown
    )
    more = f"<div>and {len(tracks) - len(shown)} shorter tracks</div>" if len(shown) < len(tracks) else ""
    return f"<div><b>{escape(title)}</b> {escape(told)}<br>{legend}{rows}{more}</div>"


def _band(track: Track, emotions: Sequence[str], duration_s: float) -> str:
    colors = colors_of(emotions)
    scale = _WIDTH / max(duration_s, 1e-6)
    parts = "".join(
        f'<rect x="{start * scale:.1f}" y="0" width="{max(1.0, (end - start) * scale):.1f}" '
        f'height="{_HEIGHT}" fill="{colors[emotion]}">'
        f"<title>{emotion} {start:.1f} to {end:.1f} s</title></rect>"
        for start, end, emotion in _bands(track, emotions)
    )
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#8882"/>{parts}</svg>'
    )


def _bands(track: Track, emotions: Sequence[str]) -> Iterator[tuple[float, float, str]]:
    """Start and end in seconds of each stretch with one label in which the track was seen."""
    part = np.cumsum(np.diff(track.sample, prepend=track.sample[:1]) > 1)
    for first, last in stretches(track.label + len(emotions) * part):
        start, end = track.pts_us[first] / 1e6, track.pts_us[last - 1] / 1e6 + track.spans[last - 1]
        yield float(start), float(end), emotions[int(track.label[first])]


def _image(jpeg: bytes | None, height: int) -> str:
    if not jpeg:
        return ""
    return f'<img height="{height}" src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}">'
