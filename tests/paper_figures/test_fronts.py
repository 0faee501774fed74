"""Pareto fronts of curves: against fronts that can be written down, and the guidance figure that uses them."""

import math
import re

import numpy as np
import pytest

from paper_figures.figure import find
from paper_figures.fronts import common_gains, front, front_ratio, path
from theory_checks.ledger.claim import Settings


def test_front_of_a_rising_line_is_the_line_and_below_its_start_it_is_flat():
    at = np.array([-3.0, 0.0, 0.5, 2.0])
    found = front(np.array([0.0, 2.0]), np.array([1.0, 5.0]), at)
    # The front is taken at the next of 64 points of a piece: at most 2/64 of gain, 4/64 of cost above the line.
    assert np.all(found >= np.array([1, 1, 2, 5]))
    assert np.all(found <= np.array([1, 1, 2 + 4 / 64, 5]))


def test_curve_that_turns_back_is_dominated_by_its_better_part():
    gain, cost = np.array([0.0, 2.0, 1.0]), np.array([1.0, 2.0, 9.0])
    assert front(gain, cost, np.array([1.0]))[0] == 1.5
    # From the far end of a curve that costs less at more gain, all gains are had at the cost of the end.
    assert np.array_equal(front(np.array([0.0, 1.0]), np.array([3.0, 2.0]), np.array([0.0, 0.5])), [2.0, 2.0])


def test_path_goes_through_the_points_and_above_the_highest_gain_the_front_stays():
    gain, cost = np.array([0.1, 0.7, 0.3]), np.array([1.0, 4.0, 2.0])
    assert np.array_equal(path(gain, cost)[:, ::64], [gain, cost])
    assert front(gain, cost, np.array([0.8]))[0] == 4.0


def test_ratio_of_a_curve_and_its_multiple_is_the_factor():
    gain, cost = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.6, 3.0])
    at = common_gains(gain, gain, gain)
    assert (at[0], at[-1]) == (1.0, 4.0)
    assert front_ratio(np.stack((gain, 0.7 * cost)), np.stack((gain, cost)), at) == pytest.approx(0.7, rel=1e-12)


def test_gains_in_common_begin_where_the_flow_does_and_end_with_the_first_that_stops():
    at = common_gains(np.array([5.0, 9.0]), np.array([3.0, 8.0]), np.array([4.0, 10.0]))
    assert (at[0], at[-1]) == (4.0, 8.0)
    assert len(common_gains(np.array([1.0, 2.0]), np.array([3.0, 8.0]), np.array([4.0, 10.0]))) == 0


@pytest.fixture(scope="module")
def small():
    figure = find("guidance")
    return figure.compute(Settings(seed=3), **figure.small)


def test_guidance_says_the_ratio_that_follows_from_its_curves(small):
    lml, base, flow = (small[f"normal classes: {c}"][..., 0].T for c in ("ddim/lml@5", "ddim@5", "flow"))
    expected = front_ratio(lml, base, common_gains(lml[0], base[0], flow[0]))
    caption = find("guidance").described(small, Settings(seed=3))
    said = re.search(r"on DDIM normal classes, 5 evaluations: (\S+) \[(\S+), (\S+)\]", caption)
    value, low, high = map(float, said.groups())
    assert value == pytest.approx(expected, abs=5e-3)
    assert low < value < high


def test_guidance_raises_the_log_odds_and_the_distance_of_the_flow(small):
    (odds, distance), _, (more_odds, more_distance) = small["normal classes: flow"]
    assert more_odds[1] > odds[2]  # intervals apart
    assert more_distance[1] > distance[2]


def test_guidance_does_not_need_fronts_that_meet(small):
    key = "normal classes: ddim/lml@5 over base"
    caption = find("guidance").described({**small, key: np.array((math.nan, math.nan, math.nan, 0.0))}, Settings())
    assert "on DDIM normal classes, 5 evaluations: none in common" in caption
