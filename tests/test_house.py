"""What the house asks of every file."""

import ast
import subprocess

from tests.helpers.needs import ROOT

LONG = 405  # lines


def test_a_long_file_says_why_at_its_top():
    files = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    for name in files.stdout.split():
        text = (ROOT / name).read_text(encoding="utf-8")
        if text.count("\n") > LONG:
            assert "long" in (ast.get_docstring(ast.parse(text)) or "").lower(), name
