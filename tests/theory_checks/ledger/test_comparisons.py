"""Tests and corrections against cases that are known."""

import numpy as np
import pytest
from scipy import stats

from theory_checks.ledger.comparisons import compare, holm, power, sign_test


def test_the_sign_test_counts_ties_against():
    assert sign_test([1.0, 2.0, 3.0]) == pytest.approx(1 / 8)
    assert sign_test([1.0, 2.0, 0.0]) == pytest.approx(4 / 8)


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
