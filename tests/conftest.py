"""What many tests need."""

import fcntl
import os
from collections import Counter
from pathlib import Path

import apache_beam.io.filesystems as beam_filesystems
import pytest
from apache_beam.io.filesystem import FileMetadata, MatchResult
from hypothesis import HealthCheck, settings

from tests.helpers.needs import MARKING_FIXTURES, MARKING_FOLDERS, NEEDS
from tests.helpers.tiny_model import save_untrained_model

# A busy machine is no finding.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_collection_modifyitems(items):
    """Mark tests by their fixtures and folders, and skip those whose needs are not met here."""
    for item in items:
        marks = {*MARKING_FIXTURES} & {*item.fixturenames} | {*MARKING_FOLDERS} & {*item.path.parts}
        for name in marks:
            item.add_marker(name)
        for name, (is_here, reason) in NEEDS.items():
            if not is_here and item.get_closest_marker(name):
                item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter):
    """Say how many tests were skipped, for each reason."""
    skipped = terminalreporter.stats.get("skipped", [])
    reasons = Counter(report.longrepr[2].removeprefix("Skipped: ") for report in skipped)
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count} skipped: {reason}")


@pytest.fixture(scope="session")
def untrained_model(tmp_path_factory) -> Path:
    """A saved cnn48 with random weights, made once for all of the session's processes."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    model = folder / "untrained" / "untrained.keras"
    with open(folder / "untrained.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not model.exists():
            model.parent.mkdir()
            save_untrained_model(model)
    return model


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A stand-in for a remote file system: `mem://` paths kept below a folder."""

    def local(path):
        target = tmp_path / "remote" / path.removeprefix("mem://")
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    class Fake:
        _pipeline_options = object()

        @staticmethod
        def get_filesystem(path):
            return Fake

        @staticmethod
        def open(path, mime_type=None, compression_type=None):
            return open(local(path), "rb")

        @staticmethod
        def create(path, mime_type=None, compression_type=None):
            return open(local(path), "wb")

        @staticmethod
        def exists(path):
            return local(path).exists()

        @staticmethod
        def delete(paths):
            for path in paths:
                local(path).unlink()

        @staticmethod
        def rename(sources, targets):
            for source, target in zip(sources, targets, strict=True):
                os.replace(local(source), local(target))

        @staticmethod
        def join(base, *names):
            return "/".join([base, *names])

        @staticmethod
        def match(patterns):
            return [MatchResult(patterns[0], [FileMetadata("mem://x", 1)])]

    monkeypatch.setattr(beam_filesystems, "FileSystems", Fake)
    return local
