"""FindVideos: the step around `transforms.video.inputs`."""

from collections.abc import Iterable

import apache_beam as beam

from schemas.elements import Video
from transforms.video.inputs import find_videos


class FindVideos(beam.PTransform):
    """Inputs as text → PCollection[Video]."""

    def __init__(self, inputs: Iterable[str], out: str, root: str | None = None) -> None:
        """Take the inputs as the user wrote them; ids that the tables below `out` know stay.

        root: as `find_videos` takes it.
        """
        super().__init__()
        self._root = root
        self._inputs = list(inputs)
        self._out = out

    def expand(self, root: beam.Pipeline) -> beam.PCollection[Video]:
        """List on a worker: a million names do not fit into a job's description."""
        return (
            root
            | beam.Create([self._inputs])
            | beam.FlatMap(find_videos, self._out, self._root).with_output_types(Video)
            | "SpreadVideos" >> beam.Reshuffle()
        )
