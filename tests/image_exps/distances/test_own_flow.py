"""Distances to a model's own flow: paired with DDIM, the median, and in distribution with the distance of two sets."""

import math

import pytest
import torch

from image_exps.distances import estimate
from image_exps.distances.endpoint import MedianEndpointDistance
from image_exps.distances.own_flow import FlowFrechet, FlowSliced, GainDistance, NearerDistance
from image_exps.distances.reference import Reference
from image_exps.problems.endpoints import Endpoints

D = 20
REFERENCE = Reference("model", (D,), real=torch.empty(0, D))


def normal(count, seed):
    return torch.randn(count, D, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def ends(x):
    return Endpoints(x, torch.full((len(x),), 0.01, dtype=torch.float64))


def generator():
    return torch.Generator().manual_seed(0)


def test_gain_and_share_nearer_are_paired_with_the_base():
    x = normal(4, 0)
    base = x + torch.tensor([0.1, 0.2, 0.3, 0.4]).double()[:, None]
    samples = x + torch.tensor([0.2, 0.1, 0.1, 0.4]).double()[:, None]
    assert GainDistance(REFERENCE, ends(x), base)(samples) == pytest.approx(1 - 0.8 / 1.0)
    assert NearerDistance(REFERENCE, ends(x), base)(samples) == pytest.approx((0 + 1 + 1 + 0.5) / 4)
    assert GainDistance(REFERENCE, ends(x), base)(base) == 0


def test_a_gain_that_all_samples_share_has_an_interval_of_no_width():
    x, off = normal(50, 1), normal(50, 2)
    found = estimate(GainDistance(REFERENCE, ends(x), x + off), x + off / 2, generator=generator(), repeats=50)
    assert found.value == pytest.approx(0.5)
    assert found.high - found.low < 1e-12
    assert math.isnan(found.floor)


def test_the_median_is_that_of_the_errors_and_of_weights():
    x = normal(5, 3)
    samples = x + torch.tensor([0.5, 0.1, 0.3, 0.2, 9.0]).double()[:, None]
    statistic = MedianEndpointDistance(REFERENCE, ends(x)).prepare(samples)
    assert statistic(torch.ones(5).double()) == pytest.approx(0.3)
    assert statistic(torch.tensor([0.0, 3, 1, 1, 0]).double()) == pytest.approx(0.1)


@pytest.mark.parametrize("kind", [FlowFrechet, FlowSliced])
def test_samples_of_the_flow_are_as_far_as_two_sets_of_it_and_others_further(kind):
    own, draws, other = (normal(600, seed) for seed in (4, 5, 6))
    distance = kind(REFERENCE, ends(own), draws)
    floor = float(distance.floor(600)[0])
    assert distance(own) == floor > 0
    # A third set of the same law: the distance of two sets varies by a few tenths of itself.
    assert distance(other) == pytest.approx(floor, rel=0.6)
    assert distance(1.5 * other) > 3 * floor
    found = estimate(distance, 1.5 * other, generator=generator(), repeats=50)
    assert found.low < found.value < found.high
    assert found.floor == floor
