"""Claims A1 and A2: their flows against closed forms, their faults, and what they say of the counter-example."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from fault_cases import kills

import toy
from theory_checks.annealing import FAMILY
from theory_checks.annealing.faults import REDUCED
from theory_checks.annealing.marginals import ends
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected
from theory_checks.numerics.reverse_time import FLOWS, ReverseFlow, cell_edges, particles, probabilities_of, transported

BY_ID = {name: FAMILY.claim(name) for name in ("A1", "A2")}
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("A1", "A2")]


@pytest.mark.parametrize("claim", BY_ID)
def test_the_reduced_check_fails_the_claim_with_a_counter_example_and_draws(claim):
    finding = REDUCED[claim](Settings())
    assert finding.verdict is BY_ID[claim].expected is Verdict.FAILS
    assert finding.counterexample
    assert BY_ID[claim].load_draw()(finding).axes


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_the_check_red(fault, claim):
    with injected(fault):
        assert REDUCED[claim](Settings()).verdict is not Verdict.FAILS


@pytest.fixture(scope="module")
def bimodal():
    return toy.target("bimodal-1d")


def test_the_ordinary_flow_carries_the_cells_to_the_data_exactly(bimodal):
    flow = ReverseFlow(bimodal, "ode", math.inf, 2.5)
    edges = cell_edges(bimodal, 2.5, 64)
    np.testing.assert_allclose(transported(flow, edges, 0), probabilities_of(flow, edges, 0.0), rtol=0, atol=1e-7)


def test_the_corrected_sde_reaches_the_data_at_second_order(bimodal):
    errors = []
    for cells in (150, 300, 600):
        flow = ReverseFlow(bimodal, "corrected", 1.0, 2.5)
        edges = cell_edges(bimodal, 2.5, cells)
        found = transported(flow, edges, cells // 4)
        assert found.sum() == pytest.approx(1, abs=1e-11)  # the flux form loses no mass
        errors.append(np.abs(found - probabilities_of(flow, edges, 0.0)).sum())
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.2)


def test_the_sde_of_a_gaussian_has_its_closed_form():
    # N(0, c), lambda = infinity: the reverse SDE is linear and its end is N(0, c) again, from any level.
    data = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([0.5]))
    found = ends(data, math.inf, 400, ("literal",))
    variances = []
    for p, edges in ((found.coarse, found.edges[::2]), (found.fine, found.edges)):
        variances.append(float(p["literal"] @ (0.5 * (edges[:-1] + edges[1:])) ** 2))
    # Second order: the fine error is a third of the change.
    assert variances[1] == pytest.approx(0.5, abs=abs(variances[1] - variances[0]) / 2)
    assert variances[1] == pytest.approx(0.5, rel=0.01)


def test_as_the_damping_grows_the_flows_become_the_ordinary_ones(bimodal):
    distances = [
        ends(bimodal, damping, 300, ("literal", "ode")).distance("ode", "data")[0] for damping in (10, 1e3, 1e5)
    ]
    # N = 1 - s^2/lambda + ..: the distance is of first order in 1/lambda.
    assert distances[1] / distances[2] == pytest.approx(100, rel=0.05)
    assert distances[0] > distances[1]


def test_in_one_dimension_the_divergence_is_the_derivative_of_the_diffusion_matrix(bimodal):
    u, tau, t = np.linspace(-6, 6, 25), 0.7, 1e-4
    with_divergence, _ = ReverseFlow(bimodal, "divergence_added", 0.5, 2.5).on_line(u, tau)
    flow = ReverseFlow(bimodal, "literal", 0.5, 2.5)
    b, _ = flow.on_line(u, tau)
    derivative = (flow.on_line(u + t, tau)[1] - flow.on_line(u - t, tau)[1]) / (2 * t)
    np.testing.assert_allclose(with_divergence - b, 0.5 * derivative, atol=2e-6)  # t^2 times a third derivative


def test_eq_10_is_the_probability_flow_with_a_shrunk_score_in_any_dimension():
    data = toy.target("random-8d")
    u = data.sample(5, generator=torch.Generator().manual_seed(1))
    damped, _ = ReverseFlow(data, "ode", 0.3, 2.0).coefficients(u, 0.5)
    ordinary, _ = ReverseFlow(data, "ode", math.inf, 2.0).coefficients(u, 0.5)
    s = ReverseFlow(data, "ode", 0.3, 2.0).level(0.5).score(math.exp(-0.5) * u)
    factor = 0.3 / (0.3 + (s * s).sum(1, keepdim=True))
    torch.testing.assert_close(damped, factor * ordinary)


@pytest.mark.parametrize("name", FLOWS)
def test_particles_of_the_ordinary_flows_have_the_covariance_of_the_data(name):
    data = toy.target("cross-2d")
    u = particles(ReverseFlow(data, name, math.inf, 2.5), 4000, 100, torch.Generator().manual_seed(0))
    # Five standard errors of a variance with the kurtosis of this mixture, and the bias of 100 steps.
    torch.testing.assert_close(torch.cov(u.T), data.covariance(), atol=0.25, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "ddim"}, "name must be one of"),
        ({"damping": 0.0}, "damping must be positive"),
        ({"damping": math.nan}, "damping must be positive"),
        ({"start": math.inf}, "start must be"),
    ],
)
def test_bad_arguments_are_refused(bimodal, change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(ReverseFlow(bimodal, "literal", 1.0, 2.0), **change)


def test_a_grid_needs_one_dimension_and_cells(bimodal):
    with pytest.raises(ValueError, match="one dimension"):
        cell_edges(toy.target("cross-2d"), 2.0, 100)
    with pytest.raises(ValueError, match="at least 16"):
        cell_edges(bimodal, 2.0, 8)
