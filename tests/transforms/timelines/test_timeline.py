"""One video's records become checked, tracked, smoothed rows; the tables that follow add up."""

import dataclasses
import random

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.elements import Face, Failure, Sample, SegmentEnd, Video, VideoInfo
from schemas.emotions import EMOTIONS
from schemas.errors import IncompleteVideoError
from schemas.settings import Settings
from schemas.tables import TABLES
from transforms.tables.blocks import make_block
from transforms.tables.files import table_path
from transforms.tables.resume import Resume, State, differences
from transforms.tables.write import write_video
from transforms.timelines.gather import gather, smooth_tracks, track
from transforms.timelines.shots import SIGNATURE_BYTES
from transforms.timelines.tabulate import sample_spans, tabulate
from transforms.timelines.tracking import APPEARANCE_BYTES

VIDEO = Video("clip-0123456789", "/videos/clip.mp4", "10-20", 10)
RESUME = Resume(300.0)
INFO = VideoInfo(VIDEO.video_id, 320, 240, 1.0, 0, "h264", 2_000_000, 2, [])
HAPPY = [0.02, 0.02, 0.02, 0.88, 0.02, 0.02, 0.02]
SAD = [0.02, 0.02, 0.02, 0.02, 0.88, 0.02, 0.02]


def face(sample, raw=HAPPY, x=100.0, thumbnail=b"", video_id=VIDEO.video_id):
    pose = (5.0, -3.0, 1.0, -1.7)
    box = (x, 50.0, 40.0, 40.0, 0.99)
    return Face(
        *(video_id, sample, sample * 200_000, *box, *pose, raw),
        *(bytes(APPEARANCE_BYTES), thumbnail),
    )


def sample(number, faces=1, status="ok"):
    return Sample(VIDEO.video_id, number, number * 200_000, status, faces, bytes(SIGNATURE_BYTES))


def end(index, frames=25, last=960_000, problems=()):
    return SegmentEnd(VIDEO.video_id, index, frames, last, 40_000, 40_000, list(problems), 0.5)


def records():
    faces = [face(k, SAD if k >= 6 else HAPPY, thumbnail=b"jpeg" if k == 4 else b"") for k in range(8)]
    lost = Sample(VIDEO.video_id, 9, 1_800_000, "decode_error", 0, b"")
    failure = Failure(VIDEO.video_id, VIDEO.uri, "SampleFrames", 1_800_000, "DecodeError", "Lost.")
    return {
        "infos": [INFO],
        "ends": [end(0), end(1, last=1_960_000, problems=["A frame did not decode."])],
        "samples": [*(sample(k) for k in range(8)), sample(8, 0, "no_face"), lost],
        "faces": faces,
        "failures": [failure],
    }


def gathered(rows, folder=""):
    """The records with samples and faces in blocks of at most three rows."""
    blocks = {
        kind: [make_block(rows[kind][start : start + 3], folder) for start in range(0, len(rows[kind]), 3)]
        for kind in ("samples", "faces")
    }
    return gather(VIDEO, **rows | blocks)


def processed(method="none", **changes):
    return smooth_tracks(track(gathered(records() | changes)), Settings(smoothing=method))


def test_tables_of_a_small_video():
    tables = tabulate(processed(), Settings())
    rows = {name: table.to_pylist() for name, table in tables.items()}
    for name, table in tables.items():
        assert table.schema.equals(TABLES[name])
    assert [row["sample"] for row in rows["timelines"]] == list(range(8))
    assert {row["track_id"] for row in rows["timelines"]} == {0}
    assert [row["emotion"] for row in rows["timelines"]] == ["happy"] * 6 + ["sad"] * 2
    assert [row["time_s"] for row in rows["timelines"]] == [0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4]
    for row in rows["timelines"]:
        assert (row["x"], row["y"], row["w"], row["h"]) == (100, 50, 40, 40)
        assert row["confidence"] == pytest.approx(0.88)
        assert sum(row[emotion] for emotion in EMOTIONS) == pytest.approx(1)
    assert [(row["status"], row["faces"]) for row in rows["samples"]] == [
        *[("ok", 1)] * 8,
        ("no_face", 0),
        ("decode_error", 0),
    ]
    [tracked] = rows["tracks"]
    assert (tracked["start_s"], tracked["end_s"], tracked["samples"]) == (0, 1.4, 8)
    assert (tracked["emotion"], tracked["transitions"], tracked["thumbnail"]) == ("happy", 1, b"jpeg")
    assert tracked["share_happy"] == pytest.approx(6 / 8)
    assert tracked["share_sad"] == pytest.approx(2 / 8)
    damage, failure = rows["failures"]
    assert damage == {
        "uri": "/videos/clip.mp4",
        "stage": "SampleFrames",
        "pts_us": None,
        "error_type": "Damage",
        "message": "A frame did not decode.",
    }
    assert failure == {
        "uri": "/videos/clip.mp4",
        "stage": "SampleFrames",
        "pts_us": 1_800_000,
        "error_type": "DecodeError",
        "message": "Lost.",
    }
    [video] = rows["videos"]
    assert (video["status"], video["error"]) == ("partial", "A frame did not decode.")
    assert (video["samples"], video["samples_with_face"], video["faces"], video["tracks"]) == (10, 8, 8, 1)
    assert (video["frames_read"], video["is_vfr"], video["seconds"]) == (50, False, 1.0)
    assert video["duration_s"] == pytest.approx(2.0)


def test_a_video_that_could_not_be_opened():
    failure = Failure(VIDEO.video_id, VIDEO.uri, "PlanSegments", None, "VideoError", "The file is empty.")
    timeline = processed(infos=[], ends=[], samples=[], faces=[], failures=[failure])
    rows = {name: table.to_pylist() for name, table in tabulate(timeline, Settings()).items()}
    [video] = rows["videos"]
    assert (video["status"], video["error"], video["duration_s"]) == ("failed", "The file is empty.", None)
    assert len(rows["failures"]) == 1
    assert rows["timelines"] == rows["samples"] == rows["tracks"] == []


def test_a_face_seen_once_leaves_with_its_reason():
    extra = records()
    extra["samples"][3] = sample(3, faces=2)
    extra["faces"].append(face(3, x=250.0))
    timeline = processed(**extra)
    assert len(timeline.faces.sample) == 8
    assert timeline.samples.faces.tolist() == [1] * 8 + [0, 0]
    assert [(row.stage, row.error_type, row.pts_us) for row in timeline.failures] == [
        ("SampleFrames", "Damage", None),
        ("TrackFaces", "ShortTrack", 600_000),
        ("SampleFrames", "DecodeError", 1_800_000),
    ]
    assert timeline.problems == ["A frame did not decode."]


@pytest.mark.parametrize(
    "changes",
    [
        {"ends": [end(0)]},
        {"ends": [end(0), end(1), end(1)]},
        {"samples": records()["samples"][1:]},
        {"samples": [*records()["samples"], sample(2)]},
        {"faces": records()["faces"][1:]},
        {"faces": [*records()["faces"], face(8)]},
    ],
    ids=["segment lost", "segment twice", "sample lost", "sample twice", "face lost", "face too many"],
)
def test_sums_that_do_not_balance_are_found(changes):
    with pytest.raises(IncompleteVideoError):
        gathered(records() | changes)


@given(st.randoms(use_true_random=False))
def test_the_order_of_arrival_does_not_matter(shuffler: random.Random):
    mixed = records()
    for rows in mixed.values():
        shuffler.shuffle(rows)
    expected, found = processed("hmm"), smooth_tracks(track(gathered(mixed)), Settings())
    for part in ("samples", "faces"):
        for field in dataclasses.fields(getattr(expected, part)):
            np.testing.assert_array_equal(
                getattr(getattr(found, part), field.name), getattr(getattr(expected, part), field.name)
            )
    assert (found.ends, found.failures) == (expected.ends, expected.failures)


def test_a_gap_counts_as_two_steps_at_most():
    assert sample_spans(np.array([0, 200_000, 400_000, 5_400_000])).tolist() == [0.2, 0.2, 0.4, 0.2]
    assert sample_spans(np.array([7])).tolist() == [1.0]
    assert sample_spans(np.array([])).tolist() == []


def test_writing_is_whole_repeatable_and_marks_the_video_done(tmp_path):
    out = str(tmp_path / "out")
    settings = Settings(model_sha256="1")
    assert RESUME.state(VIDEO, out, settings) == State.NEW
    for _ in range(2):
        write_video(tabulate(processed(), settings), VIDEO.video_id, out)
    files = sorted(str(path.relative_to(out)) for path in tmp_path.glob("out/**/*.parquet"))
    assert files == sorted(f"{name}/video_id={VIDEO.video_id}/part-0.parquet" for name in TABLES)
    assert RESUME.state(VIDEO, out, settings) == State.DONE
    assert RESUME.state(VIDEO._replace(fingerprint="11-21"), out, settings) == State.NEW
    other = Settings(fps="2", model_sha256="1")
    assert RESUME.state(VIDEO, out, other) == State.OTHER_SETTINGS
    assert differences([settings], other) == ["fps 2, before 5"]
    head = dataclasses.replace(settings, model_head="affect7")
    assert differences([head], settings) == ["model_head None, before affect7"]
    assert differences([settings], head) == ["model_head affect7, before None"]
    smoother = Settings(smoothing="median", model_sha256="1")
    assert RESUME.state(VIDEO, out, smoother) == State.OTHER_SMOOTHING
    assert RESUME.state(VIDEO, out, Settings(window_s=3.0, model_sha256="1")) == State.DONE
    stored = pq.read_schema(table_path(out, "timelines", VIDEO.video_id))
    assert stored.metadata[b"affectline.config"] == settings.to_json().encode()


def test_a_crash_while_writing_leaves_the_video_undone(tmp_path, monkeypatch):
    out, settings = str(tmp_path), Settings(model_sha256="1")
    write_video(tabulate(processed(), settings), VIDEO.video_id, out)

    def fail(table, path, temp_dir):
        raise OSError("No space left on device")

    monkeypatch.setattr("transforms.tables.write.write_parquet", fail)
    with pytest.raises(OSError, match="No space"):
        write_video(tabulate(processed(), settings), VIDEO.video_id, out)
    assert RESUME.state(VIDEO, out, settings) == State.NEW
