"""Rows of one video travel together, in themselves or in files, and come back as they were."""

from collections import Counter
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import given
from hypothesis import strategies as st

from schemas.elements import Block, Face, Sample
from transforms.steps.pack_rows import Pack
from transforms.tables import blocks
from transforms.tables.blocks import Thumbnails, make_block, read_faces, read_samples
from transforms.timelines.tracking import APPEARANCE_BYTES


def sample(number, video="a"):
    return Sample(video, number, number * 200_000, "ok", 1, bytes([number]))


def face(number, thumbnail=b""):
    raw = [0.5, 0.25, 0.25, 0.0, 0.0, 0.0, float(number)]
    pose = (10.5, -3, 2, -1.7)
    appearance = bytes([number]) * APPEARANCE_BYTES
    return Face("a", number, number, 0.1, 2, 3, 4, 0.9, *pose, raw, appearance, thumbnail)


def columns(row):
    return {name: value for name, value in row._asdict().items() if name not in ("video_id", "thumbnail")}


@pytest.mark.parametrize("kept", ["in itself", "in a file"])
def test_rows_come_back(kept, tmp_path):
    folder = str(tmp_path) if kept == "in a file" else ""
    samples = [make_block([sample(1), sample(2)], folder), make_block([sample(3)], folder)]
    assert read_samples(samples).to_pylist() == [columns(sample(k)) for k in (1, 2, 3)]
    faces = [make_block([face(1), face(2, b"jpeg 2")], folder), make_block([face(3, b"jpeg 3")], folder)]
    assert read_faces(faces).to_pylist() == [columns(face(k)) | {"pictured": k > 1} for k in (1, 2, 3)]
    assert len(list(tmp_path.iterdir())) == (4 if folder else 0)
    assert all(bool(block.content) != bool(block.path) for block in samples + faces)


def test_no_rows():
    assert read_samples([]).num_rows == read_faces([]).num_rows == len(Thumbnails([], [])) == 0


@given(st.permutations(range(7)), st.integers(1, 7))
def test_thumbnails_are_found_in_any_order_and_cut(order, size):
    faces = [face(number, f"jpeg {number}".encode()) for number in range(7)]
    found = Thumbnails([make_block(faces[i : i + size], "") for i in range(0, 7, size)], order)
    assert list(found) == found[:] == [f"jpeg {number}".encode() for number in order]


def test_each_block_is_of_one_video_and_not_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 4)
    rows = [sample(number, video) for number in range(7) for video in "ab"]

    def check(found):
        assert {Path(block.path).parent for block in found} == {tmp_path}
        assert max(read_samples([block]).num_rows for block in found) <= 4
        counted = Counter()
        for block in found:
            counted.update((block.video_id, number) for number in read_samples([block])["sample"].to_pylist())
        assert counted == Counter((row.video_id, row.sample) for row in rows)

    with beam.Pipeline("FnApiRunner") as pipeline:
        packed = pipeline | beam.Create(rows).with_output_types(Sample) | Pack(str(tmp_path))
        assert packed.element_type is Block
        assert_that(packed, check)
