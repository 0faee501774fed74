"""Claim A7 on a network: rates and growths of linear models, where limits are crossed, and what is recorded."""

import math

import pandas as pd
import pytest
import torch

from image_exps.sweeps.guided_stability import PLAN, ROWS, crossing, seen, stiffest_rate
from lml.samplers import Level
from theory_checks.annealing.stability import SOLVERS, guidance_limit


def test_the_stiffest_rate_of_a_linear_noise_is_its_largest_eigenvalue():
    rates = torch.tensor([0.2, 3.0, 1.0, -0.5], dtype=torch.float64)

    def noise(x, level):
        return (x.flatten(1) * rates / level.sigma).view(x.shape)

    x = torch.randn((3, 1, 2, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = stiffest_rate(noise, x, Level(0.6, 0.8), torch.Generator().manual_seed(1))
    # After k iterations what is left of the next eigenvector is (1/3)^(2k), times the square of its share at the start.
    torch.testing.assert_close(found, torch.full((3,), 3.0, dtype=torch.float64), rtol=1e-4, atol=0)


def test_a_linear_map_grows_a_difference_by_its_factor():
    x = torch.randn((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = seen(lambda y: -2.5 * y, x, torch.Generator().manual_seed(1))
    torch.testing.assert_close(found.growth, torch.full((4,), 2.5, dtype=torch.float64))
    torch.testing.assert_close(found.ends, -2.5 * x)


@pytest.mark.parametrize(
    ("values", "expected"),
    [((1, 2, 8), 8.0), ((5, 6, 7), 1.0), ((1, 2, 3), math.inf), ((5, 1, 16), 8.0)],
)
def test_where_a_limit_is_crossed_for_good(values, expected):
    assert crossing((1.0, 4.0, 16.0), values, 4.0) == pytest.approx(expected)


def test_the_recorded_rows_are_those_of_the_plan():
    rows = pd.read_csv(ROWS)
    assert list(zip(rows["steps"], rows["solver"], strict=True)) == [(n, s) for n in PLAN.steps for s in PLAN.solvers]
    assert set(rows["seed"]) == {PLAN.seed}
    assert [c for c in rows if c.startswith("growth at")] == [f"growth at {w:g}" for w in PLAN.guidance]
    for row in rows[rows["solver"].isin(SOLVERS)].itertuples():
        assert row.limit == pytest.approx(guidance_limit(SOLVERS[row.solver], row.h), rel=1e-4)
