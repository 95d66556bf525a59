"""The pages of `affectline report` in a real browser: what is shown, clicked, zoomed and searched."""

import re

import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect, sync_playwright

from pipeline.report.pages import check_tables, clock, percent, write_report
from schemas.emotions import EMOTIONS
from tests.helpers import synthetic
from tests.helpers.chromium import ARGUMENTS, CHROMIUM


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Tables, the folder of pages, and the ids of the four videos."""
    out = tmp_path_factory.mktemp("corpus")
    talk, evil, nobody, broken = synthetic.write_corpus(out)
    write_report(str(out), str(out / "report"), check_tables(str(out)))
    return out, out / "report", {"talk": talk, "evil": evil, "nobody": nobody, "broken": broken}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that may say nothing on the console, raise nothing, and ask the network for nothing."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on(
        "request",
        lambda request: None if re.match("file:|data:", request.url) else complaints.append(request.url),
    )
    yield page
    page.close()
    assert complaints == []


def open_page(page, report, name=None):
    _, html, ids = report
    page.goto((html / "pages" / f"{ids[name]}.html" if name else html / "index.html").as_uri())


def names(page):
    return page.locator("#videos tbody tr:visible a").all_inner_texts()


def test_the_index_shows_the_tables(page, report):
    open_page(page, report)
    videos = pd.read_parquet(report[0] / "videos").sort_values("uri")
    cells = {
        row.locator("a").inner_text(): row.locator("td").all_inner_texts()
        for row in page.locator("#videos tbody tr").all()
    }
    assert set(cells) == {uri.rpartition("/")[2] for uri in videos["uri"]}
    for row in videos.itertuples():
        length, faces, people, _, _, problem = cells[row.uri.rpartition("/")[2]]
        seconds = None if pd.isna(row.duration_s) else row.duration_s
        assert (length, faces, people) == (clock(seconds), str(row.faces), str(row.tracks))
        assert (row.status in problem) == (row.status != "ok")
        # Spaces run together on a page.
        assert row.error is None or pd.isna(row.error) or " ".join(row.error.split()) in problem


def test_the_index_sorts_and_searches(page, report):
    open_page(page, report)
    talk, evil, nobody, broken = "talk.mp4", synthetic.EVIL_NAME, "nobody.mkv", "broken.avi"
    assert names(page) == [evil, broken, nobody, talk]
    length = page.get_by_role("button", name="Length")
    length.click()
    assert names(page) == [talk, evil, nobody, broken]
    length.click()
    assert names(page) == [broken, nobody, evil, talk]
    assert page.get_by_role("columnheader", name="Length").get_attribute("aria-sort") == "ascending"
    shares = {}
    for name in ("talk", "evil"):
        faces = pd.read_parquet(report[0] / "timelines").query(f"video_id == '{report[2][name]}'")
        shares[name] = faces["emotion"].value_counts(normalize=True)
    for emotion in ("sad", "happy"):
        page.get_by_role("button", name=emotion, exact=True).click()
        first = talk if shares["talk"].get(emotion, 0) > shares["evil"].get(emotion, 0) else evil
        assert names(page)[0] == first
    search = page.get_by_label("Search")
    for text, found in [("TALK", [talk]), ("img onerror", [evil]), ("failed", [broken]), ("absent", [])]:
        search.fill(text)
        assert names(page) == found
        assert page.locator("#found").inner_text() == f"{len(found)} of 4"
    search.fill("")
    assert len(names(page)) == 4


def test_evil_names_and_errors_are_text(page, report):
    open_page(page, report)
    page.get_by_role("link", name=synthetic.EVIL_NAME).click()
    assert page.locator("h1").inner_text().startswith(synthetic.EVIL_NAME)
    assert page.title() == synthetic.EVIL_NAME
    assert synthetic.EVIL_ERROR.strip() in page.locator(".error").inner_text()
    assert page.locator("img[onerror]").count() == 0
    page.get_by_role("link", name="All videos").click()
    assert page.locator("h1").inner_text() == "Emotion timelines"


def test_a_page_shows_the_tables(page, report):
    open_page(page, report, "talk")
    out, _, ids = report
    tracks = pd.read_parquet(out / "tracks").query(f"video_id == '{ids['talk']}'")
    people = page.locator(".person").all()
    assert len(people) == len(tracks) == 3
    for shown, row in zip(people, tracks.sort_values("track_id").to_dict("records"), strict=True):
        text = shown.locator(".who").inner_text()
        assert f"mostly {row['emotion']}, {row['transitions']} change" in text
        assert f"{clock(row['start_s'], 1)} to {clock(row['end_s'], 1)}" in text
        numbers = shown.locator(".shares td.number").all_inner_texts()
        assert numbers == [percent(row["share_" + emotion], 1) for emotion in EMOTIONS]
        assert shown.locator(".who img").evaluate("picture => picture.naturalWidth") > 0


def test_charts_zoom_and_read_out_what_is_stored(page, report):
    open_page(page, report, "talk")
    out, _, ids = report
    faces = pd.read_parquet(out / "timelines").query(f"video_id == '{ids['talk']}' and track_id == 1")
    view = page.locator("#view")
    assert view.inner_text() == "0:00.0 to 1:00.0"
    chart = page.locator(".person .chart").nth(1)
    chart.scroll_into_view_if_needed()
    chart.locator("canvas").wait_for()

    def check_values(raw):
        text = chart.locator("xpath=following-sibling::p").inner_text()
        minutes, seconds = re.match(r"(\d+):([\d.]+)", text).groups()
        time_s = 60 * int(minutes) + float(seconds)
        [row] = faces[(faces["time_s"] - time_s).abs() < 0.001].to_dict("records")
        for emotion in EMOTIONS:
            shown, shown_raw = re.search(rf"{emotion} ([\d.]+) %(?: \(raw ([\d.]+) %\))?", text).groups()
            assert float(shown) == pytest.approx(100 * row[emotion], abs=0.0501)
            assert (shown_raw is not None) == raw
            if raw:
                assert float(shown_raw) == pytest.approx(100 * row["raw_" + emotion], abs=0.0501)
        return time_s

    # Keys: sample by sample, closer, back.
    chart.focus()
    page.keyboard.press("ArrowRight")
    first = check_values(raw=False)
    page.keyboard.press("ArrowRight")
    assert check_values(raw=False) == pytest.approx(first + 0.2)
    page.keyboard.press("+")
    assert view.inner_text() == "0:15.0 to 0:45.0"
    page.keyboard.press("Shift+ArrowRight")
    assert view.inner_text() == "0:22.5 to 0:52.5"
    page.keyboard.press("0")
    assert view.inner_text() == "0:00.0 to 1:00.0"

    # Mouse: read out, drag to zoom all charts, double click to go back.
    page.get_by_role("button", name="Raw values").click()
    plot = chart.locator(".u-over").bounding_box()
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(plot["x"] + plot["width"] / 3, middle)
    assert check_values(raw=True) == pytest.approx(20, abs=0.3)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * 2 / 3, middle, steps=4)
    page.mouse.up()
    page.wait_for_function("document.getElementById('view').textContent.startsWith('0:2')")
    start, end = re.findall(r"0:([\d.]+)", view.inner_text())
    assert (float(start), float(end)) == (pytest.approx(20, abs=0.2), pytest.approx(40, abs=0.2))
    page.mouse.dblclick(plot["x"] + plot["width"] / 2, middle)
    page.wait_for_function("document.getElementById('view').textContent === '0:00.0 to 1:00.0'")

    # A moment is shown with its own value.
    moment = page.locator(".person").nth(1).locator(".moments button").first
    emotion, probability, time = re.match(r"(\w+) (\d+) %\n(\d:[\d.]+)", moment.inner_text()).groups()
    moment.click()
    values = chart.locator("xpath=following-sibling::p")
    assert values.inner_text().startswith(time)
    shown = re.search(rf"{emotion} ([\d.]+) %", values.inner_text())[1]
    assert round(float(shown)) == pytest.approx(int(probability), abs=1)


def test_lines_can_be_hidden(page, report):
    open_page(page, report, "talk")
    chart = page.locator(".person .chart").first
    chart.scroll_into_view_if_needed()
    chart.focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("button", name="neutral").click()
    page.keyboard.press("Tab")
    chart.focus()
    page.keyboard.press("ArrowRight")
    text = chart.locator("xpath=following-sibling::p").inner_text()
    assert "happy" in text
    assert "neutral" not in text


@pytest.mark.parametrize("name", ["nobody", "broken"])
def test_pages_without_people_say_so(page, report, name):
    open_page(page, report, name)
    assert page.locator(".person").count() == 0
    assert page.locator("#overview canvas").count() == (name == "nobody")


def test_it_prints_and_fits_a_phone(page, report):
    open_page(page, report, "talk")
    assert page.pdf().startswith(b"%PDF")
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    for name in (None, "talk", "evil"):
        open_page(page, report, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_model_of_two_classes_has_two_lines(page, tmp_path, monkeypatch):
    def happy_or_sad(rng, count):
        found = np.full((count, len(EMOTIONS)), np.nan, np.float32)
        happy = rng.uniform(0.05, 0.95, count)
        found[:, EMOTIONS.index("happy")], found[:, EMOTIONS.index("sad")] = happy, 1 - happy
        return found

    monkeypatch.setattr(synthetic, "probabilities", happy_or_sad)
    [video_id] = synthetic.write(tmp_path, [synthetic.timeline("/v/duo.mp4", 12, [(2, 11)], seed=5)])
    faces = pd.read_parquet(tmp_path / "timelines")
    write_report(str(tmp_path), str(tmp_path / "html"), [video_id])
    page.goto((tmp_path / "html" / "index.html").as_uri())
    page.get_by_role("button", name="angry", exact=True).click()  # sorts, though no video knows it
    page.get_by_role("link", name="duo.mp4").click()
    expect(page.locator("[data-line]")).to_have_text(["happy", "sad"])  # waits for the page to be drawn
    expect(page.locator(".person .shares th")).to_have_text(["happy", "sad"])
    chart = page.locator(".person .chart").first
    chart.scroll_into_view_if_needed()
    chart.locator("canvas").wait_for()
    page.get_by_role("button", name="Raw values").click()
    chart.focus()
    values = chart.locator("xpath=following-sibling::p")
    for row in faces.sort_values("pts_us").head(2).itertuples():
        page.keyboard.press("ArrowRight")
        text = values.inner_text()
        assert text.startswith(clock(row.time_s, 2))
        shown = re.findall(r"([a-z]+) ([\d.]+) % \(raw ([\d.]+) %\)", text)
        assert [name for name, _, _ in shown] == ["happy", "sad"]
        numbers = [float(number) / 100 for _, *pair in shown for number in pair]
        assert numbers == pytest.approx([row.happy, row.raw_happy, row.sad, row.raw_sad], abs=0.00051)
