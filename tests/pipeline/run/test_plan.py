"""`affectline plan` says what a run would do, and writes nothing."""

import json

import pytest

from tests.helpers.clips import astronaut_clip
from tests.helpers.commands import FAST, affectline


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    astronaut_clip(folder / "good.mp4", seconds=4)
    (folder / "text.mp4").write_text("no video")
    return folder


def test_plan_counts_what_a_run_would_do(videos, untrained_model):
    before = sorted(videos.rglob("*"))
    result = affectline("plan", videos, *FAST, "--model", untrained_model, "--json")
    assert result.exit_code == 0, result.output
    plan = json.loads(result.output)
    assert (plan["videos"], plan["readable"], plan["samples"]) == (2, 1, 21)
    assert plan["hours"] == pytest.approx(4 / 3600)
    assert 0 < plan["seconds"] < 600
    assert 1e8 < plan["memory_bytes"] < 1e10
    assert 1e3 < plan["output_bytes"] < 1e6
    [(uri, [problem])] = plan["problems"].items()
    assert uri == str(videos / "text.mp4")
    assert problem.startswith("The file cannot be opened as a video")
    assert sorted(videos.rglob("*")) == before


def test_plan_for_people(videos, untrained_model):
    result = affectline("plan", videos, *FAST, "--model", untrained_model)
    assert result.output.splitlines()[0] == "videos   1 of 2 readable, 4.0 s of video"
    assert f"{videos / 'text.mp4'}: The file cannot be opened" in result.output
