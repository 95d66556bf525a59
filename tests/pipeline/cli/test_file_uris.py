"""`file:` URIs, wherever a command takes a path."""

import pytest
from click.testing import CliRunner

from pipeline.cli.main import main


@pytest.mark.parametrize("command", ["compact", "report"])
@pytest.mark.parametrize("host", ["", "localhost"])
def test_a_file_uri_names_a_folder(command, host, tmp_path):
    (tmp_path / "a b").mkdir()
    result = CliRunner().invoke(main, [command, f"file://{host}{tmp_path}/a%20b"])
    assert result.exit_code == 2
    assert f"{tmp_path}/a b" in result.output
    assert "file:" not in result.output
