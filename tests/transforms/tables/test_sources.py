"""An output folder is shared with a user's own files and fed from many inputs: nothing of either is lost."""

import shutil
from pathlib import Path

import pytest

from schemas.tables import TABLES
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load
from transforms.tables.sources import known_sources, remember_sources
from transforms.video.inputs import find_videos, video_id


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
    assert "(2 were done before)" in run(moved, "-o", out).output
    astronaut_clip(study / "P01/cam.mp4", seconds=1)
    [new] = find_videos([str(study)], str(out))
    assert new.video_id == video_id(new.uri)


def test_known_sources_are_remembered(study, tmp_path):
    out = str(tmp_path / "out")
    found = find_videos([str(study / "P02")], out)
    remember_sources(out, found)
    assert known_sources(out) == {str(study / "P02/cam.mp4"): video_id("cam.mp4")}
    assert {video.video_id for video in find_videos([str(study)], out)} == {
        video_id("cam.mp4"),
        video_id("P01/cam.mp4"),
    }
