"""The distances of samples against analytic cases, invariances and other implementations; what is refused."""

import math

import numpy as np
import ot
import pytest
import torch

import toy
from image_exps.distances import (
    DISTANCES,
    MMD,
    W2,
    Colourfulness,
    Coverage,
    Density,
    EndpointDistance,
    EnergyDistance,
    ModeCoverage,
    NegativeLogLikelihood,
    PooledEndpointDistance,
    SlicedW2,
    difference,
    distances,
    estimate,
    reference_of,
)
from image_exps.distances.colourfulness import colourfulness
from image_exps.problems.endpoints import flow_endpoints, rms
from toy import DataMixture, GaussianMixture, Pictures

TWO = toy.target("ring-2d")


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draws(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=generator(seed))


def pictures(count, *shape):
    return Pictures(draws(count, *shape).clamp(-1, 1).float(), ("",) * count, "noise")


def ones(n):
    return torch.ones(n, dtype=torch.float64)


def test_the_sliced_distance_is_pots_and_that_of_repeated_samples_in_a_resample():
    x, distance = draws(300, 2), SlicedW2(TWO, 20)
    y = distance.reference.fixed(2048)
    expected = ot.sliced_wasserstein_distance(x.numpy(), y.numpy(), projections=distance._theta.numpy())
    assert distance(x) == pytest.approx(expected, rel=1e-10)
    rows = torch.randint(300, (300,), generator=generator(1))
    assert distance.prepare(x)(torch.bincount(rows, minlength=300).double()) == pytest.approx(distance(x[rows]))


def test_a_shift_of_the_reference_is_its_length_in_w2_and_the_root_mean_square_of_its_slices():
    shift = torch.tensor([3.0, -4.0], dtype=torch.float64)
    w2, sliced = W2(TWO), SlicedW2(TWO, 50)
    assert w2(w2.reference.fixed(1024) + shift) == pytest.approx(5, rel=1e-9)
    expected = float((shift @ sliced._theta).square().mean().sqrt())
    assert sliced(sliced.reference.fixed(2048) + shift) == pytest.approx(expected, rel=1e-12)


def test_w2_of_other_weights_lies_on_its_tangent():
    # W2^2 is convex in the weights: the tangent lies below, and touches where they are equal.
    x, distance = 1.5 * draws(60, 2), W2(TWO)
    f, y = distance.prepare(x), distance._fixed
    assert f(ones(60)) == pytest.approx(distance(x))
    cost = ot.dist(x.numpy(), y.numpy())
    gaps = []
    for t in (0.2, 0.02):
        w = 1 + t * torch.cos(torch.arange(60.0).double() * 2 * math.pi / 60)
        exact = ot.emd2((w / 60).numpy(), np.full(len(y), 1 / len(y)), cost)
        gaps.append(exact - f(w) ** 2)
    assert gaps[0] >= -1e-9
    assert -1e-9 <= gaps[1] < gaps[0] / 5  # second order: a tenth of the step


def test_too_many_samples_for_w2_are_refused_with_the_distance_that_takes_them():
    with pytest.raises(ValueError, match="samples must be at most 1024 for w2, got 1025; sliced-w2"):
        W2(TWO)(torch.zeros(1025, 2))


@pytest.mark.parametrize("kind", [EnergyDistance, MMD])
def test_kernel_distances_are_means_over_pairs_of_different_samples(kind):
    x, distance = draws(40, 2), kind(TWO)
    y = distance.reference.fixed(2048)

    def k(a, b):
        r = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        return -r if kind is EnergyDistance else torch.exp(-r.square() / (2 * distance.bandwidth**2))

    def off_diagonal(m):
        return (m.sum() - m.trace()) / (len(m) * (len(m) - 1))

    expected = off_diagonal(k(x, x)) - 2 * k(x, y).mean() + off_diagonal(k(y, y))
    # |x - y|^2 by one product loses 1e-15, and its root 3e-8 where points nearly meet.
    assert distance(x) == pytest.approx(float(expected), abs=1e-7)


@pytest.mark.parametrize("kind", [EnergyDistance, MMD])
def test_kernel_distances_are_unbiased_at_the_floor_and_see_a_shift(kind):
    distance = kind(TWO)
    floor = distance.floor(200)
    # The error of 20 sets, and the reference's own, which is that of ten times as many samples: 3 (1/20 + 1/10)^{1/2}.
    assert abs(floor.mean()) < 1.2 * floor.std(ddof=1)
    shifted = distance(TWO.sample(200, generator=generator(5)) + 1)
    assert shifted > floor.mean() + 10 * floor.std(ddof=1)


def test_the_median_bandwidth_is_that_of_the_reference():
    distance = MMD(TWO)
    apart = torch.pdist(distance.reference.fixed(2048))
    assert distance.bandwidth == pytest.approx(float(apart.median()), rel=1e-9)


def test_the_likelihood_of_exact_normal_samples_is_the_entropy():
    law = GaussianMixture(torch.ones(1), torch.zeros(1, 5), torch.full((1,), 4.0))
    distance = NegativeLogLikelihood(law)
    entropy = 2.5 * math.log(2 * math.pi * math.e * 4)
    floor = distance.floor(4000)
    assert floor.mean() == pytest.approx(entropy, abs=4 * math.sqrt(2.5 / 4000 / len(floor)))
    assert distance(torch.zeros(3, 5)) == pytest.approx(2.5 * math.log(2 * math.pi * 4), rel=1e-12)
    with pytest.raises(ValueError, match="must have an exact distribution"):
        NegativeLogLikelihood(reference_of(pictures(10, 1, 8, 8)))


def test_mode_coverage_counts_modes_that_get_half_of_their_due():
    ring = ModeCoverage(TWO)
    centres = TWO.means.repeat_interleave(4, 0)
    assert ring(centres) == 1
    # Eight modes, 32 samples: due 4. Mode 0 keeps one sample, the rest of it goes to mode 1.
    moved = centres.clone()
    moved[1:4] = TWO.means[1]
    assert ring(moved) == 7 / 8
    moved[1] = TWO.means[0]
    assert ring(moved) == 1  # two of four
    data = DataMixture(draws(50, 3), 0.01).diffuse(0.5, 0.01)
    points = ModeCoverage(data)
    assert points.modes(0.5 * draws(50, 3)[7:9] + 0.001).tolist() == [7, 8]
    assert points(data.alpha * data.points[:20]) == 20 / 50
    with pytest.raises(ValueError, match="must be a mixture"):
        ModeCoverage(reference_of(pictures(10, 1, 8, 8)))


def test_a_sample_counts_for_the_modes_and_balls_that_it_alone_reaches():
    data = DataMixture(3 * draws(30, 2), 0.1)
    x = data.points[[0, 1, 1, 2]]
    f = ModeCoverage(data).prepare(x)
    assert f(torch.tensor([0.0, 1, 1, 2]).double()) == pytest.approx(3 / 30)  # loses mode 0, gains one for mode 2
    assert f(torch.tensor([1.0, 0, 2, 1]).double()) == 3 / 30  # mode 1 is held by the other
    balls = Coverage(data)
    g = balls.prepare(x[[0, 1, 3]])
    without = balls(x[[1, 3]])
    assert g(torch.tensor([0.0, 1, 1]).double()) == pytest.approx(without)


def test_density_and_coverage_are_those_of_brute_force():
    reference = reference_of(pictures(60, 1, 3, 3))
    y, x = reference.fixed(2048), 0.7 * draws(20, 9, seed=4)
    apart = torch.cdist(y, y).sort(1).values[:, 5]
    inside = torch.cdist(x, y) <= apart
    assert Density(reference)(x) == pytest.approx(float(inside.sum()) / (5 * 20))
    assert Coverage(reference)(x) == pytest.approx(float(inside.any(0).double().mean()))
    with pytest.raises(ValueError, match="more than 5 reference samples"):
        Density(reference_of(pictures(10, 1, 3, 3)))(x)


def test_colourfulness_is_zero_for_grey_and_the_formula_by_hand():
    grey = draws(2, 1, 4, 4).expand(-1, 3, -1, -1)
    # The weights of a half are exact: grey has rg = yb = 0, up to rounding of pixels of 255.
    assert colourfulness(grey).max() < 1e-12
    red = torch.tensor([1.0, -1, -1], dtype=torch.float64).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    assert float(colourfulness(red)) == pytest.approx(0.3 * math.hypot(255, 127.5))
    halves = red.clone()
    halves[..., 0] = -1  # a half of the pixels is black: spread as large as the mean
    assert float(colourfulness(halves)) == pytest.approx(1.3 * math.hypot(127.5, 63.75))
    assert float(colourfulness(3 * red)) == float(colourfulness(red))
    with pytest.raises(ValueError, match="must have colour pictures"):
        Colourfulness(pictures(10, 1, 8, 8))


def test_the_endpoint_distance_is_the_laboratorys_and_its_floor_the_error_of_the_endpoints():
    x = draws(6, 2)
    ends = flow_endpoints(toy.noise_model(TWO), x, 40)
    start, end = toy.noise_levels(toy.noise_schedule("vp-linear"), 1, times=(1.0, 1e-3))
    truth = toy.probability_flow(TWO, x, start, end, rtol=1e-9, atol=1e-10)
    # The refinement is an upper estimate of the error that the endpoints have.
    assert float(rms(ends.exact - truth).mean()) < float(ends.refinement.mean()) < 0.05
    distance = EndpointDistance(TWO, ends)
    assert distance(ends.exact + 0.3) == pytest.approx(0.3, rel=1e-12)
    found = estimate(distance, ends.exact + 0.3, generator=generator(), repeats=5)
    assert found.floor == found.floor_low == pytest.approx(float(ends.refinement.mean()))
    pooled = PooledEndpointDistance(TWO, ends)
    off = torch.linspace(0, 1, 6, dtype=torch.float64)[:, None]  # one further than the other
    assert pooled(ends.exact + off) == pytest.approx(float(off.square().mean().sqrt()), rel=1e-12)
    assert distance(ends.exact + off) == pytest.approx(0.5, rel=1e-12)
    assert pooled.floor(6)[0] >= distance.floor(6)[0]  # a root mean square is never below the mean
    with pytest.raises(ValueError, match="those of the 6 noises of the endpoints, got 5"):
        distance(ends.exact[:5])
    for bad, name in ((x[:0], "x must hold"), (x, "steps must be")):
        with pytest.raises(ValueError, match=name):
            flow_endpoints(toy.noise_model(TWO), bad, 3)


# Those that need larger pictures or colours have tests of their own.
@pytest.mark.parametrize("name", sorted(DISTANCES.keys() - {"colourfulness", "FD-EffNetLite0"}))
def test_every_distance_ignores_the_order_of_samples_and_refuses_bad_ones(name):
    law = toy.target("random-64d")
    distance = distances(law, which=[name])[name]
    assert distance.name == name
    x = law.sample(80, generator=generator())
    value = distance(x)
    # Sums in another order; the square roots of the energy distance lose half of the digits.
    assert distance(x.flip(0)) == pytest.approx(value, rel=1e-6, abs=1e-8)
    assert distance(x.view(80, 8, 8)) == value
    with pytest.raises(ValueError, match=r"samples must be .*got 0"):
        distance(x[:0])
    with pytest.raises(ValueError, match=r"samples must be a tensor of shape \(n, 64\)"):
        distance(x[:, :9])
    x[[2, 5], 0] = torch.tensor([math.nan, math.inf]).double()
    with pytest.raises(ValueError, match="samples must be finite, 2 of 80 are not: 2, 5"):
        distance(x)


def test_distances_that_make_sense_are_chosen_and_others_refused_with_what_they_need():
    plane = set(distances(TWO))
    assert plane == {"frechet", "sliced-w2", "w2", "energy", "mmd", "nll", "mode-coverage", "coverage", "density"}
    colour = set(distances(pictures(10, 3, 32, 32)))
    assert colour >= {"FD-EffNetLite0", "frechet-pca", "colourfulness"}
    assert not colour & {"frechet", "nll", "mode-coverage"}
    with pytest.raises(ValueError, match=r"which must be of frechet, .*, got 'fid'"):
        distances(TWO, which=["fid"])
    with pytest.raises(ValueError, match="'nll' does not: it needs an exact distribution"):
        distances(pictures(10, 3, 32, 32), which=["nll"])
    with pytest.raises(ValueError, match="'endpoint-rmse' does not: it needs endpoints"):
        distances(TWO, which=["endpoint-rmse"])
    with pytest.raises(ValueError, match="target must be a Target"):
        distances("digits")


def test_an_estimate_has_its_floor_at_equal_n_and_a_difference_is_paired():
    distance = distances(TWO, which=["frechet"])["frechet"]
    x = 1.3 * TWO.sample(150, generator=generator())
    found = estimate(distance, x, generator=generator(1))
    assert found.low < found.value < found.high
    assert found.floor_low < found.floor < found.floor_high < found.low
    assert found.count == 150
    again = estimate(distance, x, generator=generator(1), floor=False)
    assert again[:3] == found[:3]
    assert math.isnan(again.floor)
    assert difference(distance, x, x.clone(), repeats=20, generator=generator()) == (0, 0, 0)
    # The interval of a difference of paired samples is far narrower than that of either.
    near = difference(distance, x, 1.01 * x, repeats=200, generator=generator())
    assert near.high - near.low < (found.high - found.low) / 5
    with pytest.raises(ValueError, match="sets must have one size"):
        difference(distance, x, x[:9], repeats=20, generator=generator())
    with pytest.raises(ValueError, match="repeats must be"):
        estimate(distance, x, generator=generator(), repeats=1)
    with pytest.raises(ValueError, match="level must lie"):
        estimate(distance, x, generator=generator(), level=1.0)


def test_an_interval_ends_where_the_distance_does():
    distance = ModeCoverage(TWO)
    found = estimate(distance, TWO.sample(40, generator=generator(2)), generator=generator(), repeats=100)
    assert found.low < found.value <= found.high <= 1


def test_no_floor_is_made_of_too_few_real_pictures():
    found = estimate(EnergyDistance(pictures(40, 1, 3, 3)), draws(18, 9), generator=generator(), repeats=5)
    assert math.isnan(found.floor)
    assert "no floor: 18 of 20 held-out real pictures are too many" in found.remark


def test_overlapping_sets_have_the_spread_of_independent_ones():
    # Means of 300 from a pool of 600, against the standard error of 300 independent ones.
    real = pictures(1200, 3, 1, 1)
    floor = Colourfulness(real).floor(300, 400)
    each = colourfulness(real.images)
    # 400 sets know their spread to 1/sqrt(800) = 4 %, the pool's own is known to 3 %.
    assert floor.std(ddof=1) == pytest.approx(float(each.std()) / 300**0.5, rel=0.2)
