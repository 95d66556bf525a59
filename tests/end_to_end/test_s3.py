"""S3 from end to end, against a server on loopback: videos and tables there, pages and clips here."""

import json

import pytest

import affectline as af
from tests.helpers import cloud
from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline, load
from transforms.remote import require_file_system

boto3 = pytest.importorskip("boto3")
server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.slow

BUCKET = "videos-and-tables"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    astronaut_clip(folder / "one.mp4", seconds=2)
    (folder / "text.mp4").write_text("This is no video.\n" * 50)
    return folder


@pytest.fixture(scope="module")
def finished(videos, untrained_model, tmp_path_factory):
    """The URI of videos, and of the tables made of them there."""
    moto = server.ThreadedMotoServer("127.0.0.1", 0)
    moto.start()
    host, port = moto.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        boto3.client("s3").create_bucket(Bucket=BUCKET)
        there, out = f"s3://{BUCKET}/in", f"s3://{BUCKET}/out"
        require_file_system(there)
        cloud.upload(videos, there)
        result = affectline("run", there, "-o", out, *FAST, "--model", untrained_model)
        assert result.exit_code == 3, result.output
        yield there, out
    moto.stop()


def test_tables_there_are_those_made_here(finished, videos, untrained_model, tmp_path):
    there, out = finished
    here = cloud.download(out, tmp_path / "downloaded")
    affectline("run", videos, "-o", tmp_path / "out", *FAST, "--model", untrained_model)
    for table in ("samples", "timelines", "tracks"):
        there_rows, here_rows = load(here, table), load(tmp_path / "out", table)
        assert len(there_rows) == len(here_rows) > 0
    assert load(here, "videos")["uri"].tolist() == [f"{there}/one.mp4", f"{there}/text.mp4"]
    assert not list(here.glob("_affectline/scratch/*"))


def test_a_second_run_finds_all_done(finished, untrained_model):
    there, out = finished
    again = affectline("run", there, "-o", out, *FAST, "--model", untrained_model)
    assert "(2 were done before)" in again.output


def test_pages_and_summaries_come_from_tables_there(finished, tmp_path):
    _, out = finished
    lines = affectline("report", out, "--json").stdout.splitlines()
    assert [json.loads(line)["video"]["status"] for line in lines] == ["ok", "failed"]
    assert affectline("report", out, "-o", tmp_path / "html").exit_code == 0
    assert len(list((tmp_path / "html/pages").glob("*.html"))) == 2
    nowhere = affectline("report", out)
    assert nowhere.exit_code == 2
    assert "give a folder here with -o HTML_DIR" in nowhere.output


def test_a_clip_is_drawn_from_video_and_tables_there(finished, tmp_path):
    there, out = finished
    result = affectline("annotate", f"{there}/one.mp4", out, "-o", tmp_path / "drawn.mp4")
    assert result.exit_code == 0, result.output
    assert "50 frames" in result.output


def test_smoothing_is_done_again_there(finished, tmp_path):
    _, out = finished
    result = affectline("resmooth", out, "--smoothing", "none")
    assert result.output == "2 videos smoothed again with none.\n"
    rows = load(cloud.download(out, tmp_path / "downloaded"), "videos")
    assert {json.loads(text)["smoothing"] for text in rows["config_json"]} == {"none"}


def test_compact_says_why_it_does_not(finished):
    result = affectline("compact", finished[1])
    assert result.exit_code == 2
    assert "copy the tables here, compact them" in result.output


def test_tables_there_open_in_python(finished, tmp_path):
    _, out = finished
    tables = af.open_tables(out)
    faces = tables.faces(where=[("file", "==", "one.mp4")]).to_pandas()
    here = load(cloud.download(out, tmp_path / "downloaded"), "timelines")
    assert faces["time_s"].tolist() == here["time_s"].tolist()
    assert tables.videos["file"].to_pylist() == ["one.mp4", "text.mp4"]
    assert tables.report(tmp_path / "html").endswith("index.html")
