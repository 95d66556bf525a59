"""What a run has left to do with a video, by what the tables hold of it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.elements import FAILED, PARTIAL, RETRY, Video
from schemas.errors import DecoderKilledError
from schemas.settings import Settings
from transforms.fingerprints import is_same_content
from transforms.tables.rows import has_rows, read_rows


class State(StrEnum):
    """Of one video, before a run."""

    NEW = "new"  # nothing complete is there, or it is of another file
    DONE = "done"
    OTHER_SMOOTHING = "other smoothing"  # which needs the tables alone
    OTHER_SETTINGS = "other settings"  # which need decoding
    AGAIN = "again"  # wanted, or due: what went wrong then may go right now

    @property
    def needs_decoding(self) -> bool:
        """Whether the video itself must be read."""
        return self not in (State.DONE, State.OTHER_SMOOTHING)


@dataclass(frozen=True)
class Resume:
    """What a run takes up again beside what is new, and the time limit under which it does."""

    segment_timeout: float
    force: bool = False
    retry_failed: bool = False

    def state(self, video: Video, out: str, settings: Settings) -> State:
        """What is left to do with a video."""
        row = video_row(out, video.video_id)
        if row is None or not is_same_content(row["fingerprint"], video.uri, video.fingerprint):
            return State.NEW
        return self.state_of(row, settings)

    def state_of(self, row: Mapping[str, Any], settings: Settings) -> State:
        """The same from its row in `videos`, for a file that has not changed since."""
        before = Settings.from_json(row["config_json"])
        if self.force or self._is_due(row):
            return State.AGAIN
        if before.decoding_hash() != settings.decoding_hash():
            return State.OTHER_SETTINGS
        return State.DONE if before.smoothed_by() == settings.smoothed_by() else State.OTHER_SMOOTHING

    def _is_due(self, row: Mapping[str, Any]) -> bool:
        if row["status"] == RETRY:
            limit = row["stopped_after_s"]
            return limit is None or self.segment_timeout > limit
        return self.retry_failed and row["status"] in (FAILED, PARTIAL)


def video_row(out: str, video_id: str) -> dict[str, Any] | None:
    """A video's row in `videos`; None when it has none."""
    if not has_rows(out, "videos", video_id):
        return None
    row: dict[str, Any]
    [row] = read_rows(out, "videos", video_id).to_pylist()
    return row


def was_killed_before(video: Video, out: str) -> bool:
    """Whether the tables tell of a decoder that was killed over the same file."""
    row = video_row(out, video.video_id)
    if row is None or not is_same_content(row["fingerprint"], video.uri, video.fingerprint):
        return False
    kinds = read_rows(out, "failures", video.video_id, ["error_type"])["error_type"].to_pylist()
    return DecoderKilledError.__name__ in kinds


def differences(before: Iterable[Settings], settings: Settings) -> list[str]:
    """What is asked for now and was otherwise before, one phrase a setting: `fps 2, before 5`."""
    now = settings.decoded_by()
    phrases: dict[str, set[str]] = {}
    for each in before:
        was = each.decoded_by()
        for name in was | now:  # some are named only where they are not as ever
            if was.get(name) != now.get(name):
                phrases.setdefault(name, set()).add(str(was.get(name)))
    return [f"{name} {now.get(name)}, before {' or '.join(sorted(old))}" for name, old in phrases.items()]
