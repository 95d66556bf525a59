"""An output folder is shared with a user's own files and fed from many inputs: nothing of either is lost."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UsageError
from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load
from transforms.tables.sources import known_sources, remember_sources
from transforms.video.inputs import (
    FoundFile,
    assign_ids,
    find_files,
    find_moved,
    find_videos,
    video_id,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clip") / "cam.mp4", seconds=0.5)


@pytest.fixture
def study(clip, tmp_path):
    for person in ("P01", "P02"):
        (tmp_path / "study" / person).mkdir(parents=True)
        shutil.copy(clip, tmp_path / "study" / person / "cam.mp4")
    return tmp_path / "study"


@pytest.fixture
def run(untrained_model):
    return lambda *arguments: affectline("run", *arguments, *FAST, "--model", untrained_model)


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_videos_in_a_folder_called_videos_survive_everything(clip, tmp_path, run):
    (tmp_path / "videos").mkdir()
    shutil.copy(clip, tmp_path / "videos/cam.mp4")
    before = contents(tmp_path)
    result = run(tmp_path / "videos", "-o", tmp_path)
    assert result.exit_code == 2
    assert result.output == (
        f"affectline: {tmp_path / 'videos'} holds files that affectline did not write, cam.mp4 among them; "
        "choose another output folder.\n"
    )
    assert contents(tmp_path) == before
    assert affectline("compact", tmp_path).exit_code == 2
    assert contents(tmp_path) == before


@pytest.mark.parametrize("table", TABLES)
def test_compact_keeps_what_came_beside_the_rows(table, study, tmp_path, run):
    out = tmp_path / "out"
    assert run(study, "-o", out).exit_code == 0
    own = next((out / table).glob("video_id=*")) / "notes.txt"
    for path in (own, out / table / ".hidden"):
        path.write_text("mine")
    assert affectline("compact", out).exit_code == 0
    assert own.read_text() == (out / table / ".hidden").read_text() == "mine"
    (out / table / "foreign.txt").write_text("mine")
    assert affectline("compact", out).exit_code == 2
    assert (out / table / "foreign.txt").read_text() == "mine"


def test_a_folder_called_tmp_is_the_users(study, tmp_path, run):
    out = tmp_path / "out"
    for name in ("_tmp", "_affectline"):
        (out / name).mkdir(parents=True)
        (out / name / "mine.txt").write_text("mine")
    assert run(study, "-o", out).exit_code == 2
    assert set(contents(out)) == {Path("_tmp/mine.txt"), Path("_affectline/mine.txt")}
    shutil.rmtree(out / "_affectline")
    assert run(study, "-o", out).exit_code == 0
    assert affectline("resmooth", out).exit_code == 0
    assert affectline("compact", out).exit_code == 0
    assert (out / "_tmp/mine.txt").read_text() == "mine"


def test_two_folders_that_hold_one_name_are_two_videos_once_each(study, tmp_path, run):
    out = tmp_path / "out"
    for inputs in (study / "P01/cam.mp4", study / "P02/cam.mp4", study, study / "P02", tmp_path):
        result = run(inputs, "-o", out)
        assert result.exit_code == 0, result.output
    second = study / "P02/cam.mp4"
    assert load(out, "videos").set_index("video_id")["uri"].to_dict() == {
        video_id("cam.mp4"): str(study / "P01/cam.mp4"),
        video_id(str(second)): str(second),
    }
    assert "(2 were done before)" in result.output
    assert load(out, "samples").groupby("video_id").size().tolist() == [3, 3]


def test_a_folder_of_an_earlier_version_keeps_its_ids(study, tmp_path, run):
    out = tmp_path / "out"
    assert run(study / "P01/cam.mp4", "-o", out).exit_code == 0
    shutil.rmtree(out / "_affectline")
    result = run(study, "-o", out)
    assert "(1 were done before)" in result.output
    assert set(load(out, "videos")["video_id"]) == {video_id("cam.mp4"), video_id("P02/cam.mp4")}


def test_a_source_that_moved_keeps_its_id_and_its_old_place_is_free(study, tmp_path, run):
    out = tmp_path / "out"
    assert run(study, "-o", out).exit_code == 0
    moved = study.rename(tmp_path / "elsewhere")
    refused = run(moved, "-o", out)
    assert refused.exit_code == 2
    assert refused.output.startswith(
        f"affectline: 2 videos lie elsewhere than before ({study}/P01/cam.mp4 → {moved}/P01/cam.mp4, "
    )
    assert refused.output.endswith(
        "with the same content; give --root, the folder that their paths count from, if they are the same.\n"
    )
    assert "(2 were done before)" in run(moved, "-o", out, "--root", moved).output
    assert "(2 were done before)" in run(moved, "-o", out).output
    astronaut_clip(study / "P01/cam.mp4", seconds=1)
    [new] = find_videos([str(study)], str(out))
    assert new.video_id == video_id(new.uri)


def test_a_source_that_moved_and_changed_its_name_is_known_by_its_content(study, tmp_path, run):
    out = tmp_path / "out"
    astronaut_clip(study / "P02/cam.mp4", seconds=1)
    assert run(study, "-o", out).exit_code == 0
    ids = load(out, "videos").set_index("uri")["video_id"]
    (study / "P02/cam.mp4").rename(tmp_path / "other.mp4")
    refused = run(tmp_path / "other.mp4", "-o", out)
    assert refused.exit_code == 2
    assert "1 videos lie elsewhere than before" in refused.output
    accepted = run(tmp_path / "other.mp4", "-o", out, "--root", tmp_path)
    assert "(1 were done before)" in accepted.output
    assert known_sources(str(out))[str(tmp_path / "other.mp4")] == ids[str(study / "P02/cam.mp4")]


def test_with_a_root_paths_tell_and_a_file_still_there_with_other_content_is_another(study, tmp_path):
    out, copy = str(tmp_path / "out"), tmp_path / "copy"
    first = find_videos([str(study)], out)
    remember_sources(out, first)
    shutil.copytree(study, copy)
    astronaut_clip(copy / "P01/cam.mp4", seconds=1)
    known = known_sources(out)
    files = find_files([str(copy / "P01"), str(copy / "P02")], str(copy))
    assert [file.relative for file in files] == ["P01/cam.mp4", "P02/cam.mp4"]
    assert find_moved(files, known, out, str(copy)) == {}  # the old files are there, and no rows tell content
    shutil.rmtree(study / "P02")
    moved = find_moved(files, known, out, str(copy))
    assert moved == {str(copy / "P02/cam.mp4"): video_id("P02/cam.mp4")}
    found = {video.uri: video.video_id for video in assign_ids(files, known, moved)}
    assert found[str(copy / "P02/cam.mp4")] == video_id("P02/cam.mp4")
    assert found[str(copy / "P01/cam.mp4")] == video_id(str(copy / "P01/cam.mp4"))
    with pytest.raises(UsageError, match="is not below --root"):
        find_files([str(study / "P01/cam.mp4")], str(copy))


_PLACES = ["a/cam.mp4", "b/cam.mp4", "b/c/cam.mp4", "b/c/d.mp4"]


@given(st.permutations(_PLACES), st.lists(st.sampled_from([0, 1, 2]), min_size=4, max_size=4), st.data())
def test_ids_do_not_depend_on_order_and_belong_to_one_source_each(places, depths, data):
    files = [
        FoundFile("/x/" + place, "/".join(place.split("/")[-1 - depth :]), "1-2", 1)
        for place, depth in zip(places, depths, strict=True)
    ]
    videos = assign_ids(files, {})
    assert videos == assign_ids(files[::-1], {})
    assert len({video.video_id for video in videos}) == len({video.uri for video in videos}) == 4
    # Found again by any names, in any number of commands, each keeps its id.
    known = {video.uri: video.video_id for video in videos}
    some = data.draw(st.lists(st.sampled_from(files), unique=True))
    renamed = [file._replace(relative=data.draw(st.sampled_from(_PLACES))) for file in some]
    assert {video.uri: video.video_id for video in assign_ids(renamed, known)} == {
        file.uri: known[file.uri] for file in some
    }


@given(st.permutations(["{top}", "{top}/b", "{top}/b/c/../c", "{top}/*/cam.mp4", "{top}/a/./cam.mp4"]))
def test_ids_do_not_depend_on_how_inputs_are_spelled_or_in_which_order(inputs):
    with tempfile.TemporaryDirectory() as folder:
        top = os.path.realpath(folder)
        for place in _PLACES:
            path = Path(top, place)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(place)
        spelled = [text.format(top=os.path.relpath(top)) for text in inputs]
        found = find_videos([*spelled, *(text.format(top=top) for text in inputs)])
        assert {video.uri: video.video_id for video in found} == {
            f"{top}/{place}": video_id(place) for place in _PLACES
        }


def test_known_sources_are_remembered(study, tmp_path):
    out = str(tmp_path / "out")
    found = find_videos([str(study / "P02")], out)
    remember_sources(out, found)
    assert known_sources(out) == {str(study / "P02/cam.mp4"): video_id("cam.mp4")}
    assert {video.video_id for video in find_videos([str(study)], out)} == {
        video_id("cam.mp4"),
        video_id("P01/cam.mp4"),
    }
