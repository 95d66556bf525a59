"""Faults of disk, network and system are told from those of a file."""

import errno
import os
from fractions import Fraction

import apache_beam.io.filesystems as beam_filesystems
import av
import pytest
from google.api_core.exceptions import ServiceUnavailable

from schemas.elements import Failure, Segment, Video
from schemas.errors import UnavailableError, UnreadableVideoError
from tests.helpers.preloaded import fail_from
from tests.helpers.videos import SIZE, even, write_video
from transforms.remote import LocalCopies
from transforms.steps.plan_segments import FAILURES, _PlanSegments
from transforms.steps.sample_frames import _SampleFrames
from transforms.video.decoder import Decoder
from transforms.video.files import open_video


def test_a_file_that_is_gone_is_not_a_bad_one(tmp_path):
    with Decoder() as decoder, pytest.raises(UnavailableError) as told:
        decoder.probe(str(tmp_path / "gone.mp4"))
    assert str(told.value) == "The file cannot be read now: No such file or directory."


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ENOSPC, errno.EMFILE])
def test_what_the_system_refuses_is_not_the_files_fault(tmp_path, monkeypatch, code):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")

    def refuse(*_arguments):
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(UnavailableError) as told, open_video(str(path)):
        pass
    assert str(told.value) == f"The file cannot be read now: {os.strerror(code)}."


def test_too_many_open_files_inside_ffmpeg_are_not_the_files_fault(tmp_path, monkeypatch):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"x")

    def refuse(*_arguments, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(UnavailableError), open_video(str(path)):
        pass


def test_ffmpegs_opinion_of_a_file_is_the_files_fault(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_text("This is no video.")
    with pytest.raises(UnreadableVideoError) as told, open_video(str(path)):
        pass
    assert not isinstance(told.value, UnavailableError)


IO_ERROR = "The file cannot be read now: Input/output error."


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts", "a.avi"])
def test_a_disk_that_fails_in_the_middle_is_not_the_files_fault(name, tmp_path, monkeypatch):
    path = write_video(tmp_path / name, even(50), tick=Fraction(1, 25))
    with monkeypatch.context() as patch:
        fail_from(path, path.stat().st_size * 2 // 3, tmp_path, patch)
        with Decoder() as decoder, pytest.raises(UnavailableError) as told:
            decoder.probe(str(path))
        assert str(told.value) == IO_ERROR
    with Decoder() as decoder:
        assert decoder.probe(str(path)).frames == 50


def test_what_a_disk_gave_before_it_failed_is_kept(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mkv", even(50))
    fail_from(path, path.stat().st_size * 2 // 3, tmp_path, monkeypatch)
    taken = []
    with Decoder() as decoder, pytest.raises(UnavailableError) as told:
        taken += decoder.read(str(path), 0, -1, 0, SIZE, Fraction(5))
    assert str(told.value) == IO_ERROR


def test_a_file_that_is_cut_short_is_told_from_a_disk_that_fails(tmp_path):
    path = write_video(tmp_path / "a.mkv", even(50))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with Decoder() as decoder:
        assert 0 < decoder.probe(str(path)).frames < 50


def test_a_file_that_says_what_it_holds_and_holds_nothing_has_no_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", even(2))
    content = bytearray(path.read_bytes())
    count = content.index(b"stsz") + 12
    content[count : count + 4] = bytes(4)
    path.write_bytes(content)
    with Decoder() as decoder, pytest.raises(UnreadableVideoError) as told:
        decoder.probe(str(path))
    assert str(told.value) == "No frame of the video decodes."


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError("reset"), OSError(errno.ENOSPC, "No space left"), ServiceUnavailable("503")],
    ids=lambda error: type(error).__name__,
)
def test_a_copy_that_fails_is_tried_again_and_leaves_nothing(remote, monkeypatch, error):
    remote("mem://bucket/clip.mp4").write_bytes(b"content")
    real = beam_filesystems.FileSystems.open

    def refuse(*_arguments, **_options):
        raise error

    with LocalCopies() as copies:
        monkeypatch.setattr(beam_filesystems.FileSystems, "open", refuse)
        with pytest.raises(UnavailableError, match="The file could not be fetched: "):
            copies.path("mem://bucket/clip.mp4", "1")
        monkeypatch.setattr(beam_filesystems.FileSystems, "open", real)
        path = copies.path("mem://bucket/clip.mp4", "1")
        assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_steps_raise_it_for_a_runner_that_tries_again_and_else_write_it_down(tmp_path):
    video = Video("gone-0123456789", str(tmp_path / "gone.mp4"), "1-2", 1)
    segment = Segment(video, 0, 0, -1, 0, 320, 240, 1_000_000, 25)
    for retries in (True, False):
        plan, sample = _PlanSegments(0, 300.0, retries), _SampleFrames(Fraction(5), 300.0, retries)
        for step, element in ((plan, video), (sample, segment)):
            step.setup()
            try:
                if retries:
                    with pytest.raises(UnavailableError):
                        list(step.process(element))
                    continue
                failures = [item.value for item in step.process(element) if item.tag == FAILURES]
                assert [(row.error_type, type(row)) for row in failures] == [("UnavailableError", Failure)]
            finally:
                step.teardown()
