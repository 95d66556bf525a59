"""docs/reference.md."""

import re

import affectline
import affectline.beam
from tests.helpers.needs import ROOT


def test_every_public_name_is_on_the_page():
    page = (ROOT / "docs/reference.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: (affectline\.\S+)$", page, re.MULTILINE))
    public = {f"affectline.{name}" for name in affectline.__all__} - {"affectline.__version__"}
    assert named == public | {f"affectline.beam.{name}" for name in affectline.beam.__all__}
