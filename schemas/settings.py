"""The settings that decide what a run writes. Two runs with equal settings write equal tables."""

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Final

from schemas import defaults
from schemas.emotions import EMOTIONS

# Seconds that each way to smooth looks at where a user says nothing.
WINDOWS_S: Final = {"hmm": 3.0, "ema": 0.5, "median": 2.0, "mode": 1.0}


@dataclass(frozen=True)
class Settings:
    """What is looked for and how. How fast it is done (workers, batches, segments) is not here."""

    fps: str = defaults.FPS  # samples a second as the decimal the user wrote; "0": every frame
    detector: str = defaults.DETECTOR
    detector_weights: str | None = None  # a file for the detector; None: its own
    detector_sha256: str | None = None  # of that file
    min_face: float = defaults.MIN_FACE  # of the frame's shorter side
    model: str = defaults.MODEL  # a shipped name, or the path of a file
    model_sha256: str = ""
    model_head: str | None = None  # of a file with several
    classes: tuple[str, ...] = EMOTIONS  # that the model knows, in the order of its probabilities
    prior: tuple[float, ...] | None = None  # the shares of them that it assumes; None: even ones
    smoothing: str = defaults.SMOOTHING
    window_s: float | None = None  # None: the method's own of WINDOWS_S
    crops: bool = True
    appearance: bool = True  # stored, so that other smoothing can also track again

    @property
    def sampling_rate(self) -> Fraction:
        """Samples a second, exactly; 0 means every frame."""
        return Fraction(self.fps)

    def to_json(self) -> str:
        """All settings as one JSON object with sorted keys."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Settings":
        """What `to_json` wrote, by this version or an earlier one."""
        values = json.loads(text)
        prior = values.get("prior")
        read = {"classes": tuple(values.get("classes", EMOTIONS)), "prior": prior and tuple(prior)}
        return cls(**values | read)

    def config_hash(self) -> str:
        """16 hex digits that change when the tables would: files count by content, not by name."""
        smoothing, window_s = self.smoothed_by()
        own = window_s == WINDOWS_S.get(smoothing)
        # The version stays for ever: a table that gains a column makes no video another.
        more = {"smoothing": smoothing, "window_s": None if own else window_s, "schema_version": 1}
        return _hash(self.decoded_by() | more)

    def decoding_hash(self) -> str:
        """16 hex digits that change when videos must be decoded anew; not for other smoothing."""
        return _hash(self.decoded_by())

    def decoded_by(self) -> dict[str, Any]:
        """What decides which rows decoding gives, by setting."""
        deciding = asdict(self) | {"fps": str(self.sampling_rate)}
        # The model's file decides its classes and its prior too.
        for name in ("model", "classes", "prior", "detector_weights", "smoothing", "window_s"):
            del deciding[name]
        if self.model_head is None:  # as before files had several
            del deciding["model_head"]
        if self.appearance:  # as before there was a choice
            del deciding["appearance"]
        return deciding

    def smoothed_by(self) -> tuple[str, float | None]:
        """The way to smooth and its window in seconds; none has no window."""
        if self.smoothing == "none":
            return self.smoothing, None
        return self.smoothing, WINDOWS_S.get(self.smoothing) if self.window_s is None else self.window_s


def _hash(deciding: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
