"""How often intervals hold the mean distance of as many samples, far from the floor and at it."""

import numpy as np
import pytest
import torch

import toy
from image_exps.distances import (
    W2,
    Coverage,
    EnergyDistance,
    FrechetDistance,
    FrechetPCA,
    NegativeLogLikelihood,
    SlicedW2,
    bootstrap,
)
from image_exps.distances.base import centred_interval
from toy import GaussianMixture

SIMULATIONS, REPEATS = 200, 100


def normal(d):
    return GaussianMixture(torch.ones(1), torch.zeros(1, d), torch.ones(1, d))


def coverage(distance, law, scale, n):
    """Shares of centred and of percentile intervals of 95 % that hold the mean of 400 other sets."""
    g = torch.Generator().manual_seed(1)
    truth = np.mean([distance(scale * law.sample(n, generator=g)) for _ in range(400)])
    hits = np.zeros(2)
    for _ in range(SIMULATIONS):
        (value,), drawn = bootstrap(distance, [scale * law.sample(n, generator=g)], repeats=REPEATS, generator=g)
        centred = centred_interval(value, drawn[:, 0], 0.95)
        low, high = np.quantile(drawn[:, 0], (0.025, 0.975))
        hits += centred.low <= truth <= centred.high, low <= truth <= high
    return hits / SIMULATIONS


# 200 intervals of 95 %: three standard deviations are 5 %. One of 100 resamples is itself 1 to 2 % too narrow.
LEAST = 0.88


def test_an_interval_of_few_normal_dimensions_covers_as_it_says():
    assert LEAST <= coverage(FrechetDistance(normal(4)), normal(4), 1.5, 100)[0] <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1.3])
@pytest.mark.parametrize(
    ("make", "name", "n"),
    [
        (FrechetDistance, "gauss-2d", 100),
        (lambda law: SlicedW2(law, 16), "ring-2d", 100),
        (W2, "ring-2d", 100),
        (EnergyDistance, "ring-2d", 100),
        (NegativeLogLikelihood, "ring-2d", 100),
        (Coverage, "ring-2d", 100),
    ],
)
def test_intervals_cover_far_from_the_floor_and_at_it(make, name, n, scale):
    law = toy.target(name)
    assert coverage(make(law), law, scale, n)[0] >= LEAST


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_intervals_cover_with_fewer_samples_than_components_ask_for(scale):
    assert coverage(FrechetPCA(normal(60), 60), normal(60), scale, 70)[0] >= LEAST


class Anew(FrechetDistance):
    """A Frechet distance whose resamples are computed anew."""

    def _prepare(self, x):
        first = super()._prepare
        return lambda w: first(x.repeat_interleave(w.long(), 0))(w.new_ones(len(x)))


def test_percentiles_of_resamples_computed_anew_miss_the_mean():
    law = normal(4)
    centred, percentile = coverage(Anew(law), law, 1.0, 100)
    assert centred >= LEAST
    assert percentile < 0.8
