"""Claim L1: the injected faults, and what its figures are made of."""

import math

import numpy as np
import pytest
import torch
from fault_cases import kills

from image_exps.claims import FAMILY, solver_gain
from image_exps.search.few_steps_plan import SEEDS
from theory_checks.ledger.mutation import judge


@pytest.mark.slow
@pytest.mark.outside("galaxygrad")
@pytest.mark.parametrize("claim", ["L1"])
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.slow
@pytest.mark.outside("galaxygrad")
@pytest.mark.parametrize(("fault", "claim"), [pytest.param(*pair, id=pair[0].name) for pair in kills("L1")])
def test_an_injected_fault_turns_the_check_red(fault, claim):
    trial = judge(fault, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


def test_to_be_nearer_than_the_best_is_to_be_nearer_than_each():
    rng = np.random.default_rng(0)
    ours = 1 + 0.1 * rng.random(40)
    noise = rng.standard_normal(40)
    baselines = {"near": ours + 0.01 * (noise - noise.mean()), "far": ours + 1 + rng.random(40)}
    cell = solver_gain.Cell("galaxy-hsc-32", 5, None, ours, baselines, ours)
    assert max(cell.nearer(rng)) > 0.05
    far = cell._replace(baselines={"far": baselines["far"]})
    assert max(far.nearer(rng)) < 1e-3
    assert far.best == "far"


def test_an_end_that_is_no_number_counts_as_far():
    ends = torch.tensor([[math.nan], [math.inf], [1e9], [1.0]])
    assert solver_gain._errors(ends, torch.zeros(4, 1)).tolist() == [1e3, 1e3, 1e3, 1.0]


def test_its_draws_are_not_those_of_the_measurement():
    assert solver_gain._FRESH not in SEEDS.values()
