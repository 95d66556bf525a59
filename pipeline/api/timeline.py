"""One video's timeline, in memory: its tables, other smoothing, pictures of it."""

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipeline.api.html import timeline_html
from pipeline.api.table import Table, in_memory
from pipeline.report.summarize import Track, VideoTables, read_tracks
from pipeline.run.settings import smoothed_settings
from schemas.emotions import colors_of
from schemas.errors import UsageError
from schemas.extras import needs_extra
from schemas.settings import Settings
from transforms.remote import local_path
from transforms.timelines import gather
from transforms.timelines.tabulate import tabulate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEAST_PROBABILITY = 0.1  # of emotions that a plot shows


class Timeline:
    """The faces of one video over time. `Analyzer.video` makes one.

    Its tables have the rows that a run writes: see `docs/querying.md`.
    """

    def __init__(self, timeline: gather.Timeline, settings: Settings) -> None:
        self._timeline, self._settings = timeline, settings

    @property
    def path(self) -> str:
        """The video's path or URI."""
        return self._timeline.video.uri

    @property
    def status(self) -> str:
        """`ok`, `partial` (something of it was lost), `failed` (nothing was read), `retry`: not for good."""
        return self._timeline.status

    @property
    def error(self) -> str | None:
        """What is to be said of a video that is not `ok`, and of some that are."""
        return " ".join(self._timeline.problems) or None

    @property
    def duration_s(self) -> float:
        """From the first frame to the end of the last, in seconds; 0 when nothing was read."""
        return self.row["duration_s"] or 0.0

    @property
    def row(self) -> dict[str, Any]:
        """The video's row in `videos`: size, codec, counts, model and settings as used."""
        [row] = self._tables["videos"].to_pylist()
        return dict(row)

    @property
    def faces(self) -> Table:
        """A row a face at a sampled instant, without raw bytes unless asked: `faces(columns=…)`."""
        return in_memory(self._tables["timelines"])

    @property
    def samples(self) -> Table:
        """A row a sampled instant."""
        return in_memory(self._tables["samples"])

    @property
    def tracks(self) -> Table:
        """A row a face that was followed."""
        return in_memory(self._tables["tracks"])

    @property
    def failures(self) -> Table:
        """A row for whatever went wrong."""
        return in_memory(self._tables["failures"])

    def resmooth(self, smoothing: str, window: float | None = None) -> "Timeline":
        """The same faces and tracks, smoothed otherwise.

        Args:
            smoothing: `hmm`, `ema`, `median`, `mode` or `none`.
            window: seconds; None for the method's own.

        Raises:
            UsageError: there is no such smoothing.
        """
        settings = smoothed_settings(self._settings, smoothing, window)
        return Timeline(gather.smooth_tracks(self._timeline, settings), settings)

    def annotate(self, output: str | os.PathLike[str]) -> str:
        """Draw the faces into a copy of the video, with its sound; the copy's path.

        Args:
            output: the MP4 to write.

        Raises:
            UsageError: it cannot be written, or nothing of the video could be read.
        """
        from pipeline.commands.annotate import draw_video

        if not self._timeline.info:
            raise UsageError(f"{self.path} could not be read: {self.error}")
        size = self._timeline.info.width, self._timeline.info.height
        target = os.fspath(output)
        draw_video(self._timeline.video, size, self._tables["samples"], self._tables["timelines"], target)
        return target

    def plot(self) -> "Figure":
        """A figure of matplotlib's with a panel for each track: smoothed probabilities, raw ones as dots.

        Raises:
            UsageError: matplotlib is not installed.
        """
        with needs_extra("plot", "matplotlib"):
            from matplotlib.figure import Figure

        tracks, emotions = self._tracks, self._video_tables.emotions
        colors = colors_of(emotions)
        figure = Figure(figsize=(9, 1 + 2 * max(1, len(tracks))), layout="constrained")
        panels = figure.subplots(max(1, len(tracks)), 1, sharex=True, squeeze=False)[:, 0]
        for panel in panels:
            panel.set(xlim=(0, max(self.duration_s, 1e-6)), ylim=(0, 1.02), ylabel="probability")
        for panel, track in zip(panels, tracks, strict=False):
            panel.set_title(f"#{track.track_id}", loc="left", fontsize=9)
            time_s = track.pts_us / 1e6
            for at in track.known:
                if track.smoothed[:, at].max() < _LEAST_PROBABILITY:
                    continue
                look: dict[str, Any] = {"color": colors[emotions[at]]}
                panel.plot(time_s, track.smoothed[:, at], linewidth=2, label=emotions[at], **look)
                panel.plot(time_s, track.raw[:, at], ".", markersize=3, **look)
            panel.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        panels[0].set_title(self._name, fontsize=10)
        panels[-1].set_xlabel("seconds")
        return figure

    def __repr__(self) -> str:
        return f"<Timeline of {self._name}: {self._told}>"

    def _repr_html_(self) -> str:
        tracks = self._tables["tracks"]
        pictures = dict(zip(tracks["track_id"].to_pylist(), tracks["thumbnail"].to_pylist(), strict=True))
        emotions = self._video_tables.emotions
        return timeline_html(self._name, self._told, self._tracks, emotions, pictures, self.duration_s)

    @property
    def _name(self) -> str:
        return local_path(self.path).rpartition("/")[2]

    @property
    def _told(self) -> str:
        row = self.row
        told = f"{self.status}, {self.duration_s:.1f} s, {row['faces']} faces in {row['tracks']} tracks"
        return told if self.error is None else f"{told} ({self.error})"

    @cached_property
    def _tables(self) -> dict[str, pa.Table]:
        return tabulate(self._timeline, self._settings)

    @property
    def _video_tables(self) -> VideoTables:
        return VideoTables(self._timeline.video.video_id, **self._tables)

    @property
    def _tracks(self) -> list[Track]:
        return read_tracks(self._video_tables)
