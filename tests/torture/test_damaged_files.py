"""Damaged videos by the thousand in one run: none of them ends it, and none is lost."""

import os
import time
from collections import Counter

import pytest

from schemas.tables import TABLES
from tests.helpers.commands import FAST, load, start
from tests.torture.mutations import MUTATIONS, write_damaged
from tests.torture.scale import scaled
from tests.torture.sources import write_sources

SEED = int(os.environ.get("AFFECTLINE_TORTURE_SEED", "0"))
FILES = scaled(2000)
# Seconds that a decoder may take, for one of our files, which decode in less than one.
LIMIT_S = 20


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    written = list(write_sources(tmp_path_factory.mktemp("sources")))
    assert len(written) > 40
    return written


def run(folder, out, tmp_path):
    """The command over everything in a folder: exit code, what it printed, seconds."""
    limits = ["--segment-timeout", LIMIT_S, "--wave-minutes", 1]
    started = time.monotonic()
    process = start("run", f"{folder}/*", "-o", out, *FAST, *limits, cwd=tmp_path)
    printed, errors = process.communicate(timeout=300 + 10 * FILES)
    return process.returncode, printed + errors, time.monotonic() - started


def assert_adds_up(out, names):
    """Every input has its row in `videos`, and every row counts what is in the other tables."""
    tables = {table: load(out, table) for table in TABLES}
    videos = tables["videos"].set_index("video_id")
    assert sorted(videos["uri"]) == sorted(names)
    assert videos.index.is_unique
    for table, column in (("samples", "samples"), ("timelines", "faces"), ("tracks", "tracks")):
        counted = tables[table].groupby("video_id").size().reindex(videos.index, fill_value=0)
        assert (counted == videos[column]).all(), table
    told = videos["status"] != "ok"
    assert videos.loc[told, "error"].str.endswith(".").all()
    assert videos.loc[~told, "error"].isna().all()
    return videos


def test_whole_files_of_every_kind_are_read(sources, tmp_path):
    """What is damaged below is sound, or the damage would prove nothing."""
    code, printed, _ = run(sources[0].parent, tmp_path / "out", tmp_path)
    assert code in (0, 3), printed
    videos = assert_adds_up(tmp_path / "out", [str(path) for path in sources])
    assert (videos["status"] == "ok").mean() > 0.9


def test_damaged_files_are_rows_whatever_is_wrong(sources, tmp_path, capsys):
    folder, out = tmp_path / "damaged", tmp_path / "out"
    folder.mkdir()
    kinds = write_damaged(sources, folder, FILES, SEED)
    code, printed, seconds = run(folder, out, tmp_path)
    assert code in (0, 3), printed
    videos = assert_adds_up(out, [str(path) for path in kinds])
    # Listing what a stopped decoder has not read may take as long again.
    assert videos["seconds"].max() < 2 * LIMIT_S + 10, videos.sort_values("seconds").iloc[-1]

    kind = videos["uri"].map({str(path): kind for path, kind in kinds.items()})
    outcomes = Counter(zip(kind, videos["status"], strict=True))
    statuses = sorted(videos["status"].unique())
    with capsys.disabled():
        print(f"\n{FILES} files from {len(sources)} sources, seed {SEED}, {seconds:.0f} s")
        print("| damage | " + " | ".join(statuses) + " |\n|---|" + "---:|" * len(statuses))
        for name in MUTATIONS:
            print(f"| {name} | " + " | ".join(str(outcomes[name, status]) for status in statuses) + " |")
        sentences = videos["error"].dropna().str.split(r"(?<=\.) ", regex=True).explode()
        for sentence, count in sentences.value_counts().head(25).items():
            print(f"{count:5} {sentence}")
        for uri in videos.loc[videos["error"].fillna("").str.contains("crashed|stopped|unforeseen"), "uri"]:
            print(f"look at {uri}")
