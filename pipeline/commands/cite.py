"""`affectline cite`: what was done, as a methods section says it."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from models.classify.spec import find_model, shipped_weights
from models.inspect.data_sets import LEARNED_FROM
from pipeline.run.length import length
from schemas.elements import FAILED, RETRY
from schemas.settings import Settings
from transforms.tables.rows import read_rows

_SMOOTHINGS: Final = {
    "hmm": "a hidden Markov model over time (forward-backward; an emotion lasts {} s in the mean)",
    "ema": "an exponential average over both directions of time (time constant {} s)",
    "median": "a running median over time (window {} s, centred)",
    "mode": "the vote of the latest predictions (window {} s)",
}


def methods(out: str, video_ids: Iterable[str]) -> Iterator[str]:
    """A paragraph for each way in which these videos of the tables were read: one, where all were read alike.

    It names the version, the model and its hash, the settings as used, and the data that the model learned
    from.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for video_id in video_ids:
        [row] = read_rows(out, "videos", video_id).to_pylist()
        groups.setdefault((row["code_version"], row["config_json"]), []).append(row)
    for (version, config), rows in groups.items():
        yield " ".join(_sentences(version, Settings.from_json(config), rows))


def _sentences(version: str, settings: Settings, rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    unread = sum(row["status"] in (FAILED, RETRY) for row in rows)
    lasting = length(sum(row["duration_s"] or 0 for row in rows))
    rate = f"{settings.fps} times a second" if settings.sampling_rate else "at every frame"
    yield (
        f"Facial expressions were measured with affectline {version} (affectline developers; Apache-2.0) "
        f"in {_count(len(rows) - unread, 'video')} of {lasting} in all, sampled {rate} by the "
        "frames' own timestamps."
    )
    if unread:
        yield f"{_count(unread, 'further video')} could not be read."
    weights = f" with the weights of SHA-256 {settings.detector_sha256}" if settings.detector_sha256 else ""
    yield (
        f"Faces whose longer side was at least {settings.min_face:.0%} of the frame's shorter side were "
        f"found by the detector {settings.detector}{weights}, and followed within each shot."
    )
    yield (
        f"Each was classified by the model {_name(settings)} (SHA-256 {settings.model_sha256}) as "
        f"{', '.join(settings.classes[:-1])} or {settings.classes[-1]}, with calibrated probabilities."
    )
    yield _learned_from(settings)
    smoothing, window_s = settings.smoothed_by()
    if smoothing in _SMOOTHINGS:
        how = _SMOOTHINGS[smoothing].format(f"{window_s:g}")
        yield f"Probabilities were smoothed along each track by {how}."
    else:
        yield "Probabilities were not smoothed."
    total = {
        name: sum(row[name] for row in rows) for name in ("samples", "samples_with_face", "faces", "tracks")
    }
    yield (
        f"Of {_count(total['samples'], 'sample')}, {total['samples_with_face']} showed a face: "
        f"{_count(total['faces'], 'face')} in {_count(total['tracks'], 'track')}."
    )


def _learned_from(settings: Settings) -> str:
    name = settings.model
    if name in shipped_weights() and find_model(name).sha256 == settings.model_sha256:
        return f"The model learned from {', '.join(data.name for data in LEARNED_FROM[name])}."
    return "What data the model learned from is not recorded here: name them."


def _name(settings: Settings) -> str:
    return settings.model.rpartition("/")[2]


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
