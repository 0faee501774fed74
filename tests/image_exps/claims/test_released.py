"""Claim Q3: rounding noise of the published expression, its control and its faults."""

from functools import partial

import pytest
import torch
from fault_cases import faults_of

from image_exps.claims import FAMILY
from image_exps.claims.faults import REDUCED
from image_exps.claims.released import RoundingNoise, draw_released_quality
from image_exps.problems.seeds import sample_generators
from lml.correction import Memory
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import injected
from theory_checks.ledger.plotting import drawn, to_svg
from theory_checks.numerics.rounding_noise import predicted_deviation

FAULTS = faults_of("Q3")
CHECK = REDUCED["Q3"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_released_float32_ends_further_and_float64_where_its_base_does(finding):
    assert finding.verdict is FAMILY.claim("Q3").expected is Verdict.HOLDS
    assert finding.figure("d = 3072, 20 steps: error of float32 minus its base's, share").low > 0
    assert finding.figure("d = 3072, 20 steps: error of noise minus its base's, share").low > 0


def test_the_picture_shows_every_arm_and_the_endpoint(finding):
    assert finding.data["pictures"].shape == (5, 6, 32, 32, 3)
    svg = to_svg(drawn(draw_released_quality, finding))
    assert svg.count("<image") == 1
    assert len(svg) < 300_000


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert partial(CHECK, count=48)(Settings()).verdict is not Verdict.HOLDS


def test_the_control_has_the_size_that_k4_predicts_and_the_norm_of_the_vector():
    u = torch.randn(24, 3072, generator=torch.Generator().manual_seed(0))
    noise, _ = RoundingNoise(8e-4, sample_generators(0, 0, 24, "correction")).correct(u, Memory())
    size = float(((noise - u).double().norm(dim=1) / u.double().norm(dim=1)).mean())
    # |sum u_i^2 z_i^2|^{1/2} of a normal u has the relative deviation (2 * 3/d)^{1/2}/2 = 2.2 %: 0.45 % in 24 samples.
    assert size == pytest.approx(float(predicted_deviation(u, 8e-4).mean()), rel=4 * 0.0045)
    torch.testing.assert_close(noise.norm(dim=1), u.norm(dim=1))


def test_a_sample_draws_its_own_noise_whatever_the_batch():
    u = torch.randn(5, 96, generator=torch.Generator().manual_seed(0))
    whole, _ = RoundingNoise(1e-5, sample_generators(0, 0, 5, "correction")).correct(u, Memory())
    part, _ = RoundingNoise(1e-5, sample_generators(0, 3, 2, "correction")).correct(u[3:], Memory())
    torch.testing.assert_close(whole[3:], part, rtol=1e-6, atol=1e-7)


def test_the_claim_is_a_plug_in():
    assert "Q3" in {claim.id for claim in find_claims()}
