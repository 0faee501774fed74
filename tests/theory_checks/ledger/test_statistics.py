import math

import numpy as np
import pytest

from theory_checks.ledger.statistics import Interval, mean_interval


def test_the_interval_is_students():
    # n = 4, mean 2.5, standard deviation sqrt(5/3); the 97.5 % quantile of t with 3 degrees of freedom is 3.182446.
    interval = mean_interval(np.array([1.0, 2.0, 3.0, 4.0]))
    half = 3.182446305284263 * math.sqrt(5 / 3) / 2
    assert interval.value == 2.5
    assert interval.low == pytest.approx(2.5 - half, rel=1e-12)
    assert interval.high == pytest.approx(2.5 + half, rel=1e-12)


def test_several_comparisons_share_the_error():
    samples = np.random.default_rng(0).normal(size=20)
    assert mean_interval(samples, level=0.9, comparisons=5) == pytest.approx(mean_interval(samples, level=0.98))


def test_intervals_cover_the_mean_as_often_as_they_say():
    rng = np.random.default_rng(1)
    runs = 2000
    hits = sum(i.low <= 3 <= i.high for i in (mean_interval(rng.normal(3, 2, 7), level=0.8) for _ in range(runs)))
    assert abs(hits / runs - 0.8) < 4 * math.sqrt(0.8 * 0.2 / runs)  # four standard errors of a share


def test_samples_without_spread_have_no_width():
    assert mean_interval(np.full(3, 2.0)) == (2.0, 2.0, 2.0)


def test_a_nan_among_the_samples_shows():
    assert all(math.isnan(end) for end in mean_interval(np.array([1.0, math.nan, 2.0])))
    assert not mean_interval(np.array([0.0, math.nan])).inside(1.0)


@pytest.mark.parametrize(
    ("interval", "inside"),
    [((0, -0.9, 0.9), True), ((0, -1.0, 0.5), False), ((0.5, 0, 1.0), False), ((2, 1.5, 2.5), False)],
)
def test_equivalence_needs_the_whole_interval_within_the_margin(interval, inside):
    assert Interval(*interval).inside(1.0) is inside


@pytest.mark.parametrize(
    ("samples", "options", "message"),
    [
        ([1.0], {}, r"samples must have shape \(n,\)"),
        ([[1.0, 2.0]], {}, r"samples must have shape \(n,\)"),
        ([1.0, 2.0], {"level": 1.0}, "level must lie in"),
        ([1.0, 2.0], {"comparisons": 0}, "comparisons must be at least 1"),
    ],
)
def test_what_has_no_interval_is_refused(samples, options, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(np.array(samples), **options)
