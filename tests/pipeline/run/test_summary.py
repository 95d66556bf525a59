"""What a run says at its end: what was read, what only in part, what not at all, what is gone."""

import pytest

from pipeline.run.execute import Outcome
from pipeline.run.summary import summary


def row(name, **fields):
    counts = dict.fromkeys(("samples", "samples_with_face", "faces", "tracks"), 0)
    return {
        "video_id": name,
        "uri": f"/videos/{name}.mp4",
        "status": "ok",
        "error": None,
        "duration_s": 10.0,
    } | (counts | fields)


ROWS = [
    row("good", samples=50),
    row("half", status="partial", error="120 samples could not be decoded.", samples=20),
    row("text", status="failed", error="The file holds no video.", duration_s=None),
]


def lines(rows, **fields):
    return list(summary(Outcome(rows, **{"skipped": 0} | fields), "/out"))


def test_what_was_partly_read_and_what_failed_are_listed_apart():
    said = lines(ROWS)
    assert said[0] == "videos   2 of 3 done, 20.0 s of video"
    assert said[1:3] == ["samples  70, 0 with a face", "faces    0 in 0 tracks"]
    at = said.index("Partly read:")
    assert said[at : at + 5] == [
        "Partly read:",
        "  /videos/half.mp4: 120 samples could not be decoded.",
        "",
        "Failed:",
        "  /videos/text.mp4: The file holds no video.",
    ]


def test_a_partial_video_is_no_failed_input():
    assert Outcome(ROWS, 0).failed == ROWS[2:]


def test_what_will_be_tried_again_is_listed_apart_and_not_done():
    said = lines([*ROWS, row("far", status="retry", error="The file could not be fetched: timed out.")])
    assert said[0] == "videos   2 of 4 done, 30.0 s of video"
    at = next(number for number, line in enumerate(said) if line.startswith("To be tried again"))
    assert said[at + 1] == "  /videos/far.mp4: The file could not be fetched: timed out."
    assert Outcome([*ROWS, row("far", status="retry")], 0).failed == ROWS[2:]


def test_what_was_not_read_again_is_counted():
    assert lines(ROWS[:1], skipped=2, smoothed=3)[0] == (
        "videos   1 of 1 done, 10.0 s of video (2 were done before, 3 smoothed again from their tables)"
    )


def test_nothing_is_listed_where_all_is_well():
    headings = ("Partly read:", "Failed:", "No longer there")
    assert not [line for line in lines(ROWS[:1]) if line.startswith(headings)]


def test_what_vanished_is_named():
    said = lines(ROWS[:1], vanished=["/videos/gone.mp4"])
    at = said.index("No longer there; their rows are kept:")
    assert said[at + 1] == "  /videos/gone.mp4"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "1 min 00 s"), (3599.6, "1 h 00 min"), (7384, "2 h 03 min")],
)
def test_lengths_are_in_the_largest_units_that_fit(seconds, words):
    assert lines([row("one", duration_s=seconds)])[0] == f"videos   1 of 1 done, {words} of video"
