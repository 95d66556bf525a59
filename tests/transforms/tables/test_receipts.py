"""What was written leaves a pipeline as data, once a video, however often a bundle was done."""

from datetime import timedelta

from tests.helpers import synthetic
from transforms.tables.receipts import new_folder, read_receipt, read_receipts, rows_in, write_receipts
from transforms.tables.write import write_video
from transforms.timelines.tabulate import tabulate


def written(out, timeline):
    return write_video(tabulate(timeline, synthetic.SETTINGS), timeline.video.video_id, out)


def test_a_receipt_says_what_the_tables_say(tmp_path):
    out = str(tmp_path)
    receipt = written(out, synthetic.timeline("/videos/talk.mp4", 10, [(0, 7)]))
    assert receipt == read_receipt(out, receipt["video_id"])
    assert rows_in(receipt, "samples") == receipt["samples"] == 50
    assert rows_in(receipt, "timelines") == receipt["faces"] == 35
    assert read_receipt(out, "never-there") is None


def test_a_bundle_done_twice_counts_once_and_the_later_one(tmp_path):
    out = str(tmp_path)
    first = written(out, synthetic.timeline("/videos/talk.mp4", 10, [(0, 7)]))
    other = written(out, synthetic.timeline("/videos/other.mp4", 5, []))
    again = first | {"faces": 7, "processed_at": first["processed_at"] + timedelta(seconds=1)}
    folder = new_folder(out)
    assert read_receipts(folder) == {}
    for bundle in ([again], [first, other]):
        write_receipts(bundle, folder, out)
    assert read_receipts(folder) == {each["video_id"]: each for each in (again, other)}
