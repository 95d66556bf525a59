"""The settings that decide what a run writes. Two runs with equal settings write equal tables."""

import hashlib
import json
from dataclasses import asdict, dataclass
from fractions import Fraction

from schemas import defaults
from schemas.emotions import EMOTIONS


@dataclass(frozen=True)
class Settings:
    """What is looked for and how. How fast it is done (workers, batches, segments) is not here."""

    fps: str = defaults.FPS  # samples a second as the decimal the user wrote; "0": every frame
    detector: str = defaults.DETECTOR
    detector_weights: str | None = None  # a file for the detector; None: its own
    detector_sha256: str | None = None  # of that file
    min_face: float = defaults.MIN_FACE  # of the frame's shorter side
    model: str = defaults.MODEL  # a shipped name, or the path of a .keras file
    model_sha256: str = ""
    classes: tuple[str, ...] = EMOTIONS  # that the model knows, in the order of its probabilities
    prior: tuple[float, ...] | None = None  # the shares of them that it assumes; None: even ones
    smoothing: str = defaults.SMOOTHING
    window_s: float | None = None  # None: the method's own default
    crops: bool = True

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
        deciding = asdict(self) | {
            "fps": str(self.sampling_rate),
            "schema_version": 1,  # columns that came later make no finished video new
        }
        # The model's file decides its classes and its prior too.
        del deciding["model"], deciding["classes"], deciding["prior"], deciding["detector_weights"]
        return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()[:16]
