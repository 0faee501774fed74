"""Claim C2: divergences against closed forms and an optimal transport library, the flow, and the injected faults."""

import math

import numpy as np
import ot
import pytest
from fault_cases import faults_of
from scipy.special import ndtr

from theory_checks.convergence import FAMILY
from theory_checks.convergence.divergences import all_divergences, narrow_start, wasserstein
from theory_checks.convergence.faults import REDUCED
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("C2")
CHECK = REDUCED["C2"]
EDGES = np.linspace(-7, 7, 1001)


def normal(mean, deviation):
    return np.diff(ndtr((EDGES - mean) / deviation))


def test_the_reduced_check_holds_with_a_counter_example_for_w2_and_draws():
    finding = CHECK(Settings())
    assert finding.verdict is FAMILY.claim("C2").expected is Verdict.CORRECTED
    assert finding.counterexample["rise of W2 over its start"] > 0.01
    assert FAMILY.claim("C2").load_draw()(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.CORRECTED


def test_divergences_of_two_normals_are_their_closed_forms():
    # N(m, v) from N(0, 1); cells of 0.014 leave a relative (0.014)^2/12 of the curvature.
    m, v = 0.7, 0.8
    found = all_divergences(EDGES, normal(m, math.sqrt(v)), normal(0, 1))
    assert found["KL"] == pytest.approx(0.5 * (v + m * m - 1 - math.log(v)), rel=1e-4)
    assert found["chi-squared"] == pytest.approx(math.exp(m * m / (2 - v)) / math.sqrt(v * (2 - v)) - 1, rel=1e-4)
    overlap = math.sqrt(2 * math.sqrt(v) / (1 + v)) * math.exp(-(m * m) / (4 * (1 + v)))
    assert found["Hellinger"] == pytest.approx(math.sqrt(1 - overlap), rel=1e-4)
    assert found["W2"] == pytest.approx(math.hypot(m, math.sqrt(v) - 1), rel=1e-4)
    assert all_divergences(EDGES, normal(m, 1), normal(0, 1))["total variation"] == pytest.approx(
        2 * ndtr(m / 2) - 1, rel=1e-4
    )


def test_w2_is_that_of_an_optimal_transport_library_where_cells_are_small():
    p, q = normal(-1.0, 0.6), 0.5 * (normal(-2, 0.5) + normal(1.5, 0.9))
    middle = 0.5 * (EDGES[:-1] + EDGES[1:])
    atoms = math.sqrt(ot.wasserstein_1d(middle, middle, p / p.sum(), q / q.sum(), p=2))
    # The library moves atoms at the centres, which is at most half of a cell, at each end.
    assert wasserstein(EDGES, p, q) == pytest.approx(atoms, abs=EDGES[1] - EDGES[0])


def test_w2_of_a_small_shift_is_the_shift_though_it_is_less_than_a_cell():
    shift = 0.1 * (EDGES[1] - EDGES[0])
    assert wasserstein(EDGES, normal(shift, 1), normal(0, 1)) == pytest.approx(shift, rel=2e-2)


def test_the_start_is_a_probability():
    assert narrow_start(EDGES, -2.5).sum() == pytest.approx(1, abs=1e-14)
