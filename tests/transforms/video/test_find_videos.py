"""Which files an input names, and what they are called."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from schemas.errors import UsageError
from transforms.fingerprints import is_same_content
from transforms.remote import exists, local_path
from transforms.video.inputs import find_videos, video_id


@pytest.fixture
def folder(tmp_path):
    for name in ("b.mp4", "sub/a.MKV", "sub/notes.txt", ".hidden.mp4", ".cache/c.mp4"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 3)
    return tmp_path / "in"


def uris(videos):
    return sorted(video.uri for video in videos)


def test_ids_are_slug_and_hash_of_the_relative_path():
    digest = hashlib.sha256("Trips/My Fête (1).MP4".encode()).hexdigest()[:10]
    assert video_id("Trips/My Fête (1).MP4") == f"my-f-te-1-{digest}"
    assert video_id("日本.mp4") == "video-" + hashlib.sha256("日本.mp4".encode()).hexdigest()[:10]
    assert video_id("a" * 60 + ".mp4").startswith("a" * 40 + "-")
    assert video_id("x/clip.mp4") != video_id("y/clip.mp4")


def test_a_folder_gives_its_videos_at_any_depth(folder):
    videos = find_videos([str(folder)])
    assert uris(videos) == [str(folder / "b.mp4"), str(folder / "sub/a.MKV")]
    assert {video.video_id for video in videos} == {video_id("b.mp4"), video_id("sub/a.MKV")}
    assert all(video.size_bytes == 3 for video in videos)


def test_a_named_file_counts_whatever_its_ending(folder):
    assert uris(find_videos([str(folder / "sub/notes.txt")])) == [str(folder / "sub/notes.txt")]


def test_globs_lists_and_doubles(folder, tmp_path):
    both = [str(folder / "b.mp4"), str(folder / "sub/a.MKV")]
    assert uris(find_videos([str(folder / "**/*.[mM]*")])) == both
    listing = tmp_path / "list.txt"
    listing.write_text("\n".join([*both, "", both[0]]))
    assert uris(find_videos([f"@{listing}"])) == both
    assert uris(find_videos([str(folder), str(folder)])) == both


def test_the_fingerprint_changes_with_the_content_and_not_with_the_time(folder):
    path = folder / "b.mp4"
    path.write_bytes(bytes(range(256)) * 4000)
    [before] = find_videos([str(path)])
    os.utime(path, ns=(1, 1))
    shutil.copy(path, folder / "copy.mp4")
    [touched] = find_videos([str(path)])
    [copied] = find_videos([str(folder / "copy.mp4")])
    assert touched == before
    assert copied.fingerprint == before.fingerprint
    for at in (0, 350_000, 700_000, 1_023_999):  # head, two places between, tail
        content = bytearray(path.read_bytes())
        content[at] ^= 1
        path.write_bytes(content)
        [after] = find_videos([str(path)])
        assert after.fingerprint != before.fingerprint
        before = after


def test_the_fingerprint_of_an_earlier_version_is_that_of_the_file_as_long_as_its_time_is(folder):
    path = str(folder / "b.mp4")
    status = os.stat(path)
    old, [now] = f"{status.st_size}-{status.st_mtime_ns}", find_videos([path])
    assert is_same_content(old, path, now.fingerprint)
    os.utime(path, ns=(1, 1))
    assert not is_same_content(old, path, now.fingerprint)
    assert not is_same_content(old, "gs://bucket/b.mp4", "1-2")


def test_linked_folders_are_entered_once(folder):
    (folder / "sub/loop").symlink_to(folder)
    assert len(find_videos([str(folder)])) == 2


def test_two_files_of_one_name_have_an_id_each_in_any_order(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.mp4").write_bytes(b"")
    inputs = [str(folder / "b.mp4"), str(other / "b.mp4")]
    found = {video.uri: video.video_id for video in find_videos(inputs)}
    assert found == {inputs[0]: video_id("b.mp4"), inputs[1]: video_id(inputs[1])}
    assert {video.uri: video.video_id for video in find_videos(inputs[::-1])} == found


def test_a_file_named_twice_is_one_video(folder):
    nested = [str(folder), str(folder / "sub"), str(folder / "sub/a.MKV")]
    expected = sorted([video_id("b.mp4"), video_id("sub/a.MKV")])
    for inputs in (nested, nested[::-1]):
        assert [video.video_id for video in find_videos(inputs)] == expected


def test_a_folder_reached_through_a_link_holds_the_same_videos(folder, tmp_path):
    (tmp_path / "link").symlink_to(folder)
    assert find_videos([str(tmp_path / "link"), str(folder)]) == find_videos([str(folder)])


def test_a_linked_file_is_a_video_of_its_own(folder):
    (folder / "c.mp4").symlink_to(folder / "b.mp4")
    assert uris(find_videos([str(folder)])) == [
        str(folder / name) for name in ("b.mp4", "c.mp4", "sub/a.MKV")
    ]


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing.mp4", "does not exist"), ("*.avi", "matches no video"), ("empty", "matches no video")],
)
def test_inputs_that_match_nothing(folder, name, message):
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match=message):
        find_videos([str(folder / name)])


def test_a_device_is_no_video():
    with pytest.raises(UsageError, match="/dev/null is not a regular file"):
        find_videos(["/dev/null"])


def test_what_a_list_names_and_is_not_there_is_a_video_that_fails(folder, tmp_path):
    good, gone = str(folder / "b.mp4"), str(tmp_path / "gone.mp4")
    listing = tmp_path / "list.txt"
    listing.write_text(f"# from the archive\n\n  {good}\n{gone}\n{tmp_path}/*.avi\n")
    found = {video.uri: video for video in find_videos([f"@{listing}"])}
    assert set(found) == {good, gone, f"{tmp_path}/*.avi"}
    assert found[gone].size_bytes == 0
    Path(gone).write_bytes(b"x")
    [now] = find_videos([gone])
    assert now.fingerprint != found[gone].fingerprint
    with pytest.raises(UsageError, match="matches no video"):
        find_videos([f"@{listing}"], strict=True)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_lists_of_any_editor_are_read(encoding, line_end, folder, tmp_path):
    named = folder / "f\u00eate.mp4"
    named.write_bytes(b"x")
    text = f"{named}{line_end}{folder}/b.mp4{line_end}"
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    (tmp_path / "list.txt").write_bytes(mark + text.encode(encoding))
    assert uris(find_videos([f"@{tmp_path}/list.txt"])) == sorted([str(named), f"{folder}/b.mp4"])


def test_a_file_whose_name_begins_like_a_list_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "@user.mp4").write_bytes(b"x")
    assert uris(find_videos(["@user.mp4"])) == [str(tmp_path / "@user.mp4")]


def test_names_that_are_not_utf_8_are_found_and_can_be_written_down(tmp_path):
    name = os.fsencode(tmp_path) + b"/\xe9t\xe9.mp4"
    with open(name, "wb") as file:
        file.write(b"xyz")
    (tmp_path / "list.txt").write_bytes(name + b"\n")
    [video] = find_videos([str(tmp_path)])
    assert video.uri == f"file://{tmp_path}/%E9t%E9.mp4"
    assert video.size_bytes == 3
    assert find_videos([os.fsdecode(name)]) == [video]
    assert [again.uri for again in find_videos([f"@{tmp_path}/list.txt"])] == [video.uri]
    assert [again.uri for again in find_videos([video.uri])] == [video.uri]
    assert os.fsencode(local_path(video.uri)) == name
    assert exists(video.uri)


def test_file_uris_are_paths(folder):
    assert find_videos([f"file://{folder}"]) == find_videos([str(folder)])
    assert find_videos([f"file://{folder}/sub/a%2EMKV"]) == find_videos([f"{folder}/sub/a.MKV"])
    assert find_videos([f"file://localhost{folder}/*.mp4"]) == find_videos([f"{folder}/*.mp4"])


def test_a_link_that_leads_nowhere_is_a_video_that_fails(folder):
    (folder / "lost.mp4").symlink_to(folder / "away.mp4")
    (folder / "notes.txt").symlink_to(folder / "away.txt")
    assert str(folder / "lost.mp4") in uris(find_videos([str(folder)]))
    assert len(find_videos([str(folder)])) == 3
    assert str(folder / "lost.mp4") in uris(find_videos([f"{folder}/*"]))


@pytest.mark.parametrize("ending", ["h265", "m1v", "3gpp", "mod", "dav", "m4s", "obu", "apng", "3GPP"])
def test_folders_are_searched_for_every_kind_of_video(ending, tmp_path):
    (tmp_path / f"a.{ending}").write_bytes(b"\0" * 10)
    assert uris(find_videos([str(tmp_path)])) == [str(tmp_path / f"a.{ending}")]


def test_what_only_has_a_videos_ending_is_left_out_of_folders(folder):
    source = "// Wörter\nexport const fps = 25;\n" * 200
    for name in ("app.ts", "types.d.ts", "app.mts", "go.mod", "figure.ps"):
        (folder / name).write_text(source)
    for name in ("@eaDir/b.mp4", "$RECYCLE.BIN/b.mp4", "#recycle/b.mp4"):
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(b"x")
    before = uris(find_videos([str(folder)]))
    assert before == [str(folder / "b.mp4"), str(folder / "sub/a.MKV")]
    (folder / "a.ts").write_bytes(b"G" + b"\x40\0\x10" * 100)
    (folder / "cut.ts").write_bytes(b"\xff" * 300)
    (folder / "empty.ts").write_bytes(b"")
    named = [str(folder / name) for name in ("a.ts", "cut.ts", "empty.ts")]
    assert uris(find_videos([str(folder)])) == sorted([*before, *named])
    assert uris(find_videos([str(folder / "app.ts")])) == [str(folder / "app.ts")]


def test_a_list_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"The list .* cannot be read"):
        find_videos([f"@{tmp_path / 'none.txt'}"])
