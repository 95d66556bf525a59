"""Draw one video's emotion timeline from the tables of a run.

    python examples/plot_timeline.py DIR PICTURE.png [VIDEO_ID]

Each track is drawn by itself, so that nothing is drawn where no face was seen.
"""

import io
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from schemas.emotions import COLORS, EMOTIONS


def main(folder: str, picture: str, video_id: str | None = None) -> None:
    """Plot smoothed probabilities over time, raw ones as dots, each track with its thumbnail."""
    tables = Path(folder)
    videos = pd.read_parquet(tables / "videos")
    video = videos[videos.video_id == video_id].iloc[0] if video_id else videos.iloc[0]
    chosen = [("video_id", "=", str(video.video_id))]
    rows = pd.read_parquet(tables / "timelines", filters=chosen)
    tracks = pd.read_parquet(tables / "tracks", filters=chosen)

    shown = [emotion for emotion in EMOTIONS if rows[emotion].max() > 0.1]
    figure, axes = plt.subplots(figsize=(9, 3.4), layout="constrained")
    for track_id, track in rows.groupby("track_id"):
        for emotion in shown:
            label = emotion if track_id == rows.track_id.min() else None
            axes.plot(track.time_s, track[emotion], color=COLORS[emotion], linewidth=2.2, label=label)
            axes.plot(track.time_s, track["raw_" + emotion], ".", color=COLORS[emotion], markersize=3)
    for track in tracks.itertuples():
        if track.thumbnail:
            image = OffsetImage(Image.open(io.BytesIO(track.thumbnail)), zoom=0.5)
            at = ((track.start_s + track.end_s) / 2, 1.16)
            axes.add_artist(AnnotationBbox(image, at, frameon=False, annotation_clip=False))
    axes.set(xlim=(0, video.duration_s), ylim=(0, 1.02), xlabel="seconds", ylabel="probability")
    axes.set_title(
        Path(video.uri).name, loc="left", fontsize=10, pad=34 if any(tracks.thumbnail.notna()) else 6
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
