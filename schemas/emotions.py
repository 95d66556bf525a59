"""The seven emotion classes, their order, spellings and colours; and the names of classes beside them."""

import re
from collections.abc import Sequence
from typing import Final

EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

# Spellings met in data sets and reference systems.
_ALIASES: Final = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}

# What a class beside the seven cannot be called, since columns of the tables are.
_TAKEN: Final = frozenset(
    (
        *("video_id", "track_id", "sample", "samples", "pts_us", "time_s", "start_s", "end_s", "shot"),
        *("x", "y", "w", "h", "score", "emotion", "confidence", "mean_confidence", "transitions"),
        *("yaw", "pitch", "roll", "sharpness", "face_px", "median_face_px", "appearance", "thumbnail"),
    )
)
_NAME: Final = re.compile(r"(?!raw_|share_)[a-z][a-z0-9_]{0,39}")

# Okabe and Ito's colour-blind-safe set; neutral is grey. Hex RGB, used by every picture we draw.
COLORS: Final = {
    "angry": "#d55e00",
    "disgust": "#009e73",
    "fear": "#cc79a7",
    "happy": "#f0e442",
    "sad": "#0072b2",
    "surprise": "#e69f00",
    "neutral": "#8c8c8c",
}


# Of classes beside the seven, in their order: the sixth of that set, then Paul Tol's muted ones.
_MORE_COLORS: Final = ("#56b4e9", "#882255", "#44aa99", "#999933", "#332288", "#aa4499", "#117733", "#ddcc77")


def canonical_emotion(name: str) -> str:
    """The project's name for a class under any known spelling; ValueError when it is none of the seven."""
    lowered = name.strip().lower()
    emotion = _ALIASES.get(lowered, lowered)
    if emotion not in EMOTIONS:
        raise ValueError(f"'{name}' is not one of the emotions {', '.join(EMOTIONS)}.")
    return emotion


def class_name(name: str) -> str:
    """The name of a model's class: one of the seven under any known spelling, or another as a column's name.

    Raises ValueError for a name that no column can have.
    """
    lowered = name.strip().lower()
    named = _ALIASES.get(lowered, lowered)
    if named in _TAKEN or not _NAME.fullmatch(named):
        raise ValueError(
            f"A class cannot be called '{name}'; write letters, digits and underscores, and no column's name."
        )
    return named


def all_emotions(classes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a model of these classes: the seven, then those beside them, in the model's order."""
    return (*EMOTIONS, *(name for name in classes if name not in EMOTIONS))


def emotion_columns(classes: Sequence[str]) -> list[int]:
    """The place of each class in `all_emotions` of them."""
    return [all_emotions(classes).index(name) for name in classes]


def colors_of(emotions: Sequence[str]) -> dict[str, str]:
    """The colour of each of the seven and of classes beside them, hex RGB."""
    more = [name for name in emotions if name not in COLORS]
    return COLORS | {name: _MORE_COLORS[at % len(_MORE_COLORS)] for at, name in enumerate(more)}
