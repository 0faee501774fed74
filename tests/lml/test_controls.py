"""The controls of claim Q2 have what they are named for, and nothing else."""

import pytest
import torch

from lml.controls import ElementNoise, Extrapolation, LevelShift, MatchedNoise, NormOnly, OtherSample, RandomTurn
from lml.correction import LML, Memory

E = torch.randn((4, 50), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
P = E + 0.3 * torch.randn((4, 50), generator=torch.Generator().manual_seed(2), dtype=torch.float64)
MEMORY = Memory((P,))
STRONG = LML(damping=0.02, mixing=0.015)


def correct(correction, e=E, memory=MEMORY, progress=0.0):
    return correction.correct(e, memory, progress)[0]


def angle(a, b):
    a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
    return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


def generators(seeds):
    return [torch.Generator().manual_seed(s) for s in seeds]


def test_extrapolation_has_the_direction_of_lml_and_its_own_norm():
    lml, control = correct(STRONG), correct(Extrapolation(STRONG))
    assert float(angle(lml, control).max()) < 1e-14
    D = P - E
    lam, kappa = 0.02 * (E * E).sum(1), 0.015
    cross = (E * D).sum(1)
    eta = kappa * ((E * E).sum(1) + kappa * cross) / (lam + kappa * cross + kappa**2 * (D * D).sum(1))
    torch.testing.assert_close(control, E - eta[:, None] * D, rtol=1e-13, atol=1e-13)
    assert float(((control.norm(dim=1) - E.norm(dim=1)) / E.norm(dim=1)).abs().min()) > 1e-3


def test_extrapolation_and_norm_only_share_the_norm_and_nothing_else():
    control, extrapolated = correct(NormOnly(STRONG)), correct(Extrapolation(STRONG))
    torch.testing.assert_close(control.norm(dim=1), extrapolated.norm(dim=1), rtol=1e-14, atol=0)
    assert float(angle(control, E).max()) < 1e-15


def test_random_turn_has_the_angle_and_norm_of_lml_in_another_direction():
    lml, control = correct(STRONG), correct(RandomTurn(STRONG, generators(range(4))))
    torch.testing.assert_close(angle(control, E), angle(lml, E), rtol=1e-12, atol=0)
    torch.testing.assert_close(control.norm(dim=1), E.norm(dim=1), rtol=1e-14, atol=0)
    # The cosine of the two turns is that of a random direction in 49 dimensions: above 0.8 with probability 1e-12.
    turns = [t - (t * E).sum(1, keepdim=True) / (E * E).sum(1, keepdim=True) * E for t in (lml, control)]
    assert float((turns[0] * turns[1]).sum(1).abs().div(turns[0].norm(dim=1) * turns[1].norm(dim=1)).max()) < 0.8


def test_element_noise_has_the_stated_size_and_the_norm_of_the_noise():
    e = torch.randn((20, 5000), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    control = correct(ElementNoise(0.2, torch.Generator().manual_seed(4)), e, Memory())
    torch.testing.assert_close(control.norm(dim=1), e.norm(dim=1), rtol=1e-13, atol=0)
    # tan(angle) ~ 0.2 sqrt(sum e^2 z^2/sum e^2): a relative spread of about sqrt(2 * 3/5000)/2 = 0.017 a sample, and
    # 0.004 in the mean; the part along e, of order 0.2/sqrt(5000), averages out.
    assert float(torch.tan(angle(control, e)).mean()) == pytest.approx(0.2, rel=5 * 0.004)


def test_the_change_of_another_sample_is_added_at_constant_norm():
    change = correct(STRONG) - E
    changed = E + change.roll(1, 0)
    expected = changed * (E.norm(dim=1) / changed.norm(dim=1))[:, None]
    torch.testing.assert_close(correct(OtherSample(STRONG)), expected)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_shift_of_the_level_lies_along_the_noise_and_has_the_size_of_lmls_change(sign):
    shifted = correct(LevelShift(STRONG, sign))
    size = (correct(STRONG) - E).norm(dim=1) / E.norm(dim=1)
    torch.testing.assert_close(shifted, E * (1 + sign * size)[:, None])


def test_matched_noise_changes_the_noise_by_as_much_as_lml_does():
    gen = torch.Generator().manual_seed(5)
    e = torch.randn((20, 5000), generator=gen, dtype=torch.float64)
    # Previous noises further and further away: the size is each sample's own.
    previous = e + torch.linspace(0.05, 0.6, 20)[:, None] * torch.randn(e.shape, generator=gen, dtype=torch.float64)
    lml, control = (correct(c, e, Memory((previous,))) for c in (STRONG, MatchedNoise(STRONG, generators(range(20)))))
    torch.testing.assert_close(control.norm(dim=1), e.norm(dim=1), rtol=1e-13, atol=0)
    size = (lml - e).norm(dim=1) / e.norm(dim=1)
    assert float(size.max() / size.min()) > 5
    # LML's change at constant norm is the chord 2 sin(angle/2); the noise of that size makes the tangent of its angle.
    # The spread a sample is that of the test above, sqrt(2 * 3/5000)/2 = 0.017; five of it bound the worst of twenty.
    torch.testing.assert_close(torch.tan(angle(control, e)), size, rtol=5 * 0.017, atol=0)


@pytest.mark.parametrize(
    "make", [lambda g: RandomTurn(STRONG, g), lambda g: ElementNoise(0.2, g), lambda g: MatchedNoise(STRONG, g)]
)
def test_one_generator_a_sample_makes_the_result_independent_of_the_batch(make):
    whole = correct(make(generators(range(4))))
    for i in range(4):
        alone = correct(make(generators([i])), E[i : i + 1], Memory((P[i : i + 1],)))
        torch.testing.assert_close(alone[0], whole[i], rtol=1e-13, atol=1e-13)
    assert not torch.equal(whole, correct(make(generators(range(4, 8)))))


@pytest.mark.parametrize("kind", [Extrapolation, NormOnly, RandomTurn, MatchedNoise])
def test_a_control_acts_where_its_lml_does(kind):
    windowed = kind(LML(damping=0.02, mixing=0.015, start=0.5))
    assert correct(windowed, progress=0.4) is E
    assert not torch.equal(correct(windowed, progress=0.5), E)
    assert correct(kind(STRONG), memory=Memory()) is E
    assert correct(kind(LML(mixing=0))) is E
    assert correct(kind(STRONG), E.half(), Memory((P.half(),))).dtype == torch.float16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Extrapolation(LML(rank=2)), "rank must be 1 for Extrapolation, got 2"),
        (lambda: NormOnly(LML(rank=3)), "rank must be 1 for NormOnly, got 3"),
        (lambda: NormOnly(LML(norm="extrapolated")), "norm must be 'kept' for NormOnly, got 'extrapolated'"),
        (lambda: ElementNoise(0.0), "size must be a finite positive number, got 0.0"),
        (lambda: ElementNoise(float("inf")), "size must be"),
        (lambda: correct(ElementNoise(0.2, generators([1]))), "generator must be one or one a sample, 4, got 1"),
        (lambda: correct(RandomTurn(STRONG, generators([1]))), "generator must be one or one a sample, 4, got 1"),
    ],
)
def test_bad_arguments_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()
