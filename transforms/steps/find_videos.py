"""FindVideos: the step around `transforms.video.inputs`."""

from collections.abc import Iterable

import apache_beam as beam

from schemas.elements import Video
from transforms.video.inputs import find_videos


class FindVideos(beam.PTransform):
    """Inputs as text → PCollection[Video]."""

    def __init__(self, inputs: Iterable[str], out: str) -> None:
        """Take the inputs as the user wrote them; ids that the tables below `out` know stay."""
        super().__init__()
        self._inputs = list(inputs)
        self._out = out

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Video]:
        """List on a worker: a million names do not fit into a job's description."""
        return (
            root
            | beam.Create([self._inputs])
            | beam.FlatMap(find_videos, self._out).with_output_types(Video)
            | "SpreadVideos" >> beam.Reshuffle()
        )
