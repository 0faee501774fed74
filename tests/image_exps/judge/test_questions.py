"""Behaviour, law, quality and robustness, where the answer is known."""

import pytest
import torch

from image_exps.judge.behaviour import judge_behaviour, spacing_name
from image_exps.judge.good import Good, judge_good
from image_exps.judge.judged import Grid
from image_exps.judge.law import judge_law
from image_exps.judge.levels import own_levels
from image_exps.judge.robust import GUIDANCE, judge_robust
from image_exps.judge.what import find
from lml.samplers import Level


def checks(what, *, draws=False):
    return {check.name: check for check in judge_behaviour(find(what), draws=draws)}


@pytest.mark.parametrize("what", ["diffusers:UniPCMultistepScheduler", "judged_ports:dpmpp_2m", "heun"])
def test_a_sound_sampler_behaves(what):
    assert [check for check in checks(what).values() if check.ok is False] == []


def stateful():
    """A sampler that carries its last data prediction over to the next generation."""
    kept = []

    def sampler(noise_model, x, levels):
        for i, now in enumerate(levels[:-1]):
            after = levels[i + 1]
            x0 = (x - now.sigma * noise_model(x, now)) / now.alpha
            old = kept[-1] if kept and kept[-1].shape == x0.shape else x0
            kept.append(x0)
            x = (after.sigma / now.sigma) * x + (after.alpha - after.sigma * now.alpha / now.sigma) * (
                1.5 * x0 - 0.5 * old
            )
        return x

    return sampler


def of_the_batch(noise_model, x, levels):
    for i, now in enumerate(levels[:-1]):
        after = levels[i + 1]
        e = noise_model(x, now)
        x0 = (x - now.sigma * e) / now.alpha
        x = after.alpha * (x0 + 0.01 * x0.mean(0, keepdim=True)) + after.sigma * e
    return x


def test_what_is_left_of_another_generation_is_found():
    found = {c.name: c for c in judge_behaviour(find(stateful()), draws=False)}
    assert found["same result twice"].ok is False


def test_a_sample_that_depends_on_those_beside_it_is_found():
    found = {c.name: c for c in judge_behaviour(find(of_the_batch), draws=False)}
    assert found["any batch"].ok is False


def test_an_end_that_is_no_level_is_found():
    # Its first level has no signal, and is divided by it.
    assert checks("diffusers:IPNDMScheduler")["end"].ok is False


def test_a_sampler_that_draws_from_the_global_generator_is_found():
    assert checks("judged_ports:k_ancestral", draws=True)["explicit generators"].ok is False
    assert checks("diffusers:EulerAncestralDiscreteScheduler", draws=True)["explicit generators"].ok is True


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"use_karras_sigmas": True}, "Karras (rho = 7)"),
        ({"use_exponential_sigmas": True}, "equal in log-SNR"),
        ({"timestep_spacing": "trailing"}, "equal in timesteps"),
    ],
)
def test_spacings_have_their_names(options, name):
    levels = own_levels(find("diffusers:EulerDiscreteScheduler", **options), 10, Grid("model"))
    assert spacing_name(levels.asked) == name


def test_too_few_levels_have_no_spacing():
    assert spacing_name((Level(0.5, 0.5), Level(0.9, 0.1))) == "too few to say"


@pytest.mark.parametrize(("name", "right"), [("k_ancestral", True), ("k_ancestral_too_noisy", False)])
def test_the_law_of_a_sampler_that_draws(name, right):
    (found,) = judge_law(find(f"judged_ports:{name}"), (8, 64), targets=("cross-2d",), samples=2048)
    assert found.consistent is right


def cells(what, evaluations=(8,)):
    return judge_good(find(what), evaluations=evaluations)


def test_a_baseline_is_level_with_itself_and_no_nearer_than_the_best():
    for cell in cells("unipc-2@log-snr"):
        assert isinstance(cell, Good)
        twin = next(arm for arm in cell.baselines if arm.name.startswith("unipc-2@"))
        if twin.name == "unipc-2@log-snr":
            assert twin.ratio == pytest.approx(1, abs=1e-12)
            assert twin.verdict == "level"
        assert cell.own is not None
        assert cell.own.mean >= cell.baselines[0].mean * (1 - 1e-12)


def test_euler_is_further_than_the_best_and_its_controls_stand_beside_it():
    for cell in cells("euler@time"):
        assert cell.baselines[0].verdict == "further"
        assert cell.own is not None
        assert 0 < cell.flow <= cell.own.frechet


def test_a_number_that_a_sampler_cannot_spend_is_said():
    assert all("cannot spend 7 evaluations" in cell.reason for cell in cells("heun", (7,)))


def test_multistep_of_high_order_breaks_at_a_guidance_that_ddim_stands():
    found = judge_robust(find("ipndm-4"))
    assert found.breaks in GUIDANCE
    assert all(figure.other < 3 for figure in found.guidance)
    assert judge_robust(find("ddim")).breaks == float("inf")


def test_bfloat16_moves_a_sampler_more_than_float32():
    found = {figure.at: figure.value for figure in judge_robust(find("ddim")).precision}
    assert found["float32"] < 1e-5 < found["bfloat16"]


def test_one_thread_is_given_back():
    before = torch.get_num_threads()
    from image_exps.judge.run import judge

    judge("ddim", parts=("behaviour",))
    assert torch.get_num_threads() == before
