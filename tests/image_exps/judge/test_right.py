"""Orders with known answers, and wrong ports that must be found by the name of their symptom."""

import math

import pytest
import torch

from image_exps.judge.order import fit_order
from image_exps.judge.right import chance, judge_right
from image_exps.judge.tableau import read_tableau
from image_exps.judge.what import find

COUNTS = (24, 48, 96, 192)
FEW = {"counts": COUNTS, "targets": ("cross-2d",)}


@pytest.mark.parametrize(
    ("what", "order"),
    [
        ("ddim", 1),
        ("heun", 2),
        ("dpm-solver++-2m", 2),
        ("dpm-solver-3m", 2),  # as published: its second difference has half of its weight
        ("dpm-solver++-3m", 2),
        ("unipc-2", 2),  # as published: its last step is of first order
        ("unipc-3", 2),
        ("diffusers:DDIMScheduler", 1),
        ("diffusers:HeunDiscreteScheduler", 2),
        ("diffusers:DPMSolverMultistepScheduler", 2),
        ('diffusers:UniPCMultistepScheduler{"final_sigmas_type": "sigma_min"}', 2),
        ("judged_ports:dpmpp_2m", 2),
        ("judged_ports:k_euler", 1),
    ],
)
def test_the_order_is_the_known_one(what, order):
    judged = find(what)
    assert not chance(judged)
    found = judge_right(judged, **FEW)
    assert found.consistent
    assert found.order.integer == order
    assert found.symptoms == ()


def test_a_claim_of_too_high_an_order_is_a_symptom():
    found = judge_right(find('diffusers:DPMSolverMultistepScheduler{"solver_order": 3}'), **FEW)
    assert found.order.integer == 2
    assert any("order lower than claimed" in each for each in found.symptoms)


@pytest.mark.parametrize(
    ("name", "symptom"),
    [
        ("sigma_for_alpha", "sigma for alpha: the next sample"),
        ("divided_by_sigma", "sigma for alpha: the data prediction is divided"),
        ("swapped_throughout", "sigma for alpha: the two have changed places"),
        ("off_by_one", "off by one level"),
        ("k_euler_off_by_one", "off by one level"),
        ("history_not_shifted", "history not shifted"),
        ("history_overwritten", "history not used"),
    ],
)
def test_a_wrong_port_is_found_by_the_name_of_its_symptom(name, symptom):
    found = judge_right(find(f"judged_ports:{name}"), **FEW)
    assert symptom in found.symptoms[0]


@pytest.mark.parametrize("name", ["sigma_for_alpha", "divided_by_sigma", "history_not_shifted"])
def test_these_wrong_ports_do_not_tend_to_the_flow(name):
    assert judge_right(find(f"judged_ports:{name}"), **FEW).consistent is False


def test_lms_is_judged_before_it_extrapolates_into_sigma_zero():
    found = judge_right(find("diffusers:LMSDiscreteScheduler"), **FEW)
    assert found.consistent
    assert found.order.low > 1.5


def test_coefficients_are_read_off_a_black_box():
    # DPM-Solver++ 2M: x' = (sigma'/sigma) x - alpha' (e^-h - 1) (m_k + (m_k - m_{k-1})/(2 r)).
    found = read_tableau(find("judged_ports:dpmpp_2m"), 6)
    assert found is not None
    assert found.form == "data"
    levels = found.levels
    for k in range(1, 5):
        after, now, before = levels[k + 1], levels[k], levels[k - 1]
        h = after.half_log_snr - now.half_log_snr
        weight = 1 / (2 * (now.half_log_snr - before.half_log_snr) / h)
        gain = -after.alpha * math.expm1(-h)
        assert found.linear[k] == pytest.approx(after.sigma / now.sigma, rel=1e-12)
        assert found.weights[k, k] == pytest.approx((1 + weight) * gain, rel=1e-11)
        assert found.weights[k, k - 1] == pytest.approx(-weight * gain, rel=1e-11)
        assert found.used(k) == (k - 1, k)


def test_lml_is_not_linear_in_its_evaluations():
    assert read_tableau(find("ddim/lml"), 6) is None


@pytest.mark.parametrize(
    ("what", "form", "history"), [("judged_ports:dpmpp_2m", "data", 1), ("ddim", "data", 0), ("ddim/lml", "", -1)]
)
def test_what_is_integrated_and_how_far_back_it_looks(what, form, history):
    found = judge_right(find(what), **FEW)
    assert (found.form, found.history) == (form, history)


def test_what_draws_is_told_apart():
    assert chance(find("judged_ports:k_ancestral"))
    assert chance(find("diffusers:EulerAncestralDiscreteScheduler"))


def errors(steps, power, extra=0.0, samples=16):
    generator = torch.Generator().manual_seed(1)
    c0, c1 = (torch.randn((samples, 3), generator=generator, dtype=torch.float64) for _ in range(2))
    return [h**power * (c0 + h * c1) + extra for h in steps]


STEPS = [0.1 / 2**k for k in range(6)]


@pytest.mark.parametrize("power", [1, 2, 3])
def test_a_fitted_order_holds_the_true_one(power):
    found = fit_order(errors(STEPS, power), STEPS, 1e-14)
    assert found.integer == power
    assert found.low <= power <= found.high


def test_errors_that_are_rounding_have_no_order():
    found = fit_order(errors(STEPS, 2), STEPS, 1.0)
    assert "rounding" in found.reason
    assert found.integer is None


def test_the_range_ends_above_rounding():
    found = fit_order(errors(STEPS, 3, extra=1e-8), STEPS, 1e-8)
    assert found.last < len(STEPS) - 1
    assert found.integer == 3


def test_errors_that_stall_have_no_order_of_convergence():
    found = fit_order(errors(STEPS, 2, extra=0.05), STEPS, 1e-14)
    assert found.reason or found.high < 1


@pytest.mark.parametrize(
    ("few", "said"), [([1.0, 0.5], "at least four"), ([1.0, 0.5, 0.5, 0.1], "must be positive and fall")]
)
def test_a_fit_refuses_steps_that_are_none(few, said):
    with pytest.raises(ValueError, match=said):
        fit_order([torch.ones((2, 2))] * len(few), few, 0.0)


def test_a_symptom_fails_the_requirement_of_none() -> None:
    from image_exps.judge.verdict import Verdict

    right = {"consistent": True, "symptoms": ["history not shifted"]}
    assert Verdict({"parts": {"right": right}}).meets("without-symptoms") == (False, "it is not")
    assert Verdict({"parts": {"right": {**right, "symptoms": []}}}).meets("without-symptoms") == (True, "it is")
    assert Verdict({"parts": {}}).meets("without-symptoms") == (False, "not found out")
