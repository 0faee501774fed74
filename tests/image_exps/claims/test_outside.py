"""Claims Q5 and Q6: their controls on an exact flow, and the injected faults on a network that nobody here trained."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from fault_cases import kills

from image_exps.claims import FAMILY
from image_exps.claims.outside_distribution import Components, fall
from theory_checks.ledger.mutation import judge

CLAIMS = {claim: FAMILY.claim(claim) for claim in ("Q5", "Q6")}
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("Q5", "Q6")]


@pytest.mark.slow
@pytest.mark.outside("galaxygrad")
@pytest.mark.parametrize("claim", CLAIMS)
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.slow
@pytest.mark.outside("galaxygrad")
@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_the_check_red(fault, claim):
    trial = judge(fault, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


def test_distances_fall_for_samples_that_come_nearer_and_not_for_the_same():
    generator = torch.Generator().manual_seed(1)
    draws, x = (torch.randn(400, 20, dtype=torch.float64, generator=generator) for _ in range(2))
    basis = Components(draws)
    far, near = basis.distance(1.5 * x), basis.distance(1.1 * x)
    assert far.value > near.value > basis.distance(x).value > 0
    found = fall(far, near, basis.sorted, np.random.default_rng(0))
    back = fall(near, far, basis.sorted, np.random.default_rng(0))
    assert max(found) < 0.01
    assert min(back) > 0.99


def test_where_the_weights_are_absent_the_ledger_says_so():
    environment = {**os.environ, "LML_OUTSIDE": "none"}
    command = [sys.executable, "-m", "theory_checks", "--claim", "Q5"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Q5 cannot be checked here. the package galaxygrad 0.2.1 is not looked for" in " ".join(done.stderr.split())
