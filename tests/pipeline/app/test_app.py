"""The page's server: its three flows without a browser, and every way to misuse it.

Long, because all flows share the same drawn engines, one real run, and one server's set-up.
"""

import asyncio
import base64
import fcntl
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from pathlib import Path

import cv2
import httpx2
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from models.classify.spec import find_model
from pipeline.app import jobs as jobs_module
from pipeline.app import server as server_module
from pipeline.app import uploads
from pipeline.app.engines import Engines
from pipeline.app.guard import is_loopback
from pipeline.app.server import make_app
from pipeline.app.uploads import safe_name
from pipeline.cli.main import main
from schemas.emotions import COLORS, EMOTIONS
from schemas.errors import UsageError
from tests.helpers.clips import astronaut_clip
from tests.helpers.drawn_faces import SIDE, DrawnClassifier, DrawnDetector, draw
from transforms.faces.analyzer import Analyzer

ADDRESS = "http://127.0.0.1:8123"
OURS = {"Origin": ADDRESS}


class DrawnEngines(Engines):
    """Sees drawn faces at once; a run in the background uses the real ones."""

    def __init__(self, model="default"):
        super().__init__(model)
        self.drawn = Analyzer(DrawnDetector(), DrawnClassifier())

    def analyzer(self, choice, min_face):
        return self.drawn


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def client_of(app, address=ADDRESS, **headers):
    return TestClient(app, base_url=address, headers=headers, follow_redirects=False)


@pytest.fixture
def client():
    with client_of(make_app(DrawnEngines(), "127.0.0.1", None)) as client:
        yield client


def as_png(image):
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()


def as_jpeg(image):
    return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [1, 98])[1].tobytes()


def error_of(answer, status):
    assert answer.status_code == status, answer.text
    sentence = answer.json()["error"]
    assert sentence[0].isupper()
    assert sentence.endswith(".")
    assert "Traceback" not in sentence
    return sentence


# The page


def test_the_page_brings_everything_it_needs(client):
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for name in ("app.css", "app.js", "page.js", "picture.js", "video.js", "webcam.js"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        for text in (page.text, answer.text):
            assert "https://" not in text
            assert "http://" not in text.replace("http://127.0.0.1", "").replace(
                "http://www.w3.org/2000/svg", ""
            )
        assert answer.headers["content-type"].startswith(("text/css", "text/javascript"))


def test_it_offers_what_there_is(client):
    told = client.get("/api/choices").json()
    # YuNet's weights would have to be downloaded.
    assert told["offered"]["detector"] == ["mtcnn", "haar"]
    assert told["offered"]["smoothing"] == ["hmm", "ema", "median", "mode", "none"]
    assert told["offered"]["model"][0] == "default"
    assert told["emotions"] == dict(COLORS)


def test_a_model_of_ones_own_is_offered_by_its_file_name(tmp_path):
    mine = tmp_path / "mine.keras"
    shutil.copyfile(find_model("default").path, mine)
    engines = Engines(str(mine))
    assert engines.offered["model"][0] == "mine.keras"
    assert "default" in engines.offered["model"]
    assert engines.model_argument(engines.check({})) == str(mine)


@pytest.mark.parametrize("what", [{"model": "none"}, {"detector_weights": Path("none.onnx")}])
def test_parts_that_there_are_not_are_refused_at_the_start(what):
    with pytest.raises(UsageError, match="none"):
        Engines(**what)


# Pictures


def test_a_picture_with_two_faces(client):
    image = draw((60, 100), (400, 200))
    client_answer = client.post("/api/picture", content=as_png(image), headers=OURS)
    told = client_answer.json()
    assert (told["width"], told["height"]) == (640, 480)
    assert [(face["x"], face["y"], face["w"], face["h"]) for face in told["faces"]] == [
        (60, 100, SIDE, SIDE),
        (400, 200, SIDE, SIDE),
    ]
    for face in told["faces"]:
        assert (face["emotion"], face["confidence"]) == ("happy", 0.7)
        assert list(face["probabilities"]) == list(EMOTIONS)
        assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-3)
    kind, _, encoded = told["annotated"].partition(",")
    assert kind == "data:image/jpeg;base64"
    annotated = np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))
    changed = np.abs(annotated.astype(int) - image).max(axis=2) > 60
    assert changed[98:102, 60:180].mean() > 0.8  # the upper side of the first box
    assert not changed[:, 250:380].any()


def test_a_picture_without_a_face(client):
    told = client.post("/api/picture", content=as_png(draw())).json()
    assert told["faces"] == []


def test_a_picture_is_seen_upright(client):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = io.BytesIO()
    Image.fromarray(np.rot90(draw((60, 100)))).save(turned, "PNG", exif=exif)
    told = client.post("/api/picture", content=turned.getvalue()).json()
    assert (told["width"], told["height"]) == (640, 480)
    assert [face["x"] for face in told["faces"]] == [60]


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"GIF89a but not really", 415, "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "not a picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not a picture"),
        (as_png(draw())[:2000], 400, "cannot be read"),
    ],
)
def test_what_is_no_picture_gets_a_sentence(client, content, status, words):
    # Whatever the request calls it.
    answer = client.post("/api/picture", content=content, headers={"Content-Type": "image/png"})
    assert words in error_of(answer, status)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header(client):
    # 30,000 x 30,000 pixels in a few bytes.
    png = bytearray(as_png(np.zeros((1, 1, 3), np.uint8)))
    png[16:24] = (30000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(bytes(png[12:29])).to_bytes(4, "big")
    assert "megapixels" in error_of(client.post("/api/picture", content=bytes(png)), 413)


def test_a_picture_of_too_many_bytes_is_refused(client, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_PICTURE_BYTES", 100_000)
    assert "larger than" in error_of(client.post("/api/picture", content=b"x" * 100_001), 413)


def test_bytes_are_counted_and_not_believed(client, monkeypatch):
    """A body of no announced length ends where the limit is."""
    monkeypatch.setattr(server_module, "MAX_PICTURE_BYTES", 100_000)
    sent = 0

    def endless():
        nonlocal sent
        while sent < 10_000_000:
            sent += 10_000
            yield b"x" * 10_000

    answer = client.post("/api/picture", content=endless())
    assert "larger than" in error_of(answer, 413)


@pytest.mark.parametrize("what", ["model", "detector", "smoothing", "mesh"])
@pytest.mark.parametrize("name", ["absent", "../../etc/passwd", "/tmp/evil.keras", "yunet"])
def test_only_what_is_offered_can_be_chosen(client, what, name):
    answer = client.post("/api/picture", params={what: name}, content=as_png(draw()))
    assert f"There is no {what}" in error_of(answer, 400)


# Videos


def wait_for(client, done, seconds=240):
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        videos = client.get("/api/videos").json()
        if done(videos):
            return videos
        time.sleep(0.1)
    raise AssertionError(f"not in {seconds} s: {videos}")


def is_over(video):
    return video["status"] not in ("queued", "running")


def send(client, path, name="clip.mp4", **choice):
    return client.post("/api/videos", params={"name": name, **choice}, content=path.read_bytes())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return astronaut_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 1.2)


@pytest.fixture(scope="module")
def ran(tmp_path_factory, clip):
    """What came of two good clips and a broken one between them; the client, still open."""
    folder = tmp_path_factory.mktemp("temporary")
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    broken = clip.with_name("broken.mp4")
    content = clip.read_bytes()
    broken.write_bytes(content[: content.index(b"mdat") + 400])
    try:
        with client_of(make_app(Engines(), "127.0.0.1", None)) as client:
            first = send(client, clip, "../../first <b>.mp4", detector="haar", smoothing="ema")
            refused = send(client, broken, "broken.mp4", detector="haar")
            second = send(client, clip, "second.mov", detector="haar")
            assert first.status_code == second.status_code == 201
            progress = []

            def done(videos):
                progress.append([(video["stage"], video["done_s"]) for video in videos])
                return all(map(is_over, videos))

            yield client, wait_for(client, done), refused, progress, folder
    finally:
        tempfile.tempdir = before


@pytest.mark.slow
def test_videos_run_through_the_real_pipeline(ran, tmp_path):
    client, videos, _, progress, _ = ran
    assert [(video["status"], video["error"]) for video in videos] == [("done", "")] * 2
    assert [video["name"] for video in videos] == ["../../first <b>.mp4", "second.mov"]
    assert [video["stem"] for video in videos] == ["first _b", "second"]
    stages = {stage for looked in progress for stage, _ in looked}
    assert {"Looking for faces", "Writing the report", "Drawing the clip"} <= stages
    tables = {}
    for video in videos:
        answer = client.get(f"/videos/{video['id']}/{video['tables']}")
        folder = tmp_path / video["id"]
        with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
            archive.extractall(folder)
        tables[video["name"]] = {
            name: pd.read_parquet(folder / name)
            for name in ("timelines", "samples", "tracks", "videos", "failures")
        }
        assert len(tables[video["name"]]["timelines"]) == video["faces"] == 6
    assert [found["videos"]["uri"][0].rpartition("/")[2] for found in tables.values()] == [
        "first _b.mp4",
        "second.mp4",
    ]
    settings = [json.loads(found["videos"]["config_json"][0]) for found in tables.values()]
    assert [row["smoothing"] for row in settings] == ["ema", "hmm"]
    assert {row["detector"] for row in settings} == {"haar"}


@pytest.mark.slow
def test_the_report_of_a_video_opens_with_its_parts(ran):
    client, videos, _, _, _ = ran
    base = f"/videos/{videos[0]['id']}/"
    page = client.get(base + videos[0]["report"])
    assert "Tracks" in page.text
    for asset in ("report.js", "report.css", "uPlot.iife.min.js"):
        assert f"../assets/{asset}" in page.text
        assert client.get(f"{base}report/assets/{asset}").status_code == 200


@pytest.mark.slow
def test_the_clip_plays_from_anywhere(ran):
    client, videos, _, _, _ = ran
    address = f"/videos/{videos[0]['id']}/{videos[0]['clip']}"
    whole = client.get(address)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.content[4:8] == b"ftyp"
    part = client.get(address, headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == whole.content[100:200]


@pytest.mark.slow
def test_a_broken_video_gets_its_sentence(ran):
    _, _, refused, _, _ = ran
    assert "cannot be opened as a video" in error_of(refused, 415)


@pytest.mark.slow
def test_only_listed_files_are_given_out(ran):
    client, videos, _, _, _ = ran
    base = f"/videos/{videos[0]['id']}/"
    for name in (
        "upload/first _b.mp4",
        "out/_lock",
        "../_lock",
        "%2e%2e/%2e%2e/_lock",
        "/etc/passwd",
        "",
        "report",
    ):
        assert client.get(base + name).status_code in (404, 307)
    assert client.get("/videos/other/tables.zip").status_code == 404


@pytest.mark.slow
def test_names_from_the_browser_are_no_paths(ran):
    _, _, _, _, folder = ran
    received = sorted(path.name for path in folder.glob("*/*/upload/*"))
    assert received == ["first _b.mp4", "second.mp4"]  # whatever ending it came with
    assert not list(folder.parent.rglob("first <b>.mp4"))  # as it was called
    assert not list(folder.glob("*/*/tmp/*"))  # the children's own


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../first <b>.mp4", "first _b"),
        ("C:\\Users\\me\\Gespräch 3.MOV", "Gespräch 3"),
        (".bashrc", "bashrc"),
        ("..", "video"),
        ("", "video"),
        ("a\0b\n.mp4", "a_b"),
        ("é" * 200 + ".mp4", "é" * 40),
    ],
)
def test_of_a_name_what_is_safe_is_kept(name, kept):
    assert safe_name(name) == kept


@pytest.mark.slow
def test_a_long_run_is_cancelled_with_all_it_started(tmp_path, temporary):
    long = astronaut_clip(tmp_path / "long.mp4", 60)
    with client_of(make_app(Engines(), "127.0.0.1", None)) as client:
        first = send(client, long).json()
        second = send(client, long).json()
        wait_for(client, lambda videos: next(iter(temporary.glob("*/*/tmp/affectline-run-*")), None))
        assert client.delete(f"/api/videos/{second['id']}").status_code == 204
        assert client.delete(f"/api/videos/{first['id']}").status_code == 204
        videos = client.get("/api/videos").json()
        assert [video["status"] for video in videos] == ["cancelled"] * 2
        assert children_in(temporary) == []
        assert not list(temporary.glob("*/*/*"))
        # Once more removes them.
        for video in videos:
            assert client.delete(f"/api/videos/{video['id']}").status_code == 204
        assert client.get("/api/videos").json() == []
        assert client.delete(f"/api/videos/{first['id']}").status_code == 404
    assert list(temporary.iterdir()) == []


def children_in(folder):
    """Processes whose folder for temporary files is in this one."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes()
        except OSError:
            continue
        if f"TMPDIR={folder}".encode() in environment:
            found.append(process.name)
    return found


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", 415, "not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", 415, "not a video"),
        (b"<MPD xmlns='urn:mpeg:dash:schema:mpd:2011'></MPD>", 415, "not a video"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5000 RTP/AVP 96\r\n", 415, "not a video"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", 415, "not a video"),
        (b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 400, 415, "cannot be opened"),
    ],
)
def test_what_is_no_video_gets_a_sentence_and_leaves_nothing(client, temporary, content, status, words):
    answer = client.post("/api/videos", params={"name": "a.mp4"}, content=content)
    assert words in error_of(answer, status)
    assert client.get("/api/videos").json() == []
    [own] = temporary.glob("affectline-app-*")
    assert [path.name for path in own.iterdir()] == ["_lock"]


def test_a_video_of_too_many_bytes_leaves_nothing(client, temporary, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_VIDEO_BYTES", 50_000)
    answer = client.post("/api/videos", content=(b"x" * 10_000 for _ in range(10)))
    assert "larger than" in error_of(answer, 413)
    [own] = temporary.glob("affectline-app-*")
    assert [path.name for path in own.iterdir()] == ["_lock"]


def test_a_video_that_is_too_long_is_refused(client, clip, monkeypatch):
    monkeypatch.setattr(jobs_module, "MAX_VIDEO_SECONDS", 1)
    assert "minutes long" in error_of(send(client, clip), 413)


def test_a_full_disk_is_told_before_the_upload(client, clip, monkeypatch):
    monkeypatch.setattr(uploads, "_ROOM_BYTES", 1 << 60)
    assert "too little room" in error_of(send(client, clip), 507)


def test_an_upload_that_breaks_off_leaves_nothing(temporary):
    """As a closed page does it: the body ends before its end."""

    async def broken_off():
        app = make_app(DrawnEngines(), "127.0.0.1", None)
        sent, started = [], asyncio.Event()

        async def lifespan():
            messages = asyncio.Queue()
            await messages.put({"type": "lifespan.startup"})

            async def send(message):
                started.set()

            task = asyncio.create_task(app({"type": "lifespan", "state": {}}, messages.get, send))
            await started.wait()
            return task, messages

        task, messages = await lifespan()
        bodies = iter(
            [{"type": "http.request", "body": b"x" * 100, "more_body": True}, {"type": "http.disconnect"}]
        )

        async def receive():
            return next(bodies)

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/api/videos",
            "raw_path": b"/api/videos",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1:1"), (b"content-length", b"1000")],
            "http_version": "1.1",
            "scheme": "http",
            "server": ("127.0.0.1", 1),
            "client": ("127.0.0.1", 2),
            "root_path": "",
        }
        await app(scope, receive, send)
        [own] = temporary.glob("affectline-app-*")
        left = [path.name for path in own.iterdir()]
        await messages.put({"type": "lifespan.shutdown"})
        await task
        return left

    assert asyncio.run(broken_off()) == ["_lock"]


def test_videos_kept_are_bounded(client, clip, monkeypatch):
    class Waits(jobs_module.Jobs):
        async def _make(self, job):
            await asyncio.sleep(0 if job.name.startswith("quick") else 3600)

    monkeypatch.setattr(jobs_module.Jobs, "_make", Waits._make)
    monkeypatch.setattr(jobs_module, "MAX_JOBS", 3)
    for number in range(4):
        assert send(client, clip, f"quick {number}").status_code == 201
        wait_for(client, lambda videos: all(map(is_over, videos)))
    names = [video["name"] for video in client.get("/api/videos").json()]
    assert names == ["quick 1", "quick 2", "quick 3"]
    for number in range(3):
        assert send(client, clip, f"slow {number}").status_code == 201
    assert "waiting" in error_of(send(client, clip), 429)


def test_what_nobody_foresaw_ends_one_video_and_not_the_others(client, clip, monkeypatch):
    async def fail(_jobs, job):
        if job.name == "bad":
            raise OSError("unforeseen")

    monkeypatch.setattr(jobs_module.Jobs, "_make", fail)
    send(client, clip, "bad")
    send(client, clip, "good")
    bad, good = wait_for(client, lambda videos: all(map(is_over, videos)))
    assert (bad["status"], good["status"]) == ("failed", "done")
    assert bad["error"] == "The run broke off; see the terminal of the server."


def test_files_of_a_killed_server_are_removed_and_others_are_kept(temporary):
    dead = temporary / "affectline-app-dead"
    alive = temporary / "affectline-app-alive"
    for folder in (dead, alive):
        folder.mkdir()
        (folder / "_lock").touch()
        (folder / "video.mp4").write_bytes(b"x")
    outside = temporary / "outside"
    outside.mkdir()
    (temporary / "affectline-app-link").symlink_to(outside)
    with (alive / "_lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with client_of(make_app(DrawnEngines(), "127.0.0.1", None)):
            assert not dead.exists()
            assert (alive / "video.mp4").exists()
            assert outside.exists()
            [own] = set(temporary.glob("affectline-app-*")) - {alive, temporary / "affectline-app-link"}
            assert own.stat().st_mode & 0o077 == 0  # for nobody else
        assert not own.exists()


# The webcam


def converse(client, frames, address="/api/live", headers=OURS):
    with client.websocket_connect(f"ws://127.0.0.1:8123{address}", headers=headers) as socket:
        first = socket.receive_json()
        if "error" in first:
            return [first]
        assert first == {"ready": True}
        told = []
        for frame in frames:
            socket.send_bytes(frame)
            told.append(socket.receive_json())
            time.sleep(0.04)  # a camera's pace
        return told


def test_frames_are_answered_with_smoothed_tracked_faces(client, temporary):
    frames = [as_jpeg(draw((200 + 4 * number, 150))) for number in range(12)]
    told = converse(client, frames)
    assert all(row["ms"] > 0 for row in told)
    [face] = told[-1]["faces"]
    assert (face["track"], face["emotion"]) == (0, "happy")
    assert face["confidence"] > 0.7  # several searches agree
    assert (face["x"], face["y"]) == pytest.approx((244, 150), abs=6)
    assert {path.name for path in temporary.rglob("*") if path.is_file()} == {"_lock"}  # nothing is stored


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"x" * 100, "not a picture"),
        (as_png(draw()), "not a picture"),
        (as_jpeg(draw())[:600], "not a picture"),
        (b"", "not a picture"),
        (as_jpeg(np.zeros((2000, 2000, 3), np.uint8)), "megapixels"),
    ],
)
def test_a_bad_frame_ends_the_session_with_a_sentence(client, frame, words):
    [told] = converse(client, [frame])
    assert words in told["error"]


def test_a_choice_that_is_not_offered_ends_the_session(client):
    [told] = converse(client, [], "/api/live?detector=absent")
    assert "There is no detector 'absent'" in told["error"]


def test_webcam_pages_are_bounded(client, monkeypatch):
    monkeypatch.setattr(server_module, "MAX_LIVE", 1)
    with client.websocket_connect("ws://127.0.0.1:8123/api/live", headers=OURS) as socket:
        assert socket.receive_json() == {"ready": True}
        [told] = converse(client, [])
        assert "use a webcam already" in told["error"]
    time.sleep(0.2)
    assert converse(client, []) == []


# Safety


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8123", "127.0.0.1.evil.example", "192.168.1.9", ""]
)
def test_another_name_is_not_answered(client, host):
    """A site whose name was rebound to this machine."""
    assert "under that name" in error_of(client.get("/", headers={"Host": host}), 421)
    with pytest.raises(WebSocketDisconnect):
        converse(client, [], headers={"Host": host, "Origin": f"http://{host}"})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8123", "[::1]:8123", "LOCALHOST"])
def test_this_machines_names_are_answered(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1", "null"]
)
def test_another_sites_requests_are_refused(client, origin):
    headers = {"Origin": origin}
    assert "Another site" in error_of(client.post("/api/picture", content=b"x", headers=headers), 403)
    assert "Another site" in error_of(client.delete("/api/videos/x", headers=headers), 403)
    with pytest.raises(WebSocketDisconnect):
        converse(client, [], headers=headers)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_another_site_can_open_the_page_but_embed_nothing(client, site):
    def get(mode, destination):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": mode, "Sec-Fetch-Dest": destination}
        return client.get("/", headers=headers).status_code

    assert get("navigate", "document") == 200
    assert get("navigate", "iframe") == 403
    assert get("no-cors", "image") == 403
    assert get("no-cors", "script") == 403
    assert get("cors", "empty") == 403


def test_every_answer_carries_the_headers(client):
    for answer in (client.get("/"), client.get("/absent"), client.get("/", headers={"Host": "evil.example"})):
        policy = dict(
            part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";")
        )
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        sources = {word for words in policy.values() for word in words.split()}
        hosts = {word for word in sources if "." in word or "*" in word}
        assert hosts <= {f"ws://{answer.request.headers['host']}"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in answer.headers


def test_beyond_loopback_everything_needs_the_token():
    address = "http://192.168.1.9:8123"
    with client_of(make_app(DrawnEngines(), "0.0.0.0", "secret"), address) as client:
        ways = [("GET", "/"), ("GET", "/static/app.js"), ("GET", "/api/choices"), ("GET", "/?token=wrong")]
        ways += [("POST", "/api/picture"), ("POST", "/api/videos"), ("GET", "/api/choices?token=secret")]
        for method, path in ways:
            assert "token" in error_of(client.request(method, path), 401)
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("ws://192.168.1.9:8123/api/live"):
            pass
        opened = client.get("/?token=secret")
        assert (opened.status_code, opened.headers["location"]) == (303, "/")
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/choices").status_code == 200  # by the cookie
        client.cookies.clear()
        assert client.get("/api/choices", headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/api/choices", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 421


@pytest.mark.parametrize(
    ("hosts", "loopback"),
    [
        (["127.0.0.1", "127.8.8.8", "::1", "localhost"], True),
        (["0.0.0.0", "::", "192.168.1.9", "example.org"], False),
    ],
)
def test_what_is_loopback(hosts, loopback):
    assert [is_loopback(host) for host in hosts] == [loopback] * 4


# The command


def start_server(*arguments, **environment):
    root = str(Path(__file__).resolve().parents[3])
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "app", "--no-open", *arguments],
        cwd=root,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline().strip()


@pytest.mark.slow
def test_the_command_prints_an_address_serves_it_and_cleans_up(temporary):
    process, address = start_server(TMPDIR=str(temporary))
    try:
        assert address.startswith("http://127.0.0.1:")
        assert "token" not in address
        assert httpx2.get(address, timeout=60).status_code == 200
        assert len(list(temporary.glob("affectline-app-*"))) == 1
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert list(temporary.glob("affectline-app-*")) == []


def test_a_port_in_use_gets_a_sentence():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["app", "--no-open", "--port", str(port)])
    assert result.exit_code == 2
    assert f"cannot be served at 127.0.0.1 port {port}" in result.output


@pytest.mark.parametrize(("host", "has_token"), [("127.0.0.1", False), ("0.0.0.0", True), ("::1", False)])
def test_the_printed_address_opens_the_page(host, has_token, monkeypatch):
    class NoServer:
        def __init__(self, config):
            configs.append(config)

        def run(self, sockets):
            assert sockets[0].getsockname()[1] > 0

    configs, addresses = [], []
    monkeypatch.setattr(server_module.uvicorn, "Server", NoServer)
    server_module.serve(host, 0, DrawnEngines(), open_browser=False, tell=addresses.append)
    [address] = addresses
    assert ("?token=" in address) == has_token
    base, _, query = address.partition("?")
    with client_of(configs[0].app, base.rstrip("/")) as client:
        assert client.get("/api/choices").status_code == (401 if has_token else 200)
        assert client.get(f"/?{query}").status_code == (303 if has_token else 200)
        assert client.get("/api/choices").status_code == 200


def test_without_the_servers_libraries_the_extra_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "pipeline.app.server")
    monkeypatch.setitem(sys.modules, "starlette.applications", None)
    result = CliRunner().invoke(main, ["app", "--no-open"])
    assert result.exit_code == 2
    assert "pip install 'affectline[app]'" in result.output
