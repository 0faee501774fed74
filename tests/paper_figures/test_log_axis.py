"""Ticks of logarithmic axes: how many, where, and what is left alone."""

import numpy as np
import pytest

from paper_figures.layout import panels
from paper_figures.log_axis import FewTicks, mark_logarithms
from paper_figures.style import style


@pytest.mark.parametrize("decades", [0.02, 0.1, 0.3, 0.7, 1.0, 1.7, 2.5, 4, 9, 23])
@pytest.mark.parametrize("low", [1e-17, 0.07, 0.9, 3.3e4])
def test_every_range_has_three_labels_or_more_and_not_too_many(low, decades):
    high = low * 10**decades
    ticks = FewTicks().tick_values(low, high)
    assert 3 <= len(ticks) <= 10
    assert min(ticks) >= low * (1 - 1e-8)
    assert max(ticks) <= high * (1 + 1e-8)


def test_a_wide_range_has_powers_of_ten_at_equal_distances():
    powers = np.log10(FewTicks().tick_values(1e-16, 1e5))
    assert powers == pytest.approx(np.round(powers))
    assert len(set(np.round(np.diff(powers)))) == 1


def test_a_decade_has_small_ticks_without_labels_and_a_linear_axis_is_left_alone():
    with style():
        _, ((left, right),) = panels(1, 2, height=2)
        left.set(xscale="log", xlim=(0.1, 1))
        before = right.xaxis.get_major_locator()
        for axes in (left, right):
            mark_logarithms(axes.xaxis)
    assert len(left.xaxis.get_minorticklocs()) >= 8
    assert [left.xaxis.get_major_formatter()(x) for x in (0.1, 0.3, 1)] == ["0.1", "0.3", "1"]
    assert right.xaxis.get_major_locator() is before


def test_ticks_that_a_figure_chose_stay():
    with style():
        _, ((axes,),) = panels(1, 1, height=2)
        axes.set(xscale="log", xlim=(4, 60))
        axes.set_xticks((5, 10, 50), ["5", "10", "50"])
        mark_logarithms(axes.xaxis)
    assert axes.get_xticks().tolist() == [5, 10, 50]


def test_numbers_far_from_one_are_powers_of_ten():
    with style():
        _, ((axes,),) = panels(1, 1, height=2)
        axes.set(yscale="log", ylim=(1e-9, 1e-5))
        mark_logarithms(axes.yaxis)
    assert axes.yaxis.get_major_formatter()(1e-7) == "$10^{-7}$"
    assert axes.yaxis.get_major_formatter()(3e-7) == r"$3\times10^{-7}$"
