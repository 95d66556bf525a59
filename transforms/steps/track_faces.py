"""TrackFaces and SmoothEmotions: the steps after grouping, around the functions of `timeline`."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam

from schemas.errors import IncompleteVideoError
from schemas.settings import Settings
from transforms.steps import metrics
from transforms.timelines.gather import Timeline, failed, gather, smooth_tracks, track


def _track(group: tuple[str, Mapping[str, Iterable[Any]]]) -> Timeline:
    _, records = group
    [video] = records["video"]
    try:
        gathered = gather(
            video,
            infos=records["infos"],
            ends=records["ends"],
            samples=records["samples"],
            faces=records["faces"],
            failures=records["failures"],
        )
    except IncompleteVideoError as error:  # the other videos go on
        gathered = failed(video, records["failures"], error)
    timeline = track(gathered)
    # Those of earlier steps were counted there, when they happened.
    new = Counter(row.stage for row in timeline.failures) - Counter(row.stage for row in records["failures"])
    for stage, number in new.items():
        metrics.count_failure(stage, number)
    return timeline


class TrackFaces(beam.PTransform):
    """PCollection of (video_id, its records by kind) → PCollection[Timeline] with track ids."""

    def expand(self, groups: beam.PCollection[Any]) -> beam.PCollection[Timeline]:
        """Wire the step."""
        return groups | beam.Map(_track).with_output_types(Timeline)


class SmoothEmotions(beam.PTransform):
    """PCollection[Timeline] → PCollection[Timeline] with smoothed probabilities."""

    def __init__(self, settings: Settings) -> None:
        """Smooth as the settings say."""
        super().__init__()
        self._settings = settings

    def expand(self, timelines: beam.PCollection[Timeline]) -> beam.PCollection[Timeline]:
        """Wire the step."""
        return timelines | beam.Map(smooth_tracks, self._settings).with_output_types(Timeline)
