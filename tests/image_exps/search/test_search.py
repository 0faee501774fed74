import json
from pathlib import Path

import pytest
import torch

import toy
from image_exps.problems.targets import TARGETS, level_of
from image_exps.samplers.arms import arm
from image_exps.search import frozen
from image_exps.search.__main__ import chosen
from image_exps.search.differentiable import level_noise, run
from image_exps.search.learning import Variant, case, fit, score
from image_exps.search.trials import RESULTS, TUNING, _target
from lml.profile import Profile
from lml.samplers import SAMPLERS, sample
from lml.tuned import TUNED_EVALUATIONS

STEPS = 4


@pytest.mark.parametrize("name", ["cross-2d", "random-16d-tuning", "photo-8-low-rank", "photo-16"])
def test_differentiable_noise_predictions_are_those_of_the_targets(name):
    target = _target(name)
    noise, x = level_noise(target, torch.float64), torch.randn(5, target.dim, dtype=torch.float64)
    for half_log_snr in (-5.0, 0.0, 4.0):
        level = level_of(half_log_snr)
        found = noise(x, *(torch.tensor(t, dtype=torch.float64) for t in level[:2]))
        expected = target.diffuse(level.alpha, level.sigma).noise(x)
        # Logits reach (|x| + diameter)^2/v ~ 1e7 at the last level: their rounding is a relative error of 1e-9.
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-8)


def test_what_is_learned_on_is_ddim_with_the_profile():
    target = toy.target("ring-2d")
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, dtype=torch.float64, generator=generator)
    eta = torch.tril(torch.randn(STEPS, STEPS, dtype=torch.float64, generator=generator), -1)
    rho = (0.0, 1.0, 0.5, 0.2)
    levels = [level_of(value) for value in (-5.0, -2.0, 0.0, 1.5, 4.5)]
    halves = [level.half_log_snr for level in levels]
    profile = Profile(tuple(tuple(row[:i].flip(0).tolist()) for i, row in enumerate(eta)), rho)
    ours = sample(SAMPLERS["ddim"], toy.noise_model(target), x, levels, profile)
    learned = run(
        level_noise(target, torch.float64),
        x,
        *(torch.tensor(t, dtype=torch.float64) for t in (halves, eta.tolist(), rho)),
    )
    # x/alpha at the first level is 150 times x: its rounding is 150 u, and the score's slope adds two digits at most.
    torch.testing.assert_close(learned, ours, rtol=0, atol=1e-10)


def test_learning_lowers_the_error_and_leaves_what_is_fixed():
    cases = {"cross-2d": case(toy.target("cross-2d"), count=16, seed=1)}
    first, found = (fit(cases, {"cross-2d": 1.0}, Variant(1.0, "log-snr", 1), STEPS, iterations=k) for k in (1, 25))
    assert found.loss < 0.99 * first.loss  # rounding in float32 is a millionth
    assert torch.equal(found.half_log_snr, first.half_log_snr)
    assert torch.equal(found.weights, found.weights.diagonal(-1).diag(-1))
    assert torch.equal(found.restored, torch.ones(STEPS))
    assert score(cases, found)["cross-2d"] == pytest.approx(found.loss, rel=1e-5)  # float32


def test_no_reported_target_can_be_learned_from():
    reported = [name for name in TARGETS if name not in TUNING and name not in ("photo-8", "photo-16")]
    assert set(reported).isdisjoint(TUNING)
    with pytest.raises(ValueError, match="target must be one for tuning, 'digits' is reported"):
        _target("digits")


@pytest.mark.parametrize("name", [frozen.TUNED, *frozen.CONTROLS])
@pytest.mark.parametrize("evaluations", TUNED_EVALUATIONS)
def test_the_frozen_arms_spend_what_is_asked(name, evaluations):
    model, asked = toy.noise_model(toy.target("ring-2d")), []

    def counted(x, level):
        asked.append(level)
        return model(x, level)

    plan = arm(name).build(evaluations, 2, seed=3, count=5)
    ends = sample(plan.sampler, counted, torch.randn(5, 2, dtype=torch.float64), plan.levels, plan.correction)
    assert len(asked) == evaluations
    assert bool(torch.isfinite(ends).all())


def test_the_frozen_arm_is_for_ddim_and_for_its_own_budgets():
    with pytest.raises(ValueError, match="base must be ddim with tuned, got unipc-3"):
        arm("unipc-3@tuned/tuned").build(5, 2, seed=0, count=1)
    with pytest.raises(ValueError, match="evaluations must be one of"):
        arm(frozen.TUNED).build(7, 2, seed=0, count=1)


def test_the_frozen_numbers_are_those_of_the_record():
    shipped = json.loads((Path(toy.__file__).parent.parent / "lml" / "tuned.json").read_text())
    assert shipped == json.loads(json.dumps(chosen(RESULTS)))
