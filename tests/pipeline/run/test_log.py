"""The log of a run: one record a line, whatever the disk does; where chatter goes; what children inherit."""

import json
import logging
import os
import subprocess
import sys
import tempfile

import pytest

from pipeline.run import stderr
from pipeline.run.local import worker_environment
from pipeline.run.log import RunLog
from pipeline.run.stderr import redirect_stderr
from transforms.steps.progress import EVENTS_FILE, Events, advance


def written(tmp_path, as_json, **fields):
    path = tmp_path / "log"
    with path.open("ab", buffering=0) as file:
        RunLog(file, as_json).tell("video", **fields)
    return path.read_text()


def test_a_record_for_people_is_one_line(tmp_path):
    line = written(tmp_path, False, uri="/a b/ü\n.mp4", faces=3, error=None, classes=["sad"])
    when, event, rest = line.split(maxsplit=2)
    assert (when[10], when[-1], event) == ("T", "Z", "video")
    assert rest == 'uri="/a b/ü\\n.mp4" faces=3 classes=["sad"]\n'


def test_a_record_for_machines_is_one_object(tmp_path):
    record = json.loads(written(tmp_path, True, uri="/a b/\udcff.mp4", faces=3, error=None))
    assert record.pop("time").endswith("Z")
    assert record == {"event": "video", "uri": "/a b/\udcff.mp4", "faces": 3}


def test_names_that_are_not_utf8_can_be_logged(tmp_path):
    assert written(tmp_path, False, uri="/\udcff.mp4").endswith('uri="/\\udcff.mp4"\n')


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_costs_records_and_not_the_run(monkeypatch):
    with open("/dev/full", "ab", buffering=0) as file:
        RunLog(file, False).tell("wave", number=1)
    monkeypatch.setenv(EVENTS_FILE, "/dev/full")
    advance(1.0, 2, 3)


def test_events_are_read_on_from_where_reading_ended(tmp_path, monkeypatch):
    path = tmp_path / "events"
    events = Events(str(path))
    events.look()
    assert events.seconds == 0
    monkeypatch.setenv(EVENTS_FILE, str(path))
    advance(1.5, 8, 3)
    events.look()
    with path.open("a") as file:
        file.write("2.0 4 ")
    events.look()
    assert (events.seconds, events.samples, events.faces) == (1.5, 8, 3)
    with path.open("a") as file:
        file.write("1\n")
    events.look()
    assert (events.seconds, events.samples, events.faces) == (3.5, 12, 4)


def test_chatter_is_kept_apart_and_its_oldest_part_goes(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(stderr, "CHATTER_BYTES", 1000)
    monkeypatch.setattr(stderr, "_LOOK_S", 0.02)
    path = tmp_path / "chatter"
    with redirect_stderr(str(path)) as terminal:
        os.write(2, b"first\n" + b"x" * 1500 + b"\n")
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.2)"], check=True)
        logging.getLogger("library").warning("a warning")
        subprocess.run([sys.executable, "-c", "import sys; sys.stderr.write('from a child')"], check=True)
        print("for the user", file=terminal)
    text = path.read_text()
    assert len(text) < 1000
    assert "first" not in text
    assert text.endswith("x\na warning\nfrom a child")
    assert capfd.readouterr().err == "for the user\n"


def test_what_children_inherit_is_gone_afterwards(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    before = dict(os.environ)
    mine = tempfile.gettempdir()
    with worker_environment(2):
        assert os.environ["OMP_NUM_THREADS"] == "7"
        assert os.environ["TF_NUM_INTRAOP_THREADS"] == "1"
        folder = os.environ["TMPDIR"]
        assert os.path.isdir(folder)
        assert tempfile.gettempdir() == mine
    assert dict(os.environ) == before
    assert not os.path.exists(folder)
