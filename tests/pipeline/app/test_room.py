"""Room on the disk for several uploads at a time."""

from collections import namedtuple

import pytest

pytest.importorskip("starlette")

from pipeline.app import uploads
from pipeline.app.uploads import Room, UploadError


@pytest.fixture
def free(monkeypatch):
    """The bytes that are free on the disk, in a list of one number; a thousand must stay."""
    left = [0]
    monkeypatch.setattr(uploads, "_ROOM_BYTES", 1000)
    monkeypatch.setattr(uploads.shutil, "disk_usage", lambda _: namedtuple("Usage", "free")(left[0]))
    return left


def test_uploads_at_the_same_time_do_not_get_the_same_room(free, tmp_path):
    room = Room()
    free[0] = 1500
    with room.reserve(tmp_path, 300):
        with pytest.raises(UploadError) as refused, room.reserve(tmp_path, 300):
            pass
        assert refused.value.status == 507
        with room.reserve(tmp_path, 200):
            pass
    with room.reserve(tmp_path, 500):
        pass


def test_what_has_arrived_is_not_counted_twice(free, tmp_path):
    room = Room()
    free[0] = 1600
    with room.reserve(tmp_path, 300) as coming:
        coming.file = tmp_path / "received"
        coming.file.write_bytes(bytes(300))
        free[0] -= 300
        with room.reserve(tmp_path, 300):
            pass
