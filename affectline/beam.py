"""Transforms for an Apache Beam pipeline of one's own.

rows = pipeline | FindVideos(["gs://bucket/videos/**"]) | EmotionTimelines(affectline.Settings(fps=5))
rows.timelines, rows.samples, rows.tracks, rows.videos, rows.failures  # dicts
"""

from pipeline.api.beam import EmotionRows as EmotionRows
from pipeline.api.beam import EmotionTimelines as EmotionTimelines
from pipeline.api.beam import bigquery_schema as bigquery_schema
from transforms.steps.find_videos import FindVideos as FindVideos

__all__ = ["EmotionRows", "EmotionTimelines", "FindVideos", "bigquery_schema"]
