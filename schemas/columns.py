"""What every column of every table means: the one place that the manual's reference is made of."""

from typing import Final, NamedTuple

from schemas.emotions import EMOTIONS
from schemas.tables import TABLES


class Column(NamedTuple):
    """What a reader of a table must know of a column."""

    meaning: str
    unit: str  # "" for names, texts and flags
    range: str
    null: str  # what null says


NEVER: Final = "never"
_NOTHING_READ: Final = "nothing of the video could be read"
_UNKNOWN: Final = "the model does not know this class"

_EARLY: Final = "written before it was measured"

_VIDEO_ID: Final = Column(
    "The video, by the name that it has in every table of this folder, for ever.",
    "",
    "letters a-z, digits and dashes; the file's name and ten hex digits",
    NEVER,
)
_TRACK_ID: Final = Column(
    "The track: one face followed through one shot; after two seconds away, or a cut, a new one.",
    "",
    "from 0 in each video",
    NEVER,
)
_SAMPLE: Final = Column(
    "The sampled instant: of k, the first frame at or after k / fps; with fps 0 the frame itself.",
    "",
    "from 0; numbers are missing where no frame was shown",
    NEVER,
)
_PTS_US: Final = Column("When the frame was shown, after the first that decodes.", "µs", "from 0", NEVER)
_TIME_S: Final = Column("The same as `pts_us`, as a float.", "s", "from 0", NEVER)
_SHOT: Final = Column(
    "The stretch between two cuts.", "", "from 0 in each video", "written before shots were found"
)
_URI: Final = Column("The source: an absolute path or a URI.", "", "", NEVER)


def _per_emotion(prefix: str, meaning: str) -> dict[str, Column]:
    return {
        prefix + emotion: Column(meaning.format(emotion), "", "0 to 1; the known ones sum to 1", _UNKNOWN)
        for emotion in EMOTIONS
    }


def _edge(meaning: str) -> Column:
    return Column(meaning, "pixels of the upright picture", "may reach beyond the picture's edges", NEVER)


def _angle(meaning: str) -> Column:
    return Column(meaning, "degrees", "-90 to 90 for yaw, else -180 to 180", "it cannot be known")


def _count(meaning: str) -> Column:
    return Column(meaning, "", "from 0", NEVER)


COLUMNS: Final[dict[str, dict[str, Column]]] = {
    "timelines": {
        "track_id": _TRACK_ID,
        "sample": _SAMPLE,
        "pts_us": _PTS_US,
        "time_s": _TIME_S,
        "shot": _SHOT,
        "x": _edge("Left edge of the face's box."),
        "y": _edge("Upper edge of the face's box."),
        "w": _edge("Width of the face's box."),
        "h": _edge("Height of the face's box."),
        "score": Column(
            "How sure the detector is that this is a face.", "", "0 to 1; by its own scale", NEVER
        ),
        **_per_emotion("", "Probability of {}, smoothed along the track, no class likelier beforehand."),
        **_per_emotion("raw_", "The model's own calibrated probability of {}, of this frame alone."),
        "emotion": Column("The class with the largest smoothed probability.", "", "one of the seven", NEVER),
        "confidence": Column("The smoothed probability of `emotion`.", "", "0 to 1", NEVER),
        "yaw": _angle("How far the head is turned to the right of the picture."),
        "pitch": _angle("How far it looks up."),
        "roll": _angle("How far it is tilted clockwise."),
        "sharpness": Column(
            "Log of the detail in the face, relative to its contrast.",
            "",
            "about -1.6 for sharp faces, -3 for mere blobs",
            _EARLY,
        ),
        "face_px": Column("The shorter side of the face's box.", "pixels", "above 0", NEVER),
        "appearance": Column(
            "4 by 5 points of colour, three bytes each, by which neighbours are told apart; no identity.",
            "",
            "60 bytes",
            "`--no-appearance`",
        ),
        "video_id": _VIDEO_ID,
    },
    "samples": {
        "sample": _SAMPLE,
        "pts_us": _PTS_US,
        "time_s": _TIME_S,
        "shot": _SHOT,
        "status": Column(
            "Whether a face was seen.", "", "`ok` (a face), `no_face`, `decode_error` (no picture)", NEVER
        ),
        "faces": _count("How many rows `timelines` has of this instant."),
        "video_id": _VIDEO_ID,
    },
    "tracks": {
        "track_id": _TRACK_ID,
        "shot": _SHOT,
        "start_s": Column("When the face is first seen.", "s", "from 0", NEVER),
        "end_s": Column("When it is last seen.", "s", "from `start_s`", NEVER),
        "samples": Column("How many rows `timelines` has of this track.", "", "from 1", NEVER),
        "emotion": Column("The class with the largest mean probability.", "", "one of the seven", NEVER),
        **_per_emotion("", "Mean smoothed probability of {}, by time."),
        **_per_emotion("share_", "Share of the track's time in which {} is the label."),
        "transitions": _count("How often the label changes."),
        "mean_confidence": Column("Mean of `confidence`, by time.", "", "0 to 1", NEVER),
        "share_frontal": Column(
            "Share of the track's time with yaw and pitch within 30 degrees.",
            "",
            "0 to 1",
            "no pose is known",
        ),
        "median_face_px": Column("Median of `face_px`.", "pixels", "above 0", NEVER),
        "thumbnail": Column(
            "A picture of the face, as JPEG.", "", "some kilobytes", "`--no-crops`, or none could be cut out"
        ),
        "video_id": _VIDEO_ID,
    },
    "failures": {
        "uri": _URI,
        "stage": Column("The step in which it went wrong.", "", "a name such as `SampleFrames`", NEVER),
        "pts_us": Column("When in the video.", "µs", "from 0", "not of one moment"),
        "error_type": Column("The kind of error.", "", "a name such as `UnreadableVideoError`", NEVER),
        "message": Column("What went wrong, in a sentence.", "", "", NEVER),
        "video_id": _VIDEO_ID,
    },
    "videos": {
        "uri": _URI,
        "fingerprint": Column(
            "Changes when the file's content does: its size and hashed parts of it.", "", "", NEVER
        ),
        "status": Column(
            "What became of it.",
            "",
            "`ok`, `partial` (a part was lost), `failed` (nothing was read), `retry` (not the file's fault)",
            NEVER,
        ),
        "error": Column("What was lost and why, in sentences.", "", "", "there is nothing to say"),
        "duration_s": Column("Up to the end of the last frame that was read.", "s", "from 0", _NOTHING_READ),
        "width": Column("Of the picture as it is shown.", "square pixels", "from 1", _NOTHING_READ),
        "height": Column("Of the picture as it is shown.", "square pixels", "from 1", _NOTHING_READ),
        "rotation": Column(
            "How far the stored picture was turned to be upright.",
            "degrees, clockwise",
            "0, 90, 180 or 270",
            _NOTHING_READ,
        ),
        "codec": Column("FFmpeg's name of the video's codec.", "", "such as `h264`", _NOTHING_READ),
        "is_vfr": Column(
            "Whether the time between frames varies by more than 2 ms.",
            "",
            "true or false",
            "fewer than two frames",
        ),
        "frames_read": _count("Frames that were decoded, sampled or not."),
        "samples": _count("How many rows `samples` has of this video."),
        "samples_with_face": _count("How many of these have a face."),
        "faces": _count("How many rows `timelines` has of this video: faces at samples, not people."),
        "tracks": _count("How many rows `tracks` has of this video: not people either."),
        "model": Column("The model as it was named.", "", "", NEVER),
        "model_sha256": Column("Hash of the model's file.", "", "64 hex digits", NEVER),
        "detector": Column(
            "The detector that found the faces.", "", "`mtcnn`, `haar`, `yunet` or one's own", NEVER
        ),
        "config_hash": Column(
            "Changes when the settings that decide the rows do.", "", "16 hex digits", NEVER
        ),
        "config_json": Column("These settings, as one JSON object.", "", "", NEVER),
        "code_version": Column("The version of affectline.", "", "", NEVER),
        "schema_version": Column("The version of the tables.", "", "from 1", NEVER),
        "processed_at": Column("When the rows were written.", "UTC, to the µs", "", NEVER),
        "seconds": Column(
            "Time spent on it, decoding to detection, all pieces together.", "s", "from 0", NEVER
        ),
        "sar": Column(
            "Width over height of a stored pixel.",
            "",
            "0.1 to 10; 1: square",
            "nothing was read, or schema 1",
        ),
        "stopped_after_s": Column(
            "The time limit for a minute of video that stopped the decoder.",
            "s",
            "above 0",
            "it was not stopped",
        ),
        "video_id": _VIDEO_ID,
    },
}


def column_tables() -> dict[str, list[tuple[str, str, Column]]]:
    """Of each table its columns in order: name, type as Arrow writes it, and what it means."""
    types = {name: {field.name: str(field.type) for field in schema} for name, schema in TABLES.items()}
    return {
        table: [(name, types[table].get(name, "string"), column) for name, column in columns.items()]
        for table, columns in COLUMNS.items()
    }
