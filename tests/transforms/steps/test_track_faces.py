"""The step after grouping: a video whose records contradict each other fails, and the others go on."""

from schemas.elements import Failure
from schemas.remarks import OTHER_PICTURES
from schemas.settings import Settings
from tests.transforms.timelines.test_timeline import VIDEO, records, sample
from transforms.steps.track_faces import _track
from transforms.tables.blocks import make_block
from transforms.timelines.tabulate import tabulate


def grouped(**changes):
    rows = records() | changes
    blocks = {kind: [make_block(rows[kind], "")] if rows[kind] else [] for kind in ("samples", "faces")}
    return VIDEO.video_id, {"video": [VIDEO], **rows, **blocks}


def test_a_sample_that_came_twice_fails_its_video_alone():
    lost = Failure(VIDEO.video_id, VIDEO.uri, "SampleFrames", 5, "DecodeError", "The frame did not decode.")
    timeline = _track(grouped(samples=[*records()["samples"], sample(2)], failures=[lost]))
    tables = tabulate(timeline, Settings())
    [row] = tables["videos"].to_pylist()
    assert row["status"] == "failed"
    assert row["error"].startswith("A sample came twice or out of order; run the video again.")
    assert [tables[name].num_rows for name in ("timelines", "samples", "tracks")] == [0, 0, 0]
    assert row["samples"] == row["faces"] == row["tracks"] == 0
    assert set(tables["failures"]["error_type"].to_pylist()) == {"DecodeError", "IncompleteVideoError"}


def test_a_remark_leaves_a_video_whole():
    infos = [info._replace(problems=[OTHER_PICTURES]) for info in records()["infos"]]
    ends = [end._replace(problems=[]) for end in records()["ends"]]
    tables = tabulate(_track(grouped(infos=infos, ends=ends, failures=[])), Settings())
    [row] = tables["videos"].to_pylist()
    assert (row["status"], row["error"]) == ("ok", OTHER_PICTURES)
    assert tables["failures"].num_rows == 0
