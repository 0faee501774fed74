"""Claim A3: its measures on made-up errors, its equation against a solution in closed form, and its faults."""

import itertools
import math

import pytest
import torch
from fault_cases import faults_of

import toy
from theory_checks.annealing import FAMILY
from theory_checks.annealing.faults import REDUCED
from theory_checks.annealing.order import draw_order, first_order_constant, first_order_error, observed_order
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected
from toy import GaussianMixture

FAULTS = faults_of("A3")
CHECK = REDUCED["A3"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_the_reduced_check_holds_and_draws(finding):
    assert finding.verdict is FAMILY.claim("A3").expected is Verdict.HOLDS
    assert draw_order(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_observed_order_is_that_of_made_up_errors(order):
    steps = [0.1 / 2**k for k in range(4)]
    errors = [torch.tensor([[1 + 2 * h, -0.5 + h * h]], dtype=torch.float64) * h**order for h in steps]
    found = observed_order(errors)
    assert abs(found.limit - order) < found.error < 0.5


def test_errors_that_stop_falling_have_no_order():
    errors = [torch.tensor([[1e-2 + h]], dtype=torch.float64) for h in (0.1, 0.05, 0.025, 0.0125)]
    found = observed_order(errors)
    assert abs(found.limit - 1) > found.error


def test_the_first_order_constant_is_extrapolated():
    steps = [0.1, 0.05, 0.025, 0.0125]
    constant, error = first_order_constant(
        [torch.tensor([[3 * h + h**2 + h**3]], dtype=torch.float64) for h in steps], steps
    )
    assert float(constant) == pytest.approx(3, abs=1e-12)
    assert float(error.abs()) > 1e-5


def test_the_first_order_error_of_a_gaussian_is_its_closed_form():
    # N(0, c I): eps = sigma x/v with v = alpha^2 c + sigma^2 points along x: nothing is across it, and the exact flow
    # is x_0 sqrt(v/v_0). DDIM multiplies x by a factor a step: its error is that of a product of numbers.
    c = 0.3
    target = GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([c]))
    start, end = toy.noise_levels(toy.noise_schedule("vp-linear"), 1, log_snr=(-3.0, 3.0))
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    across, change = first_order_error(target, x, start, end)
    assert float(across.abs().max()) < 1e-9

    def ddim(n):
        factor = 1.0
        levels = toy.noise_levels(toy.noise_schedule("vp-linear"), n, log_snr=(-3.0, 3.0))
        for now, after in itertools.pairwise(levels):
            v = now.alpha**2 * c + now.sigma**2
            factor *= after.alpha * (1 - now.sigma**2 / v) / now.alpha + after.sigma * now.sigma / v
        return factor

    exact = math.sqrt((end.alpha**2 * c + end.sigma**2) / (start.alpha**2 * c + start.sigma**2))
    slopes = [(ddim(n) - exact) * n / 3 for n in (200, 400, 800)]
    first = [2 * b - a for a, b in itertools.pairwise(slopes)]
    slope = (4 * first[1] - first[0]) / 3
    torch.testing.assert_close(-0.5 * change, slope * x, rtol=1e-6, atol=0)  # the equation is solved to 1e-7
