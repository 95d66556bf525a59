"""The page of `affectline app` in a real browser: each of its three flows, keys, widths and both schemes.

The webcam is Chromium's fake one, which plays a made clip.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from playwright.sync_api import sync_playwright
from skimage import data

from schemas.emotions import COLORS
from tests.helpers.chromium import ARGUMENTS, CHROMIUM
from tests.helpers.clips import astronaut_clip

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[3]
# Where to put screenshots to look at; without it none are taken.
SCREENSHOTS = os.environ.get("AFFECTLINE_SCREENSHOTS")
PATIENCE_MS = 240_000

CAMERA_ARGUMENTS = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


def fake_camera(path):
    """A 640x480 Motion-JPEG file, 30 frames a second, in which the astronaut moves before a blurred wall."""
    portrait = data.astronaut()
    wall = cv2.GaussianBlur(cv2.resize(portrait[256:, :340], (640, 480)), (0, 0), 9)
    person = cv2.resize(portrait[:320, 60:400], (382, 360))
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        for number in range(120):
            image = wall.copy()
            left = 130 + round(90 * np.sin(2 * np.pi * number / 120))
            image[120:, left : left + 382] = person
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("browser")


@pytest.fixture(scope="module")
def server(folder):
    """The address of a running `affectline app`."""
    temporary = folder / "temporary"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline.cli", "app", "--no-open"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process.stdout.readline().strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert list(temporary.glob("affectline-app-*")) == []


@pytest.fixture(scope="module")
def browser(folder):
    camera = fake_camera(folder / "camera.mjpeg")
    with sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=CHROMIUM,
            args=[*ARGUMENTS, *CAMERA_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    """The page, which may say nothing on the console and ask nobody but its server for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["camera"])
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints = []
    page.expected = ()  # of complaints

    def complain(text):
        if not any(re.search(words, text) for words in page.expected):
            complaints.append(text)

    context.on("console", lambda message: complain(message.text))  # of the report's page too
    context.on("weberror", lambda error: complain(str(error.error)))
    ours = (server, server.replace("http", "ws", 1), "blob:", "data:")
    context.on("request", lambda request: None if request.url.startswith(ours) else complain(request.url))
    page.goto(server)
    page.get_by_label("Model").locator("option").first.wait_for(state="attached")
    yield page
    context.close()
    assert complaints == []


def looked_at(page, name):
    """Screenshots, where wanted, in both schemes and at a phone's width; the page must fit there."""
    for scheme, width in (("light", 1200), ("dark", 1200), ("light", 390), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        if SCREENSHOTS:
            page.screenshot(path=f"{SCREENSHOTS}/{name}-{scheme}-{width}.png", full_page=True)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1200, "height": 900})


def two_people(path):
    """A picture with the astronaut twice."""
    portrait = data.astronaut()[:300, 60:400]
    cv2.imwrite(str(path), cv2.cvtColor(np.hstack([portrait, portrait[:, ::-1]]), cv2.COLOR_RGB2BGR))
    return path


def test_a_picture(page, folder):
    page.set_input_files("#picture-file", two_people(folder / "two.png"))
    page.locator("#picture-result").wait_for()
    cards = page.locator("#picture-faces li")
    assert cards.count() == 2
    for card in cards.all():
        numbers = [float(text.split()[0]) for text in card.locator(".number").all_inner_texts()]
        assert len(numbers) == 7
        assert sum(numbers) == pytest.approx(100, abs=3)
    assert page.locator("#picture-told").inner_text() == "2 faces"
    assert page.locator("#picture-boxes text").count() == 2
    # The boxes lie over the faces as the browser shows the picture.
    shown = page.locator("#picture-image").bounding_box()
    for box in page.locator("#picture-boxes rect.rim").all():
        place = box.bounding_box()
        center = (place["x"] + place["width"] / 2 - shown["x"]) / shown["width"]
        assert min(abs(center - 0.24), abs(center - 0.76)) < 0.06
    with page.expect_download() as download:
        page.get_by_role("link", name="Download with boxes").click()
    assert download.value.suggested_filename == "two-annotated.jpg"
    assert cv2.imread(str(download.value.path())).shape == (300, 680, 3)
    looked_at(page, "picture")
    # Another detector looks again.
    page.get_by_label("Detector").select_option("haar")
    page.locator("#picture-busy").wait_for(state="hidden")
    assert cards.count() >= 1


def test_a_file_that_is_no_picture(page, folder):
    page.expected = ("415",)
    path = folder / "notes.png"
    path.write_text("not a picture")
    page.set_input_files("#picture-file", path)
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text().startswith("This is not a picture of a known kind")
    assert page.locator("#picture-result").is_hidden()


def test_keys_move_between_the_tabs(page):
    page.get_by_role("tab", name="Picture").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Video").get_attribute("aria-selected") == "true"
    assert page.locator("#video").is_visible()
    assert page.locator("#picture").is_hidden()
    page.keyboard.press("End")
    assert page.locator("#webcam").is_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator("#picture").is_visible()
    # The next stops are the choices, then the file.
    for expected in ("model", "detector", "mesh", "picture-file"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name || document.activeElement.id") == expected


def test_videos(page, folder):
    page.expected = ("415",)
    clip = astronaut_clip(folder / "clip.mp4", 2.0)
    broken = folder / "broken.mp4"
    broken.write_bytes(clip.read_bytes()[:300])
    long = astronaut_clip(folder / "long.mp4", 60)
    page.get_by_role("tab", name="Video").click()
    page.set_input_files("#video-file", [clip, broken, long])
    rows = {
        name: page.locator("#videos li", has_text=name) for name in ("clip.mp4", "broken.mp4", "long.mp4")
    }
    rows["broken.mp4"].locator(".error").wait_for()
    assert (
        rows["broken.mp4"].locator(".error").inner_text().startswith("The file cannot be opened as a video")
    )
    rows["clip.mp4"].get_by_text("Looking for faces").wait_for()
    rows["long.mp4"].get_by_text("Waiting for its turn").wait_for()
    rows["long.mp4"].get_by_role("button", name="Cancel long.mp4").click()
    rows["long.mp4"].get_by_text("Cancelled").wait_for()
    rows["clip.mp4"].get_by_role("link", name="Report").wait_for()
    assert "Done, 0:02, 10 faces at samples" in rows["clip.mp4"].inner_text()

    video = rows["clip.mp4"].locator("video")
    played = video.evaluate(
        """async (video) => {
            video.muted = true;
            await video.play();
            await new Promise((ended) => { video.onended = ended; });
            return [video.videoWidth, video.videoHeight, video.duration, video.currentTime];
        }"""
    )
    assert played == pytest.approx([240, 240, 2.0, 2.0], abs=0.05)
    with page.expect_download() as download:
        rows["clip.mp4"].get_by_role("link", name="Tables (Parquet)").click()
    assert download.value.path().read_bytes()[:2] == b"PK"
    with page.context.expect_page() as opened:
        rows["clip.mp4"].get_by_role("link", name="Report").click()
    report = opened.value
    report.locator(".person .chart canvas").first.wait_for()
    assert "Tracks" in report.locator("dl.tiles").inner_text()
    if SCREENSHOTS:
        report.screenshot(path=f"{SCREENSHOTS}/report.png")
    report.close()
    looked_at(page, "video")
    # They are still there after coming back, even to a tab chosen before the page is ready, until removed.
    held = []
    page.route("**/api/choices", lambda route: held.append(route))
    page.reload()
    page.get_by_role("tab", name="Video").click()
    while not held:
        page.wait_for_timeout(10)
    held[0].continue_()
    page.get_by_role("button", name="Remove clip.mp4").click()
    page.get_by_text("clip.mp4").wait_for(state="detached")


def test_the_webcam(page, capsys):
    page.get_by_role("tab", name="Webcam").click()
    indicator = page.locator("#webcam-indicator")
    assert "Camera off" in indicator.inner_text()
    page.get_by_role("button", name="Start the webcam").click()
    page.locator("#webcam-faces li").first.wait_for()
    assert "go to this computer only and are not stored" in indicator.inner_text()
    deadline = time.monotonic() + 8
    figures = []
    while time.monotonic() < deadline:
        page.wait_for_timeout(500)
        told = page.locator("#webcam-speed").inner_text()
        told += page.locator("#webcam-speed").get_attribute("title") or ""
        figures.append([float(number) for number in re.findall(r"(\d+) (?:ms|frames a)", told)])
    latency, rate, most = np.median([row for row in figures if len(row) == 3], axis=0)
    with capsys.disabled():
        print(
            f"\nwebcam in Chromium: {latency:.0f} ms from frame to overlay, 95 % within {most:.0f} ms,",
            end=" ",
        )
        print(f"{rate:.0f} frames/s", end=" ")
        print(f"(load {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores)")
    assert rate > 0
    [card] = page.locator("#webcam-faces li").all()
    emotion = re.fullmatch(r"#0 (\w+) \d+ %", card.locator("h3").inner_text())[1]
    # The face's box is in the picture, and its emotions in the timeline.
    for canvas in ("webcam-view", "webcam-timeline"):
        pixels = page.evaluate(
            """([id, color]) => {
                const canvas = document.getElementById(id);
                const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
                let found = 0;
                for (let at = 0; at < pixels.length; at += 4) {
                    found += color.every((value, channel) => Math.abs(pixels[at + channel] - value) < 3);
                }
                return found;
            }""",
            [canvas, [int(COLORS[emotion][at : at + 2], 16) for at in (1, 3, 5)]],
        )
        assert pixels > 200
    looked_at(page, "webcam")
    # Leaving the tab ends it.
    page.get_by_role("tab", name="Picture").click()
    page.get_by_role("tab", name="Webcam").click()
    assert "Camera off" in indicator.inner_text()
    assert page.locator("#webcam-faces li").count() == 0


def test_a_refused_webcam_gets_a_sentence(page):
    page.context.clear_permissions()
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page.reload()
    page.get_by_role("tab", name="Webcam").click()
    page.get_by_role("button", name="Start the webcam").click()
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text().startswith("The browser did not allow the webcam")
    assert page.get_by_role("button", name="Start the webcam").is_visible()
