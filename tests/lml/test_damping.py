"""What sets lambda: the three rules, their invariances, and their limits."""

import pytest
import torch

from lml.correction import LML, Memory
from lml.damping import DAMPING_MODES, damping_of, history_needed


def draw(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_absolute_and_relative_damping_are_what_they_say():
    e = draw(3, 2, 5, seed=1)
    assert damping_of(e, (), mode="absolute", damping=0.1) == 0.1
    expected = torch.stack([0.1 * (row * row).sum() for row in e])
    torch.testing.assert_close(damping_of(e, (), mode="relative", damping=0.1), expected, rtol=1e-14, atol=0)


def test_the_gain_is_the_share_of_the_last_change_that_came_true():
    e, p1, p2 = (draw(6, 40, seed=s) for s in (1, 2, 3))
    e[0] = p1[0] + 0.4 * (p1[0] - p2[0])  # gain 0.4
    e[1] = p1[1] + 3.0 * (p1[1] - p2[1])  # beyond: held at one
    e[2] = p1[2] - 0.5 * (p1[2] - p2[2])  # turned back: held at the least gain
    lam = damping_of(e, (p1, p2), mode="adaptive", damping=0.01)
    for i in range(6):
        last = p1[i] - p2[i]
        gain = min(max(float((e[i] - p1[i]) @ last / (last @ last)), 1e-6), 1.0)
        assert float(lam[i]) == pytest.approx(0.01 * float(e[i] @ e[i]) / gain, rel=1e-12)
    gains = 0.01 * (e * e).sum(1) / lam
    assert gains[:3].tolist() == pytest.approx([0.4, 1.0, 1e-6], rel=1e-12)


def test_without_two_past_noises_the_gain_is_one():
    e, p = draw(2, 9, seed=1), draw(2, 9, seed=2)
    for history in ((), (p,)):
        assert torch.equal(
            damping_of(e, history, mode="adaptive", damping=0.3), damping_of(e, (), mode="relative", damping=0.3)
        )


def test_degenerate_noise_gives_a_damping_that_is_positive_and_finite():
    zero = torch.zeros((1, 4), dtype=torch.float64)
    huge = torch.full((1, 4), 1e200, dtype=torch.float64)
    for e in (zero, huge):
        for history in ((), (zero, zero), (huge, zero), (zero, huge), (huge, -huge)):
            for mode in ("relative", "adaptive"):
                lam = damping_of(e, history, mode=mode, damping=1e-3)
                assert bool((torch.isfinite(lam) & (lam > 0)).all()), (e, history, mode)


@pytest.mark.parametrize("mode", ["relative", "adaptive"])
@pytest.mark.parametrize("scale", [1e-6, 1e5])
def test_the_turn_does_not_depend_on_the_scale_of_the_noise(mode, scale):
    e, p1, p2 = (draw(3, 30, seed=s) for s in (1, 2, 3))
    p1, p2 = e + 0.3 * p1, e + 0.5 * p2
    correction = LML(damping=0.02, mixing=0.01, damping_mode=mode)
    small, _ = correction.correct(e, Memory((p1, p2)))
    large, _ = correction.correct(scale * e, Memory((scale * p1, scale * p2)))
    # 1e-6 and 1e5 are not powers of two: a few roundings of sums of 30 terms.
    torch.testing.assert_close(large / scale, small, rtol=1e-12, atol=1e-13)


def test_the_default_turns_by_the_same_angle_in_any_dimension_and_absolute_damping_does_not():
    angles = {}
    for mode, damping in (("relative", 1e-3), ("absolute", 64e-3)):
        for d in (64, 65536):
            e, p = draw(1, d, seed=1), draw(1, d, seed=2)
            p = p - (p * e).sum() / (e * e).sum() * e
            p = e + 0.1 * p * e.norm() / p.norm()  # |p'| = |e|/10
            turned, _ = LML(damping, 5e-4, damping_mode=mode).correct(e, Memory((p,)))
            angles[mode, d] = float(torch.atan2((turned - e).norm(), (turned + e).norm()) * 2)
    # tan = zeta |p'|/|e| with zeta = kappa/(damping + kappa^2/100): a number.
    expected = torch.atan(torch.tensor(0.1 * 5e-4 / (1e-3 + (5e-4) ** 2 * 0.01), dtype=torch.float64))
    for d in (64, 65536):
        assert angles["relative", d] == pytest.approx(float(expected), rel=1e-10)
    assert angles["absolute", 65536] > 1.5 > 20 * angles["absolute", 64]  # nearly orthogonal, the most there is


def test_rank_m_turns_away_from_every_past_noise():
    e, p1, p2 = (draw(2, 12, seed=s) for s in (1, 2, 3))
    damping, mixing = 0.05, 0.02
    turned = LML(damping, mixing, rank=2).direction(e, (p1, p2))
    for i in range(2):  # the definition: a dense matrix
        lam = damping * e[i] @ e[i]
        V = torch.stack([mixing * p[i] + (1 - mixing) * e[i] for p in (p1, p2)], 1)
        r = torch.linalg.solve(lam * torch.eye(12, dtype=torch.float64) + V @ V.T, e[i])
        torch.testing.assert_close(turned[i], r * e[i].norm() / r.norm(), rtol=1e-11, atol=1e-12)
    one = LML(damping, mixing, rank=2).direction(e, (p1,))
    torch.testing.assert_close(one, LML(damping, mixing).direction(e, (p1,)), rtol=1e-14, atol=1e-15)


def test_the_history_that_a_rule_needs():
    assert [history_needed(mode, 1) for mode in DAMPING_MODES] == [1, 1, 2]
    assert [history_needed(mode, 4) for mode in DAMPING_MODES] == [4, 4, 4]


@pytest.mark.parametrize(
    ("mode", "damping", "message"),
    [
        ("trust", 0.1, "damping_mode must be one of absolute, relative, adaptive, got 'trust'"),
        ("relative", 0.0, "damping must be a finite positive number, got 0.0"),
        ("adaptive", float("nan"), "damping must be a finite positive number, got nan"),
    ],
)
def test_bad_arguments_are_refused_by_name(mode, damping, message):
    with pytest.raises(ValueError, match=message):
        damping_of(torch.ones((1, 2)), (), mode=mode, damping=damping)


def test_a_batch_of_numbers_is_served_in_float64():
    lam = damping_of(torch.tensor([2.0, 3.0]), (), mode="relative", damping=0.5)
    assert torch.equal(lam, torch.tensor([2.0, 4.5], dtype=torch.float64))


def test_the_gain_is_that_of_the_latest_changes_whatever_came_before():
    e, *history = (draw(2, 12, seed=s) for s in (1, 2, 3, 4))
    expected = damping_of(e, history[:2], mode="adaptive", damping=0.1)
    assert torch.equal(damping_of(e, history, mode="adaptive", damping=0.1), expected)


def test_a_gain_whose_squares_leave_the_range_of_float64_does_not_count_as_none():
    # <e - p1, p1 - p2> = 2e400 over |p1 - p2|^2 = 4e400: a gain of 1/2, between the least and one.
    e, p1, p2 = (torch.tensor([[x]], dtype=torch.float64) for x in (1.0, 1e200, 3e200))
    lam = float(damping_of(e, (p1, p2), mode="adaptive", damping=0.1))
    assert 0.1 <= lam <= 0.2
