"""PackRows: many rows of a video in one block, which is what is grouped."""

from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from schemas.elements import Block, Face, Sample
from transforms.tables.blocks import Packer


class _Pack(beam.DoFn):
    def __init__(self, folder: str) -> None:
        self._folder = folder

    def start_bundle(self) -> None:
        self._packer = Packer(self._folder)

    def process(self, row: Sample | Face) -> Iterable[Block]:
        return self._packer.add(row)

    def finish_bundle(self) -> Iterator[WindowedValue]:
        return map(GlobalWindows.windowed_value, self._packer.flush())


class Pack(beam.PTransform):
    """PCollection of Samples, or of Faces → PCollection[Block], each of one video."""

    def __init__(self, folder: str) -> None:
        """Keep blocks in files of a local folder, or in themselves when that is ''."""
        super().__init__()
        self._folder = folder

    def expand(self, rows: beam.PCollection[Sample | Face]) -> beam.PCollection[Block]:
        """Wire the step."""
        return rows | beam.ParDo(_Pack(self._folder)).with_output_types(Block)
