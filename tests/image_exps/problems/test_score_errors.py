"""Imperfect scores: an error has the size and structure that were asked for, and belongs to a sample, not a batch."""

import math
from dataclasses import replace

import pytest
import torch

from image_exps.problems.score_errors import KINDS, Imperfect, _cosines
from lml.samplers import Level
from toy import noise_model, noise_schedule, target
from toy.levels import level_at

LEVEL = level_at(noise_schedule("vp-linear"), 0.4)
PICTURE = (3, 8, 8)


def gaussian(x, level):
    """The exact noise prediction of a standard normal: ``sigma x/(alpha^2 + sigma^2)``."""
    return level.sigma * x / (level.alpha**2 + level.sigma**2)


def spoiled(kind, size=0.1, shape=PICTURE, seed=3, first=0):
    return Imperfect(gaussian, kind, size, seed, shape, first)


def samples(count, shape=PICTURE, seed=0, dtype=torch.float64):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def rms(x):
    return x.flatten(1).square().mean(1).sqrt()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [PICTURE, (1, 28, 28), (2,), (3,), (16,), (1, 1, 3)])
@pytest.mark.parametrize("size", [0.01, 0.3])
def test_every_sample_has_an_error_of_exactly_the_size_asked_for(kind, shape, size):
    x = 5 * samples(9, shape)
    exact = gaussian(x, LEVEL)
    measured = rms(spoiled(kind, size, shape)(x, LEVEL) - exact) / rms(exact)
    # eps' - eps loses |eps|/|error| = 1/size of the digits of eps'; sums over d numbers another sqrt(d) at most.
    bound = torch.finfo(torch.float64).eps * math.sqrt(math.prod(shape)) * 10 / size
    torch.testing.assert_close(measured, torch.full_like(measured, size), rtol=bound, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_of_size_zero_is_none(kind):
    x = samples(4)
    assert torch.equal(spoiled(kind, 0.0)(x, LEVEL), gaussian(x, LEVEL))


@pytest.mark.parametrize("kind", KINDS)
def test_the_error_does_not_depend_on_how_samples_are_batched(kind):
    x = samples(7)
    whole = spoiled(kind)(x, LEVEL)
    parts = torch.cat([replace(spoiled(kind), first=i)(x[i : i + 3], LEVEL) for i in range(0, 7, 3)])
    # The products of the smooth error may be summed in another order: a few last places of numbers of order 1.
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-14)


def test_the_white_error_belongs_to_sample_and_level_and_not_to_x():
    made, x, y = spoiled("white"), samples(3), samples(3, seed=1)
    direction = [(e := made(v, LEVEL) - gaussian(v, LEVEL)) / rms(e)[:, None, None, None] for v in (x, y)]
    torch.testing.assert_close(direction[0], direction[1], rtol=0, atol=1e-12)
    other = made(x, Level(LEVEL.alpha, LEVEL.sigma * 1.01)) - made(x, LEVEL)
    assert rms(other - gaussian(x, Level(LEVEL.alpha, LEVEL.sigma * 1.01)) + gaussian(x, LEVEL)).min() > 0.02
    rounded = Level(LEVEL.alpha * (1 + 2**-50), LEVEL.sigma)
    torch.testing.assert_close(made(x, rounded), made(x, LEVEL), rtol=1e-13, atol=1e-13)


def test_the_white_errors_of_samples_levels_and_seeds_are_independent():
    x = torch.ones(40, 1, 16, 16, dtype=torch.float64)
    levels = [level_at(noise_schedule("vp-linear"), t) for t in (0.2, 0.5, 0.8)]
    errors = torch.cat(
        [spoiled("white", 1.0, (1, 16, 16), seed)(x, v) - gaussian(x, v) for v in levels for seed in (0, 1)]
    ).flatten(1)
    unit = errors / errors.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T).tril(-1).abs()
    # Cosines of independent directions in d = 256 deviate by 1/16; of 28,680 pairs none beyond 6 (6e-5 expected).
    assert cosines.max() < 6 / 16


def test_the_white_error_is_white():
    x = torch.ones(300, 1, 8, 8, dtype=torch.float64)
    error = (spoiled("white", 1.0, (1, 8, 8))(x, LEVEL) - gaussian(x, LEVEL)).flatten(1)
    power = ((error @ torch.kron(_cosines(8), _cosines(8)).T) ** 2).mean(0)
    # Means over 300 samples of squared normals: relative deviation sqrt(2/300), of 64 none beyond 5.
    assert (power / power.mean() - 1).abs().max() < 5 * math.sqrt(2 / 300)


def test_the_smooth_error_meets_the_same_x_again():
    x = samples(5)
    again = torch.cat((samples(2, seed=9), x))
    torch.testing.assert_close(spoiled("smooth")(again, LEVEL)[2:], spoiled("smooth")(x, LEVEL), rtol=0, atol=1e-14)


@pytest.mark.parametrize("shape", [PICTURE, (16,)])
def test_the_smooth_error_changes_at_first_order_in_x_and_level(shape):
    made, x, step = spoiled("smooth", 1.0, shape), samples(4, shape), samples(4, shape, seed=5)
    error = lambda v, level: made(v, level) - gaussian(v, level)
    rates = []
    for h in (1e-3, 5e-4):
        ahead, behind = (error(x + s * h * step, LEVEL) for s in (1, -1))
        rates.append((ahead - behind) / (2 * h))
    # Central differences of a function with third derivatives of order 1: they agree to h^2, here with a margin of 100.
    torch.testing.assert_close(rates[0], rates[1], rtol=0, atol=1e-4)
    near = Level(LEVEL.alpha, LEVEL.sigma * (1 + 1e-6))
    assert (error(x, near) - error(x, LEVEL)).abs().max() < 1e-4


def test_the_smooth_error_of_pictures_has_low_frequencies_alone():
    shape = (1, 16, 16)
    error = spoiled("smooth", 1.0, shape)(samples(20, shape), LEVEL) - gaussian(samples(20, shape), LEVEL)
    power = (_cosines(16) @ error[:, 0] @ _cosines(16).T).square().mean(0)
    # 64 modes of the quarter disc p^2 + q^2 < r^2 reach r^2 < 4 * 64/pi + O(r), below 10^2.
    p, q = torch.meshgrid(torch.arange(16), torch.arange(16), indexing="ij")
    assert power[p * p + q * q >= 100].max() < 1e-24
    assert power[p * p + q * q < 36].min() > 1e-3


def test_the_smooth_error_ignores_what_the_low_pass_removes():
    shape = (1, 16, 16)
    x = samples(3, shape)
    finest = torch.outer(_cosines(16)[15], _cosines(16)[15])
    made = Imperfect(lambda v, level: torch.ones_like(v), "smooth", 1.0, 0, shape)
    torch.testing.assert_close(made(x + 3 * finest, LEVEL), made(x, LEVEL), rtol=0, atol=1e-13)


def test_the_bias_shrinks_the_noise_of_an_exact_target():
    model = noise_model(target("ring-2d"))
    x = samples(6, (2,))
    torch.testing.assert_close(Imperfect(model, "bias", 0.2, 0, (2,))(x, LEVEL), 0.8 * model(x, LEVEL))


@pytest.mark.parametrize("kind", KINDS)
def test_flat_samples_and_single_precision_are_taken(kind):
    x = samples(4, dtype=torch.float32)
    made = spoiled(kind)(x, LEVEL)
    assert made.dtype == torch.float32
    # Single precision: phases of up to 30 rounded at 6e-8 each, times the size 0.1 of the error.
    torch.testing.assert_close(made.double(), spoiled(kind)(x.double(), LEVEL), rtol=0, atol=2e-5)
    assert torch.equal(spoiled(kind)(x.flatten(1), LEVEL), made.flatten(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "pink"}, "kind must be one of white, smooth, bias, got 'pink'"),
        ({"size": -0.1}, "size must be a finite number of at least 0, got -0.1"),
        ({"size": math.nan}, "size must be"),
        ({"seed": -1}, "seed must be an integer"),
        ({"seed": True}, "seed must be an integer"),
        ({"first": 1.5}, "first must be an integer"),
        ({"shape": (3, 8)}, "shape must be"),
        ({"shape": (1,)}, "shape must be"),
        ({"shape": (0, 8, 8)}, "shape must be"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(changes, message):
    arguments = {"model": gaussian, "kind": "smooth", "size": 0.1, "seed": 0, "shape": PICTURE, "first": 0}
    with pytest.raises(ValueError, match=message):
        Imperfect(**(arguments | changes))


def test_samples_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"x must have shape \(B, 3, 8, 8\), got \(2, 3, 9, 9\)"):
        spoiled("white")(samples(2, (3, 9, 9)), LEVEL)
