"""The pipeline's steps: wiring around plain functions, and the only Beam code below `pipeline`."""

import apache_beam as beam

from schemas.elements import ELEMENTS

for _element in ELEMENTS:
    beam.coders.registry.register_coder(_element, beam.coders.RowCoder)
