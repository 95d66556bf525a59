"""Whether there is a GPU."""

import subprocess
import sys

import pytest
import tensorflow as tf

import models.gpu
from models.gpu import has_gpu


@pytest.mark.parametrize("devices", [[], ["GPU:0"]])
def test_where_a_driver_is_there_tensorflow_decides(tmp_path, monkeypatch, devices):
    monkeypatch.setattr(models.gpu, "_DRIVERS", (tmp_path / "none", tmp_path))
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: devices)
    assert has_gpu() == bool(devices)


def test_without_a_driver_tensorflow_is_not_asked(tmp_path):
    program = (
        "import sys; from pathlib import Path; import models.gpu; "
        f"models.gpu._DRIVERS = (Path({str(tmp_path / 'none')!r}),); "
        "sys.exit(models.gpu.has_gpu() or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
