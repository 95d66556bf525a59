"""A local run is cut into waves: in order, each within its limit of video, what is longer alone."""

from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.run.waves import headers, waves, workers_that_pay
from schemas.elements import Video
from schemas.errors import UnreadableVideoError
from tests.helpers.videos import even, write_video
from transforms.video.decoder import Decoder
from transforms.video.records import Header


def video(uri, size_bytes=0):
    return Video(f"id-{uri}", str(uri), "1-1", size_bytes)


def cut(videos, seconds):
    with headers() as look:
        return [([one.uri for one in wave], length) for wave, length in waves(videos, seconds, look)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos of 1, 2, 3 and 9 seconds by their length, and at 0 a text."""
    folder = tmp_path_factory.mktemp("clips")
    made = {n: write_video(folder / f"{n}.mp4", even(n, step=1000), rate=1) for n in (1, 2, 3, 9)}
    made[0] = folder / "text.mp4"
    made[0].write_text("This is no video.\n" * 50)
    return {length: video(path, path.stat().st_size) for length, path in made.items()}


def in_seconds(clips, lengths, wave_seconds):
    names = {clip.uri: length for length, clip in clips.items()}
    found = cut([clips[length] for length in lengths], wave_seconds)
    return [([names[uri] for uri in wave], round(seconds)) for wave, seconds in found]


def test_videos_share_a_wave_as_long_as_they_fit(clips):
    assert in_seconds(clips, [1, 2, 3, 2, 1], 5) == [([1, 2], 3), ([3, 2], 5), ([1], 1)]


def test_a_long_video_is_a_wave_of_its_own(clips):
    assert in_seconds(clips, [1, 9, 2, 1], 5) == [([1], 1), ([9], 9), ([2, 1], 3)]


def test_what_cannot_be_opened_goes_with_the_others(clips):
    """The pipeline meets the same error, and writes it down."""
    assert in_seconds(clips, [1, 0, 0, 2], 3) == [([1, 0, 0, 2], 3)]
    assert in_seconds(clips, [0], 3) == [([0], 0)]


def test_a_header_that_says_nothing_or_nonsense_is_not_believed(monkeypatch):
    said = {"none": 0, "ages": 10**15, "own": 9_000_000}
    monkeypatch.setattr(Decoder, "header", lambda _, uri: Header(said[uri], 64, 32))
    assert cut([video(name, 1_250_000) for name in said], 100) == [(["none", "ages", "own"], 29)]


def test_no_videos_are_no_waves():
    assert cut([], 60) == []


def test_a_remote_videos_length_is_guessed_and_nothing_is_opened(monkeypatch):
    monkeypatch.setattr(Decoder, "header", lambda *_: pytest.fail("copied to be looked at"))
    videos = [video(f"gs://b/{n}.mp4", size) for n, size in enumerate((7_500_000, 3_750_000, 7_500_000))]
    assert cut(videos, 90) == [(["gs://b/0.mp4", "gs://b/1.mp4"], 90), (["gs://b/2.mp4"], 60)]


@given(st.lists(st.integers(1, 20) | st.none(), max_size=12), st.integers(1, 30))
def test_waves_hold_every_video_once_in_order_and_are_as_full_as_they_may_be(lengths, limit):
    def says(_decoder, uri):
        length = lengths[int(uri)]
        if length is None:
            raise UnreadableVideoError("damaged")
        return Header(length * 1_000_000, 64, 32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Decoder, "header", says)
        found = cut([video(number, 1_000_000) for number in range(len(lengths))], limit)
    assert [uri for wave, _ in found for uri in wave] == [str(number) for number in range(len(lengths))]
    for wave, seconds in found:
        assert seconds == sum(lengths[int(uri)] or 0 for uri in wave)
        assert len(wave) == 1 or seconds <= limit
    for (_, before), (following, _) in pairwise(found):
        assert before + (lengths[int(following[0])] or 0) > limit


def paying(videos, monkeypatch, header, rate=5, segment_seconds=60, cores=8, memory=64e9):
    monkeypatch.setattr(Decoder, "header", lambda *_: header)
    with headers() as look:
        return workers_that_pay(videos, Fraction(rate), segment_seconds, look, cores, memory)


MINUTE = Header(60_000_000, 640, 360)


def test_as_many_workers_as_keep_all_cores_busy_where_there_is_work_for_them(monkeypatch):
    many = [video(n, 5_000_000) for n in range(100)]
    assert [paying(many, monkeypatch, MINUTE, cores=cores) for cores in (1, 2, 3, 8)] == [1, 2, 3, 8]


def test_a_few_short_clips_are_read_by_one_process(monkeypatch):
    few = [video(n, 100_000) for n in range(8)]
    assert paying(few, monkeypatch, Header(4_000_000, 640, 360)) == 1
    assert paying([], monkeypatch, MINUTE) == 1


def test_no_more_workers_than_pieces(monkeypatch):
    long = [video("long", 10**9)]
    hour = Header(3_600_000_000, 640, 360)
    assert paying(long, monkeypatch, hour) == 8
    assert paying(long, monkeypatch, hour, segment_seconds=0) == 1
    assert paying(long, monkeypatch, hour, segment_seconds=1200) == 3
    assert paying(long, monkeypatch, hour, rate=0) == 1  # frames can be numbered only from the start


def test_no_more_workers_than_fit_into_the_memory(monkeypatch):
    many = [video(n, 5_000_000) for n in range(100)]
    assert paying(many, monkeypatch, MINUTE, memory=2e9) == 4
    assert paying(many, monkeypatch, Header(60_000_000, 3840, 2160), memory=2e9) == 1


def test_a_corpus_is_judged_by_a_few_of_its_videos(monkeypatch):
    looked_at = []
    monkeypatch.setattr(Decoder, "header", lambda _, uri: looked_at.append(uri) or MINUTE)
    with headers() as look:
        videos = [video(n, 1_000_000) for n in range(5000)]
        assert workers_that_pay(videos, Fraction(5), 60, look, 4, 64e9) == 4
    assert len(looked_at) < 16


def test_a_header_is_read_once_for_the_workers_and_for_the_waves(monkeypatch):
    read = []
    monkeypatch.setattr(Decoder, "header", lambda _, uri: read.append(uri) or MINUTE)
    few = [video(n, 1_000_000) for n in range(3)]
    with headers() as look:
        assert workers_that_pay(few, Fraction(5), 60, look, 4, 64e9) == 1
        assert [len(wave) for wave, _ in waves(few, 1800, look)] == [3]
    assert sorted(read) == ["0", "1", "2"]
