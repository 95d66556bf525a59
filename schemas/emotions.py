"""The seven emotion classes, their order, their other spellings and their colours."""

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


def canonical_emotion(name: str) -> str:
    """The project's name for a class under any known spelling; ValueError when it is none of the seven."""
    lowered = name.strip().lower()
    emotion = _ALIASES.get(lowered, lowered)
    if emotion not in EMOTIONS:
        raise ValueError(f"'{name}' is not one of the emotions {', '.join(EMOTIONS)}.")
    return emotion


def emotion_columns(classes: Sequence[str]) -> list[int]:
    """The index into EMOTIONS of each class; ValueError for one that is none of the seven."""
    return [EMOTIONS.index(name) for name in classes]
