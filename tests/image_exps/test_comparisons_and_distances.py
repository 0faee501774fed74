"""Tests, corrections and distances against cases that are known."""

import numpy as np
import pytest
import torch
from scipy import stats

from image_exps.comparisons import compare, holm, power
from image_exps.frechet import FrechetDistance
from toy import GaussianMixture


def normal(mean, covariance):
    return GaussianMixture(torch.ones(1), *(torch.tensor([t], dtype=torch.float64) for t in (mean, covariance)))


def test_holm_on_his_own_kind_of_example():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_students_test_is_that_of_scipy_and_signs_agree_with_it():
    x = np.random.default_rng(1).normal(0.2, 1, 80)
    found = compare(x, np.random.default_rng(0))
    expected = stats.ttest_1samp(x, 0, alternative="greater")
    assert found.student == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.mean / found.error == pytest.approx(expected.statistic, rel=1e-12)
    # A share of 4999 draws has the standard deviation sqrt(p/5000); the t-test differs from it by O(1/n).
    assert abs(found.flips - found.student) < 4 * (found.student / 5000) ** 0.5 + found.student / 10


def test_both_tests_err_as_often_as_they_say():
    rng = np.random.default_rng(2)
    found = [compare(rng.standard_t(5, 30), rng) for _ in range(400)]
    for p in ([c.student for c in found], [c.flips for c in found]):
        rejected = sum(x < 0.1 for x in p)
        assert stats.binomtest(rejected, 400, 0.1).pvalue > 1e-3


def test_differences_that_are_none_show_nothing():
    found = compare(np.zeros(10), np.random.default_rng(0))
    assert found.student == 0.5
    assert found.flips == 1


@pytest.mark.parametrize("x", [np.zeros(1), np.zeros((2, 2)), np.array([1.0, np.nan])])
def test_differences_that_are_no_sample_are_refused(x):
    with pytest.raises(ValueError, match="differences must be finite"):
        compare(x, np.random.default_rng(0))


def test_power_is_the_level_without_an_effect_and_a_half_at_the_threshold():
    assert power(0, 1, 0.05) == pytest.approx(0.05)
    assert power(stats.norm.isf(0.01), 1, 0.01) == pytest.approx(0.5)


def test_the_distance_of_two_normal_laws_is_the_closed_form():
    # Four points on the axes about (2, 0): their covariance is diag(2 a^2/3, 2 b^2/3).
    distance = FrechetDistance(normal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]))
    a, b = 6**0.5, 13.5**0.5
    samples = torch.tensor([[2 + a, 0], [2 - a, 0], [2, b], [2, -b]], dtype=torch.float64)
    assert distance(samples) == pytest.approx(2**2 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=1e-13)


def test_the_distance_does_not_depend_on_rotation():
    g = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64, generator=g))[0]
    S = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
    x = torch.randn(50, 3, dtype=torch.float64, generator=g)
    plain = FrechetDistance(normal([0.0, 0.0, 0.0], S.tolist()))
    turned = FrechetDistance(normal([0.0, 0.0, 0.0], (turn @ S @ turn.mT).tolist()))
    assert plain(x) == pytest.approx(turned(x @ turn.mT), rel=1e-10)


def test_the_floor_falls_with_the_number_of_samples():
    distance = FrechetDistance(normal([0.0, 0.0], [[1.0, 0.3], [0.3, 2.0]]))
    few, many = (distance.floor(n, 40, torch.Generator().manual_seed(0)) for n in (50, 800))
    assert (few > 0).all()
    # In proportion to 1/n.
    assert 8 < few.mean() / many.mean() < 32


def test_a_bootstrap_draws_the_same_rows_of_every_set():
    distance = FrechetDistance(normal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]))
    x = torch.randn(30, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    drawn = distance.bootstrap([x, x.clone()], 5, torch.Generator().manual_seed(1))
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert len(set(drawn[:, 0])) == 5


def test_too_few_samples_are_refused():
    distance = FrechetDistance(normal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]]))
    with pytest.raises(ValueError, match=r"samples must have shape \(n, d\) with n > d, got \(2, 2\)"):
        distance(torch.zeros(2, 2))
