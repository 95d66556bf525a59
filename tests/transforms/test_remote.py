"""Names of places: paths, file:// URIs, and file systems that can and cannot be reached."""

import pytest

from schemas.errors import UsageError
from tests.helpers.commands import affectline
from transforms.remote import is_remote, local_path, require_file_system


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("file:///a/b%20c.mp4", "/a/b c.mp4"),
        ("file://localhost/a", "/a"),
        ("P01:baseline", "P01:baseline"),
        ("100%20.mp4", "100%20.mp4"),
        ("gs://b/a%20b", "gs://b/a%20b"),
    ],
)
def test_a_file_uri_is_a_path_and_all_else_stays(text, path):
    assert local_path(text) == path


def test_a_colon_makes_no_uri():
    assert not is_remote("P01:baseline")


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("https://example.org/a.mp4", "download the files first"),
        ("hdfs://name/a", "mount it, or copy the files with `hdfs dfs -get`"),
        ("az://a/b", "Azure's storage is azfs://ACCOUNT/CONTAINER/PATH here"),
        ("ftp://a/b", "copy the files to this machine, or to gs:// or s3://"),
    ],
)
@pytest.mark.parametrize("place", ["input", "list", "output"])
def test_what_cannot_be_reached_is_said_with_what_to_do_and_nothing_is_written(tmp_path, uri, words, place):
    inputs = {"input": uri, "list": f"@{uri}"}.get(place, tmp_path)
    out = uri if place == "output" else tmp_path / "out"
    result = affectline("run", inputs, "-o", out, "--detector", "haar")
    assert result.exit_code == 2
    [line] = result.output.splitlines()
    assert line.startswith(f"affectline: {uri} cannot be reached: ")
    assert words in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["report"], ["resmooth"], ["report", "--json"]])
def test_other_commands_say_it_too(command):
    result = affectline(*command, "https://example.org/out", *(["-o", "x"] if command == ["report"] else []))
    assert result.exit_code == 2
    assert "download the files first" in result.output


def test_paths_are_always_reached():
    require_file_system("/a")
    require_file_system("P01:baseline")
    with pytest.raises(UsageError, match="cannot be reached"):
        require_file_system("nowhere://a")
