"""Elements and tables say the same thing, and elements survive the shuffle."""

import apache_beam as beam
import pyarrow as pa
import pytest

import transforms.steps  # noqa: F401 - gives each element its coder
from schemas.elements import (
    BLOCK_COLUMNS,
    ELEMENTS,
    Block,
    Face,
    Failure,
    Sample,
    Segment,
    SegmentEnd,
    Video,
    VideoInfo,
)
from schemas.emotions import COLORS, EMOTIONS, all_emotions, canonical_emotion, class_name
from schemas.settings import Settings
from schemas.tables import (
    APPEARANCE,
    FAILURES,
    SAMPLES,
    SCHEMA_VERSION,
    TABLES,
    TIMELINES,
    TRACKS,
    VIDEOS,
    with_emotions,
    with_metadata,
)
from transforms import steps  # noqa: F401 - gives the elements their coders
from transforms.timelines.tracking import APPEARANCE_BYTES

VIDEO = Video("clip-0123456789", "/videos/clip.mp4", "10-20", 10)
EXAMPLES = [
    VIDEO,
    VideoInfo("clip-0123456789", 320, 240, 1.0, 90, "h264", 4_000_000, 2, ["A sentence."]),
    Segment(VIDEO, 1, 60_000_000, -1, 1001, 320, 240, 61_000_000, 1525),
    Sample("clip-0123456789", 3, 600_000, "ok", 2, b"\x00\xff"),
    Face(
        *("clip-0123456789", 3, 600_000, 1.5, 2.0, 30.0, 31.0, 0.9, -12.5, 3.0, 1.5, -1.7),
        *([0.25, 0.75], b"\x01", b""),
    ),
    Block("clip-0123456789", b"\x00\xff", ""),
    SegmentEnd("clip-0123456789", 1, 50, 1_960_000, 40_000, 41_000, ["A sentence."], 0.5),
    Failure("clip-0123456789", "/videos/clip.mp4", "SampleFrames", None, "DecodeError", "Broken."),
]


@pytest.mark.parametrize("element", EXAMPLES, ids=lambda element: type(element).__name__)
def test_elements_survive_the_shuffle(element):
    coder = beam.coders.registry.get_coder(type(element))
    assert isinstance(coder, beam.coders.RowCoder)
    assert coder.decode(coder.encode(element)) == element


def test_every_element_has_an_example():
    assert tuple(type(example) for example in EXAMPLES) == ELEMENTS


def test_tables_hold_what_elements_carry():
    travelling = {"video_id", "raw", "thumbnail", "signature"}
    assert set(Face._fields) - travelling <= set(TIMELINES.names)
    assert ["raw_" + emotion for emotion in EMOTIONS] == [n for n in TIMELINES.names if n.startswith("raw_")]
    assert set(Sample._fields) - travelling <= set(SAMPLES.names)
    assert set(Failure._fields) - travelling == set(FAILURES.names)
    assert {"width", "height", "rotation", "codec"} <= set(VIDEOS.names) & set(VideoInfo._fields)
    assert {"uri", "fingerprint"} <= set(VIDEOS.names) & set(Video._fields)
    kinds = {int: pa.types.is_integer, float: pa.types.is_floating, str: pa.types.is_string}
    for element, schema in ((Face, TIMELINES), (Sample, SAMPLES)):
        for name, kind in element.__annotations__.items():
            if name in schema.names and kind in kinds:
                assert kinds[kind](schema.field(name).type), name


def test_blocks_hold_what_elements_carry():
    for element, schema in BLOCK_COLUMNS.items():
        assert ("video_id", *schema.names) == element._fields


def test_the_descriptor_fits_its_column():
    assert pa.binary(APPEARANCE_BYTES) == APPEARANCE


def test_emotion_columns_are_in_label_order():
    names = TRACKS.names
    assert tuple(name for name in TIMELINES.names if name in EMOTIONS) == EMOTIONS
    assert tuple(name for name in names if name in EMOTIONS) == EMOTIONS
    shares = tuple(name.removeprefix("share_") for name in names if name.startswith("share_"))
    assert shares == (*EMOTIONS, "frontal")
    assert tuple(COLORS) == EMOTIONS


def test_version_labels_and_settings_stand_in_the_files():
    for schema in TABLES.values():
        metadata = with_metadata(schema, EMOTIONS, '{"fps": "5"}').metadata
        assert metadata[b"affectline.schema_version"] == str(SCHEMA_VERSION).encode()
        assert b'"angry", "disgust"' in metadata[b"affectline.emotions"]
        assert metadata[b"affectline.config"] == b'{"fps": "5"}'


def test_the_row_in_videos_is_written_last():
    assert list(TABLES)[-1] == "videos"


def test_a_class_beside_the_seven_has_its_columns_after_theirs():
    emotions = all_emotions(["contempt", "sad", "awe"])
    assert emotions == (*EMOTIONS, "contempt", "awe")
    names = with_emotions(TIMELINES, emotions).names
    at = names.index("raw_neutral")
    assert names[at - 9 : at + 4] == [
        *EMOTIONS[-1:],
        "contempt",
        "awe",
        *(f"raw_{name}" for name in EMOTIONS),
        "raw_contempt",
        "raw_awe",
        "emotion",
    ]
    assert [name for name in names if name in TIMELINES.names] == TIMELINES.names
    assert with_emotions(TRACKS, emotions).names[-7:] == ["share_contempt", "share_awe", *TRACKS.names[-5:]]


def test_a_class_cannot_be_called_as_any_other_column_is():
    for name in {*TIMELINES.names, *TRACKS.names, "video_id"} - {*EMOTIONS}:
        with pytest.raises(ValueError, match="A class cannot be called"):
            class_name(name)


@pytest.mark.parametrize(("spelling", "emotion"), [("Anger", "angry"), ("fearful", "fear"), (" sad ", "sad")])
def test_other_spellings_are_the_same_class(spelling, emotion):
    assert canonical_emotion(spelling) == emotion


def test_an_unknown_emotion_is_refused():
    with pytest.raises(ValueError, match="'bored' is not one of the emotions angry, disgust"):
        canonical_emotion("bored")


def test_the_hash_changes_with_the_tables_alone():
    base = Settings(model="a", model_sha256="1")
    assert base.config_hash() == Settings(model="b", model_sha256="1").config_hash()
    assert base.config_hash() == Settings(fps="5.0", model_sha256="1").config_hash()
    others = [
        Settings(fps="4", model_sha256="1"),
        Settings(model_sha256="2"),
        Settings(detector="haar", model_sha256="1"),
        Settings(min_face=0.1, model_sha256="1"),
        Settings(smoothing="none", model_sha256="1"),
        Settings(window_s=1.0, model_sha256="1"),
        Settings(crops=False, model_sha256="1"),
    ]
    assert len({base.config_hash(), *(other.config_hash() for other in others)}) == 8
