"""Claim A5: the multistep loop against known methods, the reduced check and its faults."""

import numpy as np
import pytest
import torch
from fault_cases import faults_of

import toy
from lml.samplers import SAMPLERS, sample
from theory_checks.annealing import FAMILY
from theory_checks.annealing.faults_steps import REDUCED
from theory_checks.annealing.multistep import NORMS, adams_bashforth, combined, multistep
from theory_checks.annealing.restored_norm import draw_restored_norm, uneven_levels
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("A5")
CHECK = REDUCED["A5"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_the_reduced_check_holds_and_draws(finding):
    assert finding.verdict is FAMILY.claim("A5").expected is Verdict.HOLDS
    assert draw_restored_norm(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_seeded_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [
        ((0,), (1,)),
        ((0, -1), (3 / 2, -1 / 2)),
        ((0, -1, -2), (23 / 12, -16 / 12, 5 / 12)),
        ((0, -1, -2, -3), (55 / 24, -59 / 24, 37 / 24, -9 / 24)),
        ((0, -2), (1.25, -0.25)),
    ],
)
def test_weights_are_those_of_adams_and_bashforth(nodes, weights):
    np.testing.assert_allclose(adams_bashforth(nodes, 1.0), weights, rtol=1e-13)


def test_one_noise_is_ddim_whatever_the_norm():
    model = toy.noise_model(toy.target("cross-2d"))
    x = torch.randn((4, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    levels = uneven_levels(8)
    expected = sample(SAMPLERS["ddim"], model, x, levels)
    for norm in NORMS:
        torch.testing.assert_close(multistep(model, [x], levels, norm), expected, rtol=1e-12, atol=1e-12)


def test_uneven_levels_are_two_to_one():
    steps = np.diff([level.half_log_snr for level in uneven_levels(6)])
    np.testing.assert_allclose(steps / steps[1], [2, 1, 2, 1, 2, 1], rtol=1e-9)


def test_norms_of_noises_that_only_turn():
    # On a circle the mean over an arc of angle a is shorter than the radius by a^2/24.
    angle = 0.01
    noises = [torch.tensor([[np.cos(k * angle), -np.sin(k * angle)]]) for k in range(3)]
    weights = adams_bashforth((0.0, -1.0, -2.0), 1.0)
    lengths = {norm: float(combined(noises, weights, norm, 1.0).norm()) for norm in NORMS}
    assert lengths["kept"] == pytest.approx(1, abs=1e-15)
    assert lengths["extrapolated"] == pytest.approx(1, abs=1e-15)
    assert lengths["bent"] == pytest.approx(1 - angle**2 / 24, abs=1e-15)
    assert lengths["free"] == pytest.approx(lengths["bent"], abs=angle**3)
