"""Smoothing: exact small cases, times that are uneven, and nothing that leaks or depends on the rate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.timelines.smoothing import SMOOTHING_METHODS, smooth

METHODS = tuple(SMOOTHING_METHODS)


def seconds(*times: float) -> np.ndarray:
    return np.rint(np.array(times) * 1e6).astype(np.int64)


def sure(labels: list[int], classes: int = 7, p: float = 0.7) -> np.ndarray:
    """Rows that give `p` to the label and share the rest."""
    rows = np.full((len(labels), classes), (1 - p) / (classes - 1), np.float32)
    rows[np.arange(len(labels)), labels] = p
    return rows


@st.composite
def tracks(draw):
    n = draw(st.integers(1, 40))
    classes = draw(st.integers(2, 8))
    steps = draw(st.lists(st.integers(1, 20_000_000), min_size=n, max_size=n))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    rows = rng.dirichlet(np.full(classes, 0.2), n)
    return np.cumsum(steps).astype(np.int64), rows.astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=40)
@given(track=tracks())
def test_rows_are_probabilities(method, track):
    time_us, rows = track
    smoothed = smooth(method, time_us, rows)
    assert smoothed.shape == rows.shape
    assert smoothed.dtype == np.float32
    assert np.isfinite(smoothed).all()
    assert (smoothed >= 0).all()
    np.testing.assert_allclose(smoothed.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_a_start_other_than_zero_changes_nothing(method):
    time_us = seconds(0, 0.2, 0.5, 0.6, 2.0, 2.2)
    rows = sure([0, 1, 0, 0, 3, 3])
    np.testing.assert_array_equal(
        smooth(method, time_us, rows), smooth(method, time_us + 36_000_000_000, rows)
    )


@pytest.mark.parametrize("method", METHODS)
def test_one_sample_stays_as_it_is(method):
    rows = sure([4])
    np.testing.assert_array_equal(smooth(method, seconds(3), rows), rows)


@pytest.mark.parametrize("method", ["hmm", "ema", "median", "mode"])
def test_a_lone_outlier_goes_and_a_lasting_change_stays(method):
    labels = [3] * 20 + [0] + [3] * 20 + [6] * 20
    time_us = np.arange(len(labels)) * 200_000
    shown = smooth(method, time_us, sure(labels)).argmax(axis=1)
    assert (shown[:38] == 3).all()
    assert (shown[-15:] == 6).all()
    assert (np.diff(shown) != 0).sum() == 1


@pytest.mark.parametrize("method", ["hmm", "ema", "median", "mode"])
def test_what_is_long_ago_has_no_say(method):
    """After an hour's gap a track starts afresh, and before the gap nothing is known of what follows."""
    time_us = seconds(0, 0.2, 0.4, 3600, 3600.2, 3600.4)
    rows = np.random.default_rng(0).dirichlet(np.ones(7), 6).astype(np.float32)
    parts = [smooth(method, time_us[:3], rows[:3]), smooth(method, time_us[3:], rows[3:])]
    np.testing.assert_allclose(smooth(method, time_us, rows), np.concatenate(parts), atol=1e-6)


def brute_force_hmm(time_us: np.ndarray, rows: np.ndarray, window_s: float) -> np.ndarray:
    """Posteriors summed over every path of states. Samples must be 0.4 s or more apart."""
    n, classes = rows.shape
    total = np.zeros((n, classes))
    for path in np.ndindex(*(classes,) * n):
        weight = 1.0 / classes * rows[0, path[0]]
        for k in range(1, n):
            stay = np.exp(-(time_us[k] - time_us[k - 1]) / 1e6 / window_s)
            moved = stay * (path[k] == path[k - 1]) + (1 - stay) / classes
            weight *= moved * rows[k, path[k]]
        for k in range(n):
            total[k, path[k]] += weight
    return total / total.sum(axis=1, keepdims=True)


def test_hmm_is_four_parts_the_sum_over_all_paths_and_one_part_the_average():
    time_us = seconds(0, 0.4, 1.0, 1.5, 4.5, 4.9)
    rows = np.random.default_rng(1).dirichlet(np.ones(3), 6).astype(np.float32)
    expected = 0.8 * brute_force_hmm(time_us, rows, 2.0) + 0.2 * smooth("ema", time_us, rows)
    np.testing.assert_allclose(smooth("hmm", time_us, rows, 2.0), expected, atol=1e-6)


def test_hmm_takes_the_prior_out_before_it_smooths_and_the_others_leave_it():
    time_us = seconds(0, 0.4, 1.0, 1.5, 4.5, 4.9)
    even = np.random.default_rng(1).dirichlet(np.ones(3), 6)
    prior = (0.6, 0.3, 0.1)
    assumed = even * prior / (even * prior).sum(axis=1, keepdims=True)
    for rows in (slice(0, 6), slice(0, 1)):
        smoothed = smooth("hmm", time_us[rows], assumed[rows].astype(np.float32), prior=prior)
        np.testing.assert_allclose(smoothed, smooth("hmm", time_us[rows], even[rows]), atol=1e-6)
    for method in ("ema", "median", "mode", "none"):
        kept = smooth(method, time_us, assumed, prior=prior)
        np.testing.assert_array_equal(kept, smooth(method, time_us, assumed))


def test_hmm_does_not_believe_the_same_look_twice():
    """Ten times the samples of the same second say about the same, not ten times as surely."""
    labels = [3] * 10 + [0] * 4 + [3] * 10
    few = smooth("hmm", np.arange(24) * 200_000, sure(labels))
    many = smooth("hmm", np.arange(240) * 20_000, sure(np.repeat(labels, 10).tolist()))
    np.testing.assert_allclose(many[5::10][2:-2], few[2:-2], atol=0.06)


@pytest.mark.parametrize("method", ["hmm", "ema"])
def test_certainties_that_contradict_each_other_are_survived(method):
    """One-hot rows, very many of them, with hardly any time between: no NaN, no underflow."""
    labels = np.random.default_rng(0).integers(0, 2, 5000).tolist()
    for step in (1, 200_000, 10**10):
        smoothed = smooth(method, np.arange(5000) * step, sure(labels, 2, 1.0))
        assert np.isfinite(smoothed).all()
        np.testing.assert_allclose(smoothed.sum(axis=1), 1, atol=1e-5)


def test_ema_weighs_by_time():
    rows = sure([0, 1, 2], 3, 1.0)
    smoothed = smooth("ema", seconds(0, 1, 3), rows, 1.0)
    weights = np.exp(-np.abs(np.subtract.outer([0, 1, 3], [0, 1, 3])))
    np.testing.assert_allclose(smoothed, weights / weights.sum(axis=1, keepdims=True), atol=1e-6)


def test_median_looks_half_a_window_each_way():
    rows = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.0, 1.0]], np.float32)
    smoothed = smooth("median", seconds(0, 1, 2, 9), rows, 2.0)
    np.testing.assert_allclose(smoothed[:, 0], [0.55, 0.4, 0.3, 0.0], atol=1e-6)


def test_median_with_no_middle_keeps_the_sample():
    rows = sure([0, 1, 2], 3, 1.0)
    np.testing.assert_array_equal(smooth("median", seconds(0, 0.1, 0.2), rows, 1.0), rows)


def test_mode_counts_the_latest_predictions():
    """Ten samples at 5/s are 2 s; the eleventh is forgotten. A tie goes to the more probable."""
    labels = [0] * 6 + [1] * 10
    smoothed = smooth("mode", np.arange(16) * 200_000, sure(labels), 2.0)
    np.testing.assert_allclose(smoothed[9, :2], [0.6, 0.4], atol=1e-5)
    assert smoothed.argmax(axis=1).tolist() == [0] * 11 + [1] * 5
    np.testing.assert_allclose(smoothed[-1, 1], 1, atol=1e-5)
    tie = np.array([[0.6, 0.4], [0.1, 0.9]], np.float32)
    assert smooth("mode", seconds(0, 0.1), tie).argmax(axis=1).tolist() == [0, 1]


def test_none_returns_the_same_probabilities():
    rows = sure([0, 1, 2])
    np.testing.assert_array_equal(smooth("none", seconds(0, 1, 2), rows), rows)


def test_an_empty_track():
    empty = np.empty((0, 7), np.float32)
    for method in METHODS:
        assert smooth(method, np.empty(0, np.int64), empty).shape == (0, 7)


def test_errors_say_what_to_do():
    rows = sure([0, 1])
    with pytest.raises(ValueError, match=r"'mean' is not a way to smooth; choose one of hmm, ema"):
        smooth("mean", seconds(0, 1), rows)
    for window in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="must be above 0"):
            smooth("hmm", seconds(0, 1), rows, window)
    with pytest.raises(ValueError, match="in the order of their times"):
        smooth("hmm", seconds(1, 0), rows)
    with pytest.raises(ValueError, match="one time for each row"):
        smooth("hmm", seconds(0), rows)
