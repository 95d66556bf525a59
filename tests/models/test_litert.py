"""Networks in LiteRT."""

import numpy as np
import pytest

from models.detectors.mtcnn import load_litert
from models.thread_pool import CORES_VARIABLE


def test_interpreters_are_kept_for_the_shapes_used_last(monkeypatch):
    monkeypatch.setenv(CORES_VARIABLE, "1")
    network = load_litert("pnet")
    made = []
    make = network._make
    monkeypatch.setattr(network, "_make", lambda shape: made.append(shape) or make(shape))
    a, b, c = ((1, side, side, 3) for side in (24, 32, 40))
    for shape in (a, b, a, b, c, b, c, a):
        assert network(np.zeros(shape, np.uint8)).shape == (1, shape[1] // 2 - 5, shape[1] // 2 - 5, 5)
    assert made == [a, b, c, a]


def test_an_input_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="type"):
        load_litert("pnet")(np.zeros((1, 24, 24, 3), np.float32))
