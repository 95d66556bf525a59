"""docs/benchmarks.md."""

import re

from tests.helpers.needs import ROOT


def test_every_benchmark_is_on_the_page():
    page = (ROOT / "docs/benchmarks.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(named) == sorted(path.stem for path in (ROOT / "benchmarks").glob("[a-z]*.py"))
