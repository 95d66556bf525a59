"""The five Parquet tables, as explicit pyarrow schemas.

A model with classes beside the seven brings columns for them: after those of the seven, wherever these are.
"""

import json
from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from schemas.emotions import EMOTIONS

# 2: `sar` and `stopped_after_s` in `videos`. 3: pose, `sharpness` and `face_px` in `timelines`, and their
# sums in `tracks`. Older files lack these.
SCHEMA_VERSION: Final = 3

_F32 = pa.float32()
_LAST: Final = EMOTIONS[-1]


def _per_emotion(prefix: str = "") -> list[pa.Field]:
    return [pa.field(prefix + emotion, _F32) for emotion in EMOTIONS]


def with_emotions(schema: pa.Schema, emotions: Sequence[str]) -> pa.Schema:
    """A table's schema with columns for those of the emotions that are beside the seven."""
    more = [name for name in emotions if name not in EMOTIONS]
    fields: list[pa.Field] = []
    for each in schema:
        fields.append(each)
        if each.name.endswith(_LAST):
            prefix = each.name.removesuffix(_LAST)
            fields += [pa.field(prefix + name, each.type) for name in more]
    return pa.schema(fields, schema.metadata)


EMOTION_LABEL: Final = pa.dictionary(pa.int8(), pa.string())

APPEARANCE: Final = pa.binary(60)  # what tells neighbours apart; lets a video be tracked again

POSE: Final = ("yaw", "pitch", "roll")  # degrees, null where not known; see docs/pose.md

TIMELINES: Final = pa.schema(
    [
        pa.field("track_id", pa.int32()),
        pa.field("sample", pa.int32()),
        pa.field("pts_us", pa.int64()),
        pa.field("time_s", pa.float64()),
        pa.field("shot", pa.int32()),
        *[pa.field(name, _F32) for name in ("x", "y", "w", "h", "score")],
        *_per_emotion(),
        *_per_emotion("raw_"),
        pa.field("emotion", EMOTION_LABEL),
        pa.field("confidence", _F32),
        *[pa.field(name, _F32) for name in (*POSE, "sharpness", "face_px")],
        pa.field("appearance", APPEARANCE),
    ]
)

SAMPLES: Final = pa.schema(
    [
        pa.field("sample", pa.int32()),
        pa.field("pts_us", pa.int64()),
        pa.field("time_s", pa.float64()),
        pa.field("shot", pa.int32()),
        pa.field("status", pa.string()),
        pa.field("faces", pa.int16()),
    ]
)

TRACKS: Final = pa.schema(
    [
        pa.field("track_id", pa.int32()),
        pa.field("shot", pa.int32()),
        pa.field("start_s", pa.float64()),
        pa.field("end_s", pa.float64()),
        pa.field("samples", pa.int32()),
        pa.field("emotion", EMOTION_LABEL),
        *_per_emotion(),
        *_per_emotion("share_"),
        pa.field("transitions", pa.int32()),
        pa.field("mean_confidence", _F32),
        pa.field("share_frontal", _F32),
        pa.field("median_face_px", _F32),
        pa.field("thumbnail", pa.binary()),
    ]
)

VIDEOS: Final = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("rotation", pa.int16()),
        pa.field("codec", pa.string()),
        pa.field("is_vfr", pa.bool_()),
        pa.field("frames_read", pa.int64()),
        pa.field("samples", pa.int32()),
        pa.field("samples_with_face", pa.int32()),
        pa.field("faces", pa.int32()),
        pa.field("tracks", pa.int32()),
        pa.field("model", pa.string()),
        pa.field("model_sha256", pa.string()),
        pa.field("detector", pa.string()),
        pa.field("config_hash", pa.string()),
        pa.field("config_json", pa.string()),
        pa.field("code_version", pa.string()),
        pa.field("schema_version", pa.int32()),
        pa.field("processed_at", pa.timestamp("us", tz="UTC")),
        pa.field("seconds", pa.float64()),
        pa.field("sar", pa.float64()),
        pa.field("stopped_after_s", pa.float64()),
    ]
)

FAILURES: Final = pa.schema(
    [
        pa.field("uri", pa.string()),
        pa.field("stage", pa.string()),
        pa.field("pts_us", pa.int64()),
        pa.field("error_type", pa.string()),
        pa.field("message", pa.string()),
    ]
)

# In the order they are written: the row in `videos` says that the others are complete.
TABLES: Final = {
    "timelines": TIMELINES,
    "samples": SAMPLES,
    "tracks": TRACKS,
    "failures": FAILURES,
    "videos": VIDEOS,
}


def with_metadata(schema: pa.Schema, emotions: Sequence[str], config_json: str) -> pa.Schema:
    """The schema with version, label order and run settings in the file's metadata."""
    return schema.with_metadata(
        {
            "affectline.schema_version": str(SCHEMA_VERSION),
            "affectline.emotions": json.dumps(emotions),
            "affectline.config": config_json,
        }
    )
