"""Names of files that are odd: each is a video like any other."""

import os

import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load

NAMES = {
    "not UTF-8": b"caf\xe9.mp4",
    "255 bytes": b"n" * 251 + b".mp4",
    "255 bytes of two-byte letters": "é".encode() * 125 + b"a.mp4",
    "a line break": b"two\nlines.mp4",
    "an option": b"--force.mp4",
    "a list": b"@user.mp4",
    "a pattern": b"[a-z]*.mp4",
    "a printf pattern": b"frame%03d.mp4",
    "a protocol": b"concat:a|b.mp4",
    "quotes": b"'\"$(true)`.mp4",
    "right to left": "‮4pm.‬.mp4".encode(),
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", seconds=1).read_bytes()


@pytest.fixture(scope="module")
def command(clip, untrained_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    for name in NAMES.values():
        with open(os.path.join(os.fsencode(folder), name), "wb") as file:
            file.write(clip)
    out = tmp_path_factory.mktemp("run") / "out"
    return ["run", folder, "-o", out, *FAST, "--model", untrained_model]


@pytest.fixture(scope="module")
def out(command):
    result = affectline(*command)
    assert result.exit_code == 0, result.output
    return command[3]


def test_each_is_read_whole(out):
    videos = load(out, "videos")
    assert len(videos) == len(NAMES)
    assert set(videos["status"]) == {"ok"}
    assert set(videos["samples"]) == {5}
    assert videos["video_id"].is_unique
    assert videos["video_id"].str.fullmatch(r"[a-z0-9-]{1,51}").all()


def test_nothing_is_done_twice(out, command):
    again = affectline(*command)
    assert again.exit_code == 0, again.output
    assert f"({len(NAMES)} were done before)" in again.output
