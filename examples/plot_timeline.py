"""Draw one video's emotion timeline from the tables of a run.

    python examples/plot_timeline.py DIR PICTURE.png [VIDEO_ID]

Of one track all emotions share a chart; of several, each emotion has a chart and each track a colour. Nothing
is drawn where no face was seen.
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
    if not (tables / "videos").is_dir():
        sys.exit(f"{folder} holds no tables; `affectline run VIDEOS -o {folder}` first.")
    videos = pd.read_parquet(tables / "videos")
    chosen = videos[videos.video_id == (video_id or videos.video_id.iloc[0])]
    if chosen.empty:
        sys.exit(f"{folder} has no video '{video_id}'; it has {', '.join(map(str, videos.video_id))}.")
    video = chosen.iloc[0]
    of_video = [("video_id", "=", str(video.video_id))]
    rows = pd.read_parquet(tables / "timelines", filters=of_video)
    tracks = pd.read_parquet(tables / "tracks", filters=of_video).sort_values("track_id")
    if rows.empty:
        sys.exit(f"No face was found in {video.uri}; there is nothing to draw.")

    shown = [emotion for emotion in EMOTIONS if rows[emotion].max() > 0.1]
    colors = dict(zip(tracks.track_id, plt.get_cmap("tab10").colors * len(tracks), strict=False))
    charts = [shown] if len(tracks) == 1 else [[emotion] for emotion in shown]
    figure, grid = plt.subplots(
        len(charts), figsize=(9, 1.8 + 1.6 * len(charts)), layout="constrained", sharex=True, squeeze=False
    )
    for axes, emotions in zip(grid[:, 0], charts, strict=True):
        for track_id, track in rows.groupby("track_id"):
            for emotion in emotions:
                color = COLORS[emotion] if len(tracks) == 1 else colors[track_id]
                label = emotion if len(tracks) == 1 else f"track {track_id}"
                axes.plot(track.time_s, track[emotion], color=color, linewidth=2.2, label=label)
                axes.plot(track.time_s, track["raw_" + emotion], ".", color=color, markersize=3)
        name = "probability" if len(tracks) == 1 else emotions[0]
        axes.set(xlim=(0, video.duration_s), ylim=(0, 1.02), ylabel=name)
        axes.spines[["top", "right"]].set_visible(False)
    top = grid[0, 0]
    for track in tracks.itertuples():
        if track.thumbnail:
            image = OffsetImage(Image.open(io.BytesIO(track.thumbnail)), zoom=0.5)
            at = ((track.start_s + track.end_s) / 2, 1.2)
            frame = {"edgecolor": colors[track.track_id], "linewidth": 2, "boxstyle": "square,pad=0.1"}
            top.add_artist(AnnotationBbox(image, at, bboxprops=frame, annotation_clip=False))
    grid[-1, 0].set(xlabel="seconds")
    top.set_title(
        Path(video.uri).name, loc="left", fontsize=10, pad=38 if any(tracks.thumbnail.notna()) else 6
    )
    top.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(
            "Give a folder of tables and the picture to write: plot_timeline.py DIR PICTURE.png [VIDEO_ID]"
        )
    main(*sys.argv[1:])
