"""`affectline resmooth` cut off anywhere: each video is as it was, as it shall be, or not done."""

import shutil
from itertools import product

import pandas as pd
import pytest

from pipeline.commands.resmooth import resmooth_folder
from pipeline.run.reconcile import check_sums
from schemas.elements import Video
from schemas.settings import Settings
from schemas.tables import TABLES
from tests.helpers import synthetic
from tests.helpers.commands import affectline, load
from transforms.tables import write
from transforms.tables.files import table_path, write_parquet
from transforms.tables.receipts import read_receipt
from transforms.tables.rows import list_video_ids, read_rows

STEPS_A_VIDEO = 1 + len(TABLES)  # the old row in `videos` is removed, then every table is written


class Killed(BaseException):
    """Stands for kill -9."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Two videos, and the same smoothed again without a hitch."""
    before, after = (tmp_path_factory.mktemp(name) for name in ("before", "after"))
    synthetic.write(
        before,
        [
            synthetic.timeline("/videos/one.mp4", 6, [(0, 6), (2, 4)], seed=1),
            synthetic.timeline("/videos/two.mp4", 4, [(1, 4)], seed=2),
        ],
    )
    shutil.copytree(before, after, dirs_exist_ok=True)
    assert resmooth_folder(str(after), "median", None) == 2
    return before, after


def rows(out, video_id):
    """What is written of a video, but when."""
    stored = {table: read_rows(str(out), table, video_id).to_pandas() for table in TABLES}
    return stored | {"videos": stored["videos"].drop(columns="processed_at")}


def are_equal(some, others):
    return all(some[table].equals(others[table]) for table in TABLES)


@pytest.mark.parametrize(
    ("step", "when"), list(product(range(2 * STEPS_A_VIDEO), ["before", "after"])), ids=str
)
def test_a_kill_at_any_step_leaves_no_video_between_two_smoothings(
    finished, tmp_path, monkeypatch, step, when
):
    before, after = finished
    out = tmp_path / "out"
    shutil.copytree(before, out)
    passed = 0

    def deadly(real):
        def wrapped(*arguments):
            nonlocal passed
            if passed == step and when == "before":
                raise Killed
            answer = real(*arguments)
            if passed == step and when == "after":
                raise Killed
            passed += 1
            return answer

        return wrapped

    with monkeypatch.context() as patch:
        for name in ("delete", "write_parquet"):
            patch.setattr(write, name, deadly(getattr(write, name)))
        with pytest.raises(Killed):
            resmooth_folder(str(out), "median", None)

    done = list_video_ids(str(out / "videos"))
    for video_id in done:
        found = rows(out, video_id)
        assert are_equal(found, rows(before, video_id)) or are_equal(found, rows(after, video_id))
        receipt = read_receipt(str(out), video_id)
        settings = Settings.from_json(receipt["config_json"])
        check_sums(
            [Video(video_id, receipt["uri"], receipt["fingerprint"], 0)], {video_id: receipt}, settings
        )

    # A video whose row is gone is not done, and the next run does it; the others are smoothed as asked.
    lost = {*list_video_ids(str(before / "videos"))} - {*done}
    assert len(lost) <= 1
    if done:
        assert resmooth_folder(str(out), "median", None) == len(done)
    for video_id in done:
        assert are_equal(rows(out, video_id), rows(after, video_id))
    assert not (out / "_affectline/scratch").exists() or not done


def test_other_smoothing_changes_what_is_smoothed_and_nothing_else(finished):
    before, after = finished
    old, new = (load(out, "timelines") for out in finished)
    raw = [name for name in old if name.startswith("raw_")]
    pd.testing.assert_frame_equal(old[raw], new[raw])
    assert not old["happy"].equals(new["happy"])
    assert load(before, "samples").equals(load(after, "samples"))


def test_a_folder_without_videos_is_refused(tmp_path):
    result = affectline("resmooth", tmp_path)
    assert (result.exit_code, result.output) == (
        2,
        f"affectline: There are no finished videos in {tmp_path}.\n",
    )


def test_tables_from_before_pose_was_measured_say_that_it_is_not_known(finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished[0], out)
    [one, _] = list_video_ids(str(out / "videos"))
    rows = read_rows(str(out), "timelines", one).drop_columns(
        ["yaw", "pitch", "roll", "sharpness", "face_px"]
    )
    write_parquet(rows, table_path(str(out), "timelines", one), str(out))
    assert resmooth_folder(str(out), "median", None) == 2
    faces, tracks = read_rows(str(out), "timelines", one), read_rows(str(out), "tracks", one)
    for name in ("yaw", "pitch", "roll", "sharpness"):
        assert faces[name].null_count == len(faces)
    assert faces["face_px"].to_pylist() == [80] * len(faces)
    assert tracks["share_frontal"].null_count == len(tracks)
    assert tracks["median_face_px"].to_pylist() == [80] * len(tracks)
