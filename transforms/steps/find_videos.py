"""FindVideos: the step around `transforms.video.inputs`."""

from collections.abc import Iterable

import apache_beam as beam

from schemas.elements import Video
from transforms.video.inputs import find_videos


class FindVideos(beam.PTransform):
    """Inputs as text → PCollection[Video]."""

    def __init__(self, inputs: Iterable[str], out: str | None = None, root: str | None = None) -> None:
        """Take the inputs as the user wrote them.

        Args:
            inputs: files, folders, globs, URIs or @lists of them.
            out: a folder of tables; videos that it knows keep the ids that they have there.
            root: the folder that paths count from, instead of from the input.
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
