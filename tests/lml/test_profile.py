from dataclasses import replace

import pytest
import torch

import toy
from lml.controls import MatchedNoise, RandomTurn
from lml.correction import LML, Memory, NoCorrection
from lml.kernel import lml_direction_rank
from lml.profile import Profile, multistep_weights
from lml.samplers import SAMPLERS, sample, trajectory

ETA = ((), (0.8,), (-0.3, 0.5), (1.7, 0.0, -0.4))
RHO = (1.0, 0.25, 1.0, 0.0)


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def levels(steps, spacing="log-snr"):
    return toy.noise_levels(toy.noise_schedule("vp-linear"), steps, spacing=spacing, times=(1.0, 1e-3))


def plain(noise, history, step):
    """The formula of the docstring, one sample and one term after the other, in float64."""
    out = []
    for b in range(len(noise)):
        e = noise[b].double()
        u = e.clone()
        for eta, p in zip(ETA[step], history, strict=True):
            u += eta * (e - p[b].double())
        out.append(u * (e.norm() / u.norm()) ** RHO[step])
    return torch.stack(out)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(7,), (3, 4, 5)])
def test_each_step_is_its_formula_in_every_dtype(dtype, shape):
    noises = [draw(5, *shape, seed=k, dtype=dtype) for k in range(4)]
    profile, memory = Profile(ETA, RHO), Memory()
    for step, noise in enumerate(noises):
        found, memory = profile.correct(noise, memory, step / 4)
        expected = plain(noise, noises[:step][::-1], step)
        # One rounding of the result, and some ten in float64 of terms up to |eta| times as large.
        unit = torch.finfo(dtype).eps
        torch.testing.assert_close(found.double(), expected, rtol=unit, atol=64 * torch.finfo(torch.float64).eps)
        assert found.dtype == dtype
        assert found.shape == noise.shape


def test_a_sample_does_not_depend_on_its_batch():
    noises = [draw(6, 9, seed=k) for k in range(3)]
    profile = Profile(ETA, RHO)
    together = profile.direction(noises[2], (noises[1], noises[0]))
    alone = [profile.direction(noises[2][i : i + 1], (noises[1][i : i + 1], noises[0][i : i + 1])) for i in range(6)]
    torch.testing.assert_close(together, torch.cat(alone), rtol=4 * torch.finfo(torch.float64).eps, atol=0)


def test_zero_weights_are_the_base_bit_for_bit():
    profile = Profile(((), (0.0,), (0.0, 0.0)))
    assert profile.depth == 0
    model, x = toy.noise_model(toy.target("ring-2d")), draw(4, 2)
    for name in ("ddim", "unipc-2"):
        base = sample(SAMPLERS[name], model, x, levels(3))
        assert torch.equal(sample(SAMPLERS[name], model, x, levels(3), profile), base)
        assert torch.equal(sample(SAMPLERS[name], model, x, levels(3), NoCorrection()), base)


def test_a_step_without_weights_returns_the_noise_itself():
    e, p = draw(2, 3), draw(2, 3, seed=1)
    found, _ = Profile(((), (0.0,), (1.0, 0.0))).correct(e, Memory((p,)), 1 / 3)
    assert found is e


def test_the_norm_is_restored_by_its_share():
    e, p = draw(8, 50), draw(8, 50, seed=1)
    free = Profile(((), (0.7,)), 0.0).direction(e, (p,))
    for rho in (0.0, 0.5, 1.0):
        found = Profile(((), (0.7,)), rho).direction(e, (p,)).norm(dim=1)
        expected = e.norm(dim=1) ** rho * free.norm(dim=1) ** (1 - rho)
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)  # some hundred roundings of 1e-16


def test_numbers_at_both_ends_of_the_range_and_zeros_stay_finite():
    for scale in (1e300, 1e-300, 0.0):
        e, p = scale * draw(3, 6), scale * draw(3, 6, seed=1)
        found = Profile(((), (0.7,))).direction(e, (p,))
        reference = scale * Profile(((), (0.7,))).direction(draw(3, 6), (draw(3, 6, seed=1),))
        torch.testing.assert_close(found, reference, rtol=1e-13, atol=0)
    none, p = torch.zeros(2, 3), torch.ones(2, 3)
    assert torch.equal(Profile(((), (0.7,))).direction(none, (p,)), none)
    large = torch.full((1, 4), 6e4, dtype=torch.float16)
    assert torch.equal(Profile(((), (1.0,)), 0.0).direction(large, (-large,)), torch.full_like(large, 65504))


def test_to_leading_order_in_the_change_of_noise_it_is_the_rotation_of_the_kernel():
    e, damping = draw(4, 30), 1e-6
    lam = damping * e.square().sum(1)
    gaps = []
    for change in (1e-2, 1e-3):
        p1, p2 = e + change * draw(4, 30, seed=1), e + change * draw(4, 30, seed=2)
        profile = Profile(((), (0.5,), (0.5, 0.5))).direction(e, (p1, p2))
        kernel = lml_direction_rank(e, (p1, p2), damping=lam, mixing=0.5 * damping)
        gaps.append(float((kernel - profile).norm() / e.norm()))
    # The strengths differ by a factor 1 + O(<e, D>/<e, e>): the turns, of first order in D, by second order.
    assert gaps[0] < 1e-4
    assert gaps[1] == pytest.approx(gaps[0] / 100, rel=0.05)


@pytest.mark.parametrize("name", ["dpm-solver-2m", "dpm-solver-3m", "dpm-solver++-2m", "dpm-solver++-3m", "unipc-2",
                                  "unipc-3", "unipc-3-noise", "ddim"])  # fmt: skip
@pytest.mark.parametrize("spacing", ["log-snr", "time"])
def test_every_linear_multistep_baseline_is_ddim_with_a_profile_whose_norm_is_free(name, spacing):
    grid = levels(7, spacing)
    profile = Profile(multistep_weights(SAMPLERS[name], grid), 0.0)
    model, x = toy.noise_model(toy.target("ring-2d")), draw(16, 2)
    pairs = zip(trajectory(SAMPLERS["ddim"], model, x, grid, profile), trajectory(SAMPLERS[name], model, x, grid),
                strict=True)  # fmt: skip
    for (ours, _), (theirs, _) in pairs:
        # Weights carry the cancellation of x0 = (x - sigma e)/alpha: sigma/alpha = 150 at the first level. Errors of
        # 150 u grow by the slope of the score, at most some hundred along this trajectory.
        torch.testing.assert_close(ours.x, theirs.x, rtol=0, atol=1e-10)


def test_the_second_order_dpm_solver_is_a_weight_of_one_half_at_equal_steps():
    for row in multistep_weights(SAMPLERS["dpm-solver-2m"], levels(20))[1:]:
        assert row[0] == pytest.approx(0.5, abs=1e-9)
        assert row[1:] == pytest.approx([0.0] * (len(row) - 1), abs=1e-9)


def test_weights_are_asked_only_of_methods_that_have_them():
    with pytest.raises(ValueError, match="pndm does so 2 times"):
        multistep_weights(SAMPLERS["pndm"], levels(5))


@pytest.mark.parametrize("weights", [(), ((1.0,),), ((), ()), ((), (float("nan"),)), ((), (1.0, 2.0))])
def test_weights_that_are_no_triangle_of_numbers_are_refused(weights):
    with pytest.raises(ValueError, match="weights must have"):
        Profile(weights)


@pytest.mark.parametrize("restored", [-0.1, 1.1, float("nan"), (1.0,), (1.0, 1.0, 2.0, 0.0)])
def test_shares_outside_of_their_range_are_refused(restored):
    with pytest.raises(ValueError, match="restored must be"):
        Profile(ETA, restored)


@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 3), ("ddim", 5), ("heun", 4), ("pndm", 4)])
def test_a_trajectory_that_a_profile_is_not_for_is_refused(sampler, steps):
    model, x = toy.noise_model(toy.target("ring-2d")), draw(2, 2)
    with pytest.raises(ValueError, match="profile must meet its trajectory: 4 steps"):
        sample(SAMPLERS[sampler], model, x, levels(steps), Profile(ETA))


def test_controls_shadow_a_profile():
    e, p = draw(4, 4000), draw(4, 4000, seed=1)
    profile = Profile(((), (0.2,)))
    change = (profile.direction(e, (p,)) - e).norm(dim=1)
    noisy, _ = MatchedNoise(profile, torch.Generator().manual_seed(3)).correct(e, Memory((p,)), 0.5)
    # |z| is sqrt(d) to 1/sqrt(2 d) = 1.1 %, products with e less exactly so; four standard errors and the curvature.
    torch.testing.assert_close((noisy - e).norm(dim=1), change, rtol=0.1, atol=0)
    turned, _ = RandomTurn(profile, torch.Generator().manual_seed(3)).correct(e, Memory((p,)), 0.5)
    torch.testing.assert_close((turned - e).norm(dim=1), change, rtol=1e-10, atol=0)
    assert LML().rank == 1
    assert replace(profile, restored=0.0).weights == profile.weights
