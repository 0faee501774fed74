"""Claim Q4: LML with imperfect scores, and its faults."""

import math

import numpy as np
import pytest
import torch
from fault_cases import faults_of
from torch import nn

import toy
from image_exps.claims import FAMILY
from image_exps.claims.faults import REDUCED
from image_exps.claims.imperfect import draw_imperfect, network_errors
from image_exps.networks import NetworkModel
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import injected
from theory_checks.ledger.plotting import drawn, to_svg
from toy import DataMixture

FAULTS = faults_of("Q4")
CHECK = REDUCED["Q4"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_lml_gains_with_small_errors_and_loses_with_large_ones_and_with_a_mere_scale(finding):
    assert finding.verdict is FAMILY.claim("Q4").expected is Verdict.CORRECTED
    gains = {f.name.split(",")[0] + f.name.split(",")[1]: f for f in finding.figures if f.name.startswith("gain")}
    assert gains["gain with smooth error of 10% own flow"].low > 0
    assert gains["gain with white error of 40% exact flow"].high < 0
    assert gains["gain with bias error of 20% exact flow"].high < 0


def test_white_errors_grow_at_a_turn_as_predicted_and_less_at_the_end(finding):
    turn = finding.figure("growth of white errors by a turn, in variance").value
    assert turn > 2
    assert finding.figure("white errors at the end, mean square with LML over DDIM's").value < turn


def test_the_gain_is_gone_between_the_sizes_that_were_tried(finding):
    assert 0.1 < finding.figure("size of white errors at which the gain is gone, exact flow").value < 0.4


def test_the_picture_is_small(finding):
    assert len(to_svg(drawn(draw_imperfect, finding))) < 200_000


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.CORRECTED


def test_a_noise_model_is_compared_with_its_own_flow_from_the_same_noises():
    target = DataMixture(toy.dataset("digits").images, 0.1)
    case, refinement = network_errors(toy.noise_model(target), (1, 8, 8), 24, 0)
    assert case.base.shape == case.lml.shape == (24,)
    assert refinement < 0.1 * case.base.mean()
    assert case.gain.mean() > 0
    # Noises of a seed do not depend on how many there are.
    few, _ = network_errors(toy.noise_model(target), (1, 8, 8), 2, 0)
    np.testing.assert_allclose(few.base, case.base[:2], rtol=1e-3)


class Linear(nn.Module):
    """The network of a single normal distribution, to which no sampler of two steps is exact."""

    def __init__(self):
        super().__init__()
        self.conv_in = nn.Conv2d(1, 1, 1)
        self.config = {"in_channels": 1, "sample_size": 4}

    def forward(self, x, time, labels=None):
        return type("Output", (), {"sample": 0.9 * x})()


def test_a_network_behind_the_samplers_is_taken_as_it_is():
    case, refinement = network_errors(NetworkModel(Linear(), "epsilon"), (1, 4, 4), 3, 0)
    assert np.isfinite(case.base).all()
    assert math.isfinite(refinement)
    assert (case.base > 0).all()


def test_the_claim_is_a_plug_in():
    assert "Q4" in {claim.id for claim in find_claims()}


def test_results_do_not_depend_on_the_global_generator(finding):
    torch.manual_seed(1)
    again = CHECK(Settings())
    assert [f.value for f in again.figures] == [f.value for f in finding.figures]
