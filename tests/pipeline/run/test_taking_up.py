"""What a run takes up again: nothing done, all that the world spoiled, and smoothing from the tables."""

import os
import shutil
import sys

import pandas as pd
import pytest

from pipeline.cli.main import main
from schemas.errors import UnavailableError
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, assert_same_tables, load
from transforms.video.decoder import KILLED, Decoder

GONE = "The file cannot be read now: Input/output error."


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    astronaut_clip(folder / "a.mp4", seconds=2)
    astronaut_clip(folder / "b.mp4", seconds=3)
    return folder


@pytest.fixture
def videos(clips, tmp_path):
    return shutil.copytree(clips, tmp_path / "videos")


@pytest.fixture
def run(untrained_model, videos, tmp_path):
    def run(*options, inputs=videos):
        command = ["run", inputs, "-o", tmp_path / "out", *FAST, "--model", untrained_model]
        return affectline(*command, *options)

    return run


def rows(out):
    frame = load(out, "videos")
    return frame.set_index(frame["uri"].map(os.path.basename))


def fail_to_decode(*_arguments, **_options):
    pytest.fail("a video was opened")


def test_what_the_world_spoils_at_the_start_is_taken_up_by_the_next_run(run, tmp_path, monkeypatch):
    real = Decoder.probe

    def probe(self, path, *limits):
        if path.endswith("b.mp4"):
            raise UnavailableError(GONE)
        return real(self, path, *limits)

    monkeypatch.setattr(Decoder, "probe", probe)
    first = run()
    assert first.exit_code == 3, first.output
    assert first.output.startswith("videos   1 of 2 done")
    assert f"b.mp4: {GONE}" in first.output.partition("To be tried again")[2]
    found = rows(tmp_path / "out")
    assert found["status"].to_dict() == {"a.mp4": "ok", "b.mp4": "retry"}
    assert found["error"]["b.mp4"] == GONE
    monkeypatch.undo()
    second = run()
    assert second.exit_code == 0, second.output
    assert "(1 were done before)" in second.output
    assert rows(tmp_path / "out")["status"].to_dict() == {"a.mp4": "ok", "b.mp4": "ok"}


@pytest.mark.slow
@pytest.mark.parametrize("fps", ["5", "0"])
def test_a_segment_that_cannot_be_fetched_leaves_its_planned_samples(run, tmp_path, monkeypatch, fps):
    real = Decoder.read

    def read(self, path, start_us, *arguments):
        if path.endswith("b.mp4") and (start_us == 1_000_000 or fps == "0"):
            raise UnavailableError(GONE)
        return real(self, path, start_us, *arguments)

    monkeypatch.setattr(Decoder, "read", read)
    first = run("--fps", fps, "--segment-seconds", "1")
    assert first.exit_code == 3, first.output
    out = tmp_path / "out"
    assert rows(out)["status"].to_dict() == {"a.mp4": "ok", "b.mp4": "retry"}
    samples = load(out, "samples").query("video_id.str.startswith('b-')")
    expected = range(5, 10) if fps == "5" else range(75)
    assert samples.query("status == 'decode_error'")["sample"].tolist() == list(expected)
    assert samples["sample"].tolist() == list(range(15 if fps == "5" else 75))
    assert samples["pts_us"].diff().dropna().unique().tolist() == [200_000 if fps == "5" else 40_000]
    failures = load(out, "failures").query("error_type == 'UnavailableError'")
    assert failures["message"].tolist() == [GONE]
    monkeypatch.undo()
    assert run("--fps", fps, "--segment-seconds", "1").exit_code == 0
    run_anew = affectline(
        *["run", tmp_path / "videos", "-o", tmp_path / "anew", *FAST, "--fps", fps],
        *["--model", rows(out)["model"].iloc[0]],
    )
    assert run_anew.exit_code == 0
    assert_same_tables(out, tmp_path / "anew")


def test_what_took_too_long_is_taken_up_when_it_may_take_longer(run, tmp_path, monkeypatch):
    first = run("--segment-timeout", "1e-6")
    assert first.exit_code == 3, first.output
    assert set(rows(tmp_path / "out")["status"]) == {"retry"}
    assert set(rows(tmp_path / "out")["stopped_after_s"]) == {1e-6}
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "read", fail_to_decode)
        again = run("--segment-timeout", "1e-6", "--retry-failed")
        assert again.exit_code == 3
        assert "(2 were done before)" in again.output
    longer = run("--segment-timeout", "300")
    assert longer.exit_code == 0, longer.output
    assert rows(tmp_path / "out")["stopped_after_s"].isna().all()


def test_a_video_whose_decoder_is_killed_is_tried_once_more_and_then_counts_as_read_in_part(
    run, tmp_path, monkeypatch
):
    real = Decoder.start

    def start(self):
        """A decoder that the system has just killed, whenever it is to read."""
        child = real(self)
        if sys._getframe(2).f_code.co_name == "take":
            child.kill()
        return child

    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "start", start)
        for status in ("retry", "failed", "failed"):
            assert run("--retry-failed").exit_code == 3
            assert set(rows(tmp_path / "out")["status"]) == {status}
            assert rows(tmp_path / "out")["error"]["a.mp4"].endswith(KILLED)
    assert "(2 were done before)" in run().output
    assert run("--retry-failed").exit_code == 0
    assert set(rows(tmp_path / "out")["status"]) == {"ok"}


def test_failed_videos_are_taken_up_when_asked_for(run, videos, tmp_path):
    (videos / "text.mp4").write_text("This is no video.\n" * 50)
    assert run().exit_code == 3
    before = rows(tmp_path / "out")["processed_at"]
    assert "(3 were done before)" in run().output
    retried = run("--retry-failed")
    assert retried.exit_code == 3
    assert "(2 were done before)" in retried.output
    after = rows(tmp_path / "out")["processed_at"]
    assert (after != before).to_dict() == {"a.mp4": False, "b.mp4": False, "text.mp4": True}


def test_neither_touch_nor_a_copy_nor_smoothing_costs_a_decode(run, videos, tmp_path, monkeypatch):
    assert run().exit_code == 0
    assert affectline("resmooth", tmp_path / "out", "--smoothing", "median").exit_code == 0
    median = load(tmp_path / "out", "timelines")
    os.utime(videos / "a.mp4")
    shutil.copy(videos / "b.mp4", videos / "c.mp4")
    os.replace(videos / "c.mp4", videos / "b.mp4")
    monkeypatch.setattr(Decoder, "probe", fail_to_decode)
    again = run()
    assert again.exit_code == 0, again.output
    assert "(2 smoothed again from their tables)" in again.output
    straight = load(tmp_path / "out", "timelines")
    assert not straight["happy"].equals(median["happy"])
    assert "(2 were done before)" in run().output
    assert "(2 were done before)" in run("--window", "0.5").output  # which is what it was
    assert "(2 smoothed again from their tables)" in run("--window", "0.7").output


def test_other_settings_are_asked_about_before_anything_is_decoded(run, tmp_path, monkeypatch):
    assert run().exit_code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Decoder, "probe", fail_to_decode)
        refused = run("--fps", "2")
    assert refused.exit_code == 2
    assert refused.output == (
        "affectline: 2 of 2 videos were read with other settings (fps 2, before 5); give --redo to read them "
        "again, or another output folder.\n"
    )
    assert rows(tmp_path / "out")["samples"].tolist() == [10, 15]
    assert run("--fps", "2", "--redo").exit_code == 0
    assert rows(tmp_path / "out")["samples"].tolist() == [4, 6]


def test_the_rows_of_an_earlier_version_are_done(run, videos, tmp_path):
    """Its fingerprint was of size and time, and its settings held no window and no appearance."""
    import json

    from schemas.tables import VIDEOS
    from transforms.tables.files import table_path, write_parquet
    from transforms.tables.rows import list_video_ids, read_rows

    assert run().exit_code == 0
    out = str(tmp_path / "out")
    for video_id in list_video_ids(f"{out}/videos"):
        table = read_rows(out, "videos", video_id)
        [row] = table.to_pylist()
        status = os.stat(row["uri"])
        config = json.loads(row["config_json"])
        assert config["window_s"] == 0.5
        del config["appearance"]
        row["fingerprint"] = f"{status.st_size}-{status.st_mtime_ns}"
        row["config_json"] = json.dumps(config | {"window_s": None})
        del row["stopped_after_s"]
        old = table.from_pylist([row], VIDEOS.remove(VIDEOS.get_field_index("stopped_after_s")))
        write_parquet(old, table_path(out, "videos", video_id), out)
    again = run()
    assert again.exit_code == 0, again.output
    assert "(2 were done before)" in again.output


def test_two_identical_commands_end_alike_whatever_is_done_already(run, videos):
    for number in range(3):
        (videos / f"0{number}.mp4").write_text(f"{number} is no video.\n" * 50)
    # The three come first; of all five they are not too many.
    for _ in range(2):
        assert run("--max-failure-ratio", "0.6", "--wave-minutes", "0.001").exit_code == 3
    for _ in range(2):
        result = run("--max-failure-ratio", "0.5")
        assert result.exit_code == 1
        assert "3 of 5 videos could not be read, more than --max-failure-ratio 0.5 allows" in result.output


def test_folders_without_a_part_are_passed_over(run, tmp_path):
    assert run().exit_code == 0
    out = tmp_path / "out"
    for table in ("timelines", "videos"):
        (out / table / "video_id=cut-off-0123456789").mkdir()
    assert run().exit_code == 0
    for command in ("resmooth", "report", "compact"):
        result = affectline(command, out)
        assert result.exit_code == 0, result.output
    assert run().exit_code == 0


def test_a_model_replaced_under_worker_processes_ends_the_run_with_its_sentence(
    videos, untrained_model, tmp_path, monkeypatch
):
    model = shutil.copy(untrained_model, tmp_path / "mine.keras")

    def replace(*arguments):
        with open(model, "ab") as file:
            file.write(b"\0")
        return real(*arguments)

    from pipeline.run import local

    real = local.worker_environment
    monkeypatch.setattr(local, "worker_environment", replace)
    result = affectline("run", videos, "-o", tmp_path / "out", *FAST, "--model", model, "--workers", 2)
    assert result.exit_code == 1
    assert result.output.splitlines()[-1] == (
        f"affectline: The model {model} is another file than when the run began; run the same command again."
    )


def test_without_appearance_smoothing_keeps_the_tracks(run, tmp_path):
    assert run("--no-crops").exit_code == 0
    assert load(tmp_path / "out", "timelines")["appearance"].map(len).unique().tolist() == [60]
    assert run("--no-crops", "--no-appearance", "--redo").exit_code == 0
    before = load(tmp_path / "out", "timelines")
    assert before["appearance"].isna().all()
    assert load(tmp_path / "out", "tracks")["thumbnail"].isna().all()
    assert run("--no-crops", "--no-appearance", "--smoothing", "none").exit_code == 0
    after = load(tmp_path / "out", "timelines")
    assert after["appearance"].isna().all()
    same = ["video_id", "track_id", "sample", "x", "raw_happy"]
    pd.testing.assert_frame_equal(after[same], before[same])
    assert after["happy"].equals(after["raw_happy"])


def test_the_help_says_what_is_kept_of_faces():
    from click.testing import CliRunner

    text = " ".join(CliRunner().invoke(main, ["run", "--help"]).output.split())
    assert "Store no pictures of faces but `appearance`, 4 by 5 points of colour each, for tracking." in text
    assert "Store no `appearance` either; other smoothing then keeps the tracks as they are." in text


def test_new_videos_are_added_up_without_opening_their_tables(run, monkeypatch):
    for name in ("count_rows", "read_rows", "has_rows"):
        monkeypatch.setattr(f"transforms.tables.receipts.{name}", fail_to_decode)
    result = run()
    assert result.exit_code == 0, result.output
