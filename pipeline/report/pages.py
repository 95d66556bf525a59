"""From tables to a folder of pages that open from disk, without a network."""

import base64
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from pipeline.report.chart import chart_data
from pipeline.report.pictures import cut_faces, is_at_hand
from pipeline.report.summarize import (
    Moment,
    Person,
    Track,
    VideoSummary,
    VideoTables,
    find_moments,
    read_tracks,
    read_video,
    summarize,
)
from schemas import VERSION
from schemas.emotions import all_emotions, colors_of
from schemas.errors import UsageError
from schemas.settings import Settings
from transforms.remote import is_remote, join, require_file_system
from transforms.tables.rows import list_video_ids
from transforms.video.decoder import Decoder

_MOMENTS_PICTURED = 24  # of one video, the surest first: each means seeking in the file
_PEOPLE = 250  # with a chart each; a page of a crowd lists the others in a table
_PICTURE_BYTES = 800_000  # of faces on one page, the longest seen first

_STATIC = ("report.css", "report.js", "uPlot.iife.min.js", "uPlot.min.css", "uPlot.LICENSE.txt")
_SAFE_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_PAGE_NAME = re.compile(r"[a-z0-9][a-z0-9-]*-[0-9a-f]{10}\.html")
_PAGE_HEAD = '<link rel="stylesheet" href="../assets/uPlot.min.css">'

_STAGES = {
    "PlanSegments": "opening the file",
    "SampleFrames": "reading frames",
    "DetectFaces": "finding faces",
    "ClassifyEmotions": "naming emotions",
    "TrackFaces": "following faces",
}


@dataclass(frozen=True)
class PersonOnPage:
    """A person with the pictures that a page shows, as JPEG bytes."""

    person: Person
    thumbnail: bytes | None
    moments: Sequence[tuple[Moment, bytes | None]]


def check_tables(out: str) -> list[str]:
    """The ids of the videos in a folder of tables; UsageError when it is none."""
    require_file_system(out)
    folder = join(out, "videos")
    ids = list_video_ids(folder)
    if not ids and (is_remote(out) or not os.path.isdir(folder)):
        raise UsageError(f"{out} holds no tables; give the folder that `affectline run -o` wrote.")
    for video_id in ids:
        if not _SAFE_ID.fullmatch(video_id):
            raise UsageError(f"{out} holds a video with the id {video_id!r}, which no run writes.")
    return ids


def pages_folder(out: str, html: str | None) -> str:
    """Where the pages go: as asked for, or into the folder of tables; UsageError when that is far away."""
    if is_remote(html or out):
        raise UsageError("Pages are written on this machine; give a folder here with -o HTML_DIR.")
    return html or os.path.join(out, "report")


def write_report(out: str, html: str, ids: Iterable[str], crops: bool = True) -> str:
    """Write one page a video and an index over them into the folder `html`; the index's path.

    Args:
        out: the folder of tables.
        html: made where it does not exist; pages of the same names are replaced, and those that an earlier
            report left of videos that are no longer in the tables are removed.
        ids: of the videos, from `check_tables`.
        crops: whether pages show faces.
    """
    folder = Path(html)
    try:
        (folder / "pages").mkdir(parents=True, exist_ok=True)
        (folder / "assets").mkdir(exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{error.filename} is a file; give a folder to write the pages to.") from error
    _copy_assets(folder / "assets")
    templates = _templates()
    rows = []
    written = set()
    with Decoder() as decoder:
        for video_id in ids:
            written.add(f"{video_id}.html")
            tables = read_video(out, video_id)
            tracks = read_tracks(tables)
            summary = summarize(tables, tracks)
            page = _video_page(templates, decoder, tables, tracks, summary, crops)
            _write(folder / "pages" / f"{video_id}.html", page)
            rows.append(summary)
    for path in (folder / "pages").iterdir():
        if path.name not in written and _is_own_page(path):
            path.unlink()
    index = folder / "index.html"
    _write(index, _index_page(templates, rows))
    return str(index)


def _index_page(templates: jinja2.Environment, summaries: Sequence[VideoSummary]) -> str:
    emotions = all_emotions([*dict.fromkeys(name for summary in summaries for name in summary.share)])
    return templates.get_template("index.html").render(
        videos=summaries, totals=_totals(summaries), emotions=emotions, colors=colors_of(emotions)
    )


def _is_own_page(path: Path) -> bool:
    """Whether a file is a video's page that a report wrote: by its name, its head and its foot."""
    if not _PAGE_NAME.fullmatch(path.name) or not path.is_file():
        return False
    text = path.read_text(encoding="utf-8", errors="replace")
    return _PAGE_HEAD in text and "<footer>Made by affectline" in text


def _write(path: Path, text: str) -> None:
    temp = path.with_suffix(".tmp")
    temp.write_text(text, encoding="utf-8")
    temp.replace(path)


def _copy_assets(folder: Path) -> None:
    static = resources.files("pipeline.report") / "static"
    for name in _STATIC:
        with resources.as_file(static / name) as source:
            shutil.copyfile(source, folder / name)


def _video_page(
    templates: jinja2.Environment,
    decoder: Decoder,
    tables: VideoTables,
    tracks: Sequence[Track],
    summary: VideoSummary,
    crops: bool,
) -> str:
    # In order of appearance, but a crowd's passers-by do not crowd out those who stay.
    longest = sorted(summary.people, key=lambda person: (-person.samples, person.track_id))
    charted = {person.track_id for person in longest[:_PEOPLE]}
    pictures = _pictures(decoder, tables, tracks, longest[:_PEOPLE], summary) if crops else {}
    people = [
        PersonOnPage(
            person,
            pictures.get((person.track_id, -1)),
            [(moment, pictures.get((person.track_id, at))) for at, moment in enumerate(person.moments)],
        )
        for person in summary.people
        if person.track_id in charted
    ]
    return templates.get_template("video.html").render(
        summary=summary,
        video=summary.video,
        people=people,
        made=_made(summary.video),
        others=[person for person in summary.people if person.track_id not in charted],
        emotions=tables.emotions,
        colors=colors_of(tables.emotions),
        data=chart_data(summary, tables.emotions, [track for track in tracks if track.track_id in charted]),
    )


def _totals(summaries: Sequence[VideoSummary]) -> dict[str, Any]:
    videos = [summary.video for summary in summaries]
    return {
        "duration_s": sum(video["duration_s"] or 0 for video in videos),
        "faces": sum(video["faces"] for video in videos),
        "tracks": sum(video["tracks"] for video in videos),
        "problems": sum(video["status"] != "ok" for video in videos),
    }


def _made(video: dict[str, Any]) -> list[tuple[str, Any]]:
    """The page's last section: what was read, with what, under which settings."""
    settings = Settings.from_json(video["config_json"])
    frames = "variable" if video["is_vfr"] else "constant"
    size = f"{video['width']} × {video['height']}" if video["width"] else "–"
    turned = f", turned by {video['rotation']}°" if video["rotation"] else ""
    window = f", window {settings.window_s:g} s" if settings.window_s else ""
    return [
        ("Picture", f"{size}{turned}"),
        ("Codec", video["codec"] or "–"),
        ("Frames", f"{video['frames_read']}, at a {frames} rate" if video["frames_read"] else "–"),
        ("Samples a second", "every frame" if settings.fps == "0" else settings.fps),
        ("Model", video["model"]),
        ("Model SHA-256", video["model_sha256"]),
        ("Emotions known", ", ".join(settings.classes)),
        ("Detector", video["detector"]),
        ("Smallest face", f"{settings.min_face:g} of the shorter side"),
        ("Smoothing", f"{settings.smoothing}{window}"),
        ("Versions", f"affectline {video['code_version']}, tables {video['schema_version']}"),
        ("Settings", video["config_hash"]),
        ("Processed", f"{video['processed_at']:%Y-%m-%d %H:%M} UTC, {video['seconds']:.1f} s"),
    ]


def _pictures(
    decoder: Decoder,
    tables: VideoTables,
    tracks: Sequence[Track],
    people: Sequence[Person],
    summary: VideoSummary,
) -> dict[tuple[int, int], bytes]:
    """JPEGs by person and number of the moment; -1 for the person's own."""
    stored = dict(
        zip(tables.tracks["track_id"].to_pylist(), tables.tracks["thumbnail"].to_pylist(), strict=True)
    )
    found: dict[tuple[int, int], bytes] = {}
    left = _PICTURE_BYTES
    for person in people:
        picture = stored[person.track_id]
        if picture and len(picture) <= left:
            found[person.track_id, -1] = picture
            left -= len(picture)
    # A run that stored no faces shows none either.
    if found and is_at_hand(summary.video["uri"], summary.video["fingerprint"]):
        wanted = [
            (track.smoothed[row].max(), (track.track_id, at), track.pts_us[row], track.boxes[row])
            for track in tracks
            if (track.track_id, -1) in found
            for at, row in enumerate(find_moments(track))
        ]
        wanted = sorted(wanted, key=lambda moment: -moment[0])[:_MOMENTS_PICTURED]
        places = [(int(pts_us), box) for _, _, pts_us, box in wanted]
        cut = cut_faces(decoder, summary.video["uri"], places)
        found |= {key: picture for (_, key, _, _), picture in zip(wanted, cut, strict=True) if picture}
    return found


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": False}
    environment.globals |= {"version": VERSION, "stages": _STAGES}
    environment.filters |= {
        "clock": clock,
        "percent": percent,
        "file_name": lambda uri: re.split(r"[/\\]", uri)[-1] or uri,
        "folder": lambda uri: re.sub(r"[^/\\\\]*$", "", uri),
        "data_uri": lambda jpeg: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
        "segments": segments,
    }
    return environment


def clock(seconds: float | None, digits: int = 0) -> str:
    """A time as 1:02:03 or 2:03, with so many digits of a second."""
    if seconds is None:
        return "–"
    units = round(seconds * 10**digits)
    whole, part = divmod(units, 10**digits)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
    return f"{text}.{part:0{digits}d}" if digits else text


def percent(share: float | None, digits: int = 0) -> str:
    """A share as 12 %, – when there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f} %"


def segments(share: dict[str, float | None], width: float, emotions: Sequence[str]) -> list[dict[str, Any]]:
    """Where each emotion's part of a bar of `width` begins and how wide it is; empty parts are left out."""
    parts = []
    left = 0.0
    for number, emotion in enumerate(emotions):
        part = width * (share.get(emotion) or 0.0)
        if part >= 0.05:
            parts.append({"number": number, "x": round(left, 1), "width": round(part, 1)})
        left += part
    return parts
