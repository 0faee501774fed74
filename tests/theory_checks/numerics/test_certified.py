import math

import numpy as np
import pytest
import torch
from fault_cases import kills
from flint import acb, arb, arb_series

import toy
from theory_checks import convergence, hessian
from theory_checks.convergence.certified_gap import Line, gap_from_above, gap_from_below, tail_rate
from theory_checks.convergence.gaussian_gap import gaussian_gap
from theory_checks.hessian.certified_bound import BOXES, PointMixture
from theory_checks.hessian.error_bound import hessian_error_bound, outer_product_errors
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.faults import Fault, find_reduced, injected
from theory_checks.numerics.interval_minimum import certified_minimum, hull, lower, upper
from theory_checks.numerics.levels import levels
from theory_checks.numerics.trial_functions import Spline, eigenfunction, riccati_solution

CLAIMS = {"H3c": hessian.FAMILY.claim("H3c"), "C1c": convergence.FAMILY.claim("C1c")}
CHECKS = find_reduced()
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("H3c", "C1c")]


@pytest.mark.parametrize(("faulty", "claim"), KILLS)
def test_an_injected_fault_turns_its_certified_check_red(faulty: Fault, claim: str):
    with injected(faulty):
        assert CHECKS[claim](Settings()).verdict is not CLAIMS[claim].expected


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_reduced_certified_check_is_green_without_a_fault(claim: str):
    finding = CHECKS[claim](Settings())
    assert finding.verdict is CLAIMS[claim].expected
    CLAIMS[claim].load_draw()(finding)


def square_and_cube(x):
    return x[0] * x[0] + x[0] ** 3 / 4


def test_a_minimum_that_is_known_lies_in_its_enclosure():
    # x^2 + x^3/4 on [-2, 2]: zero at 0.
    found = certified_minimum(square_and_cube, square_and_cube, ((-2.0, 1.9),), tolerance=0.0, boxes=4000)
    assert found.low <= 0.0 <= found.high
    assert found.high - found.low < 1e-2
    assert abs(found.at[0]) < 0.1


def test_the_bound_holds_for_every_box_size_and_improves():
    coarse, fine = (
        certified_minimum(square_and_cube, square_and_cube, ((-2.0, 1.9),), tolerance=0.0, boxes=n) for n in (10, 1000)
    )
    assert coarse.low < fine.low <= 0
    assert fine.depth > coarse.depth


def test_a_bound_that_is_not_finite_proves_nothing():
    found = certified_minimum(lambda x: 1 / x[0], lambda x: 1 / x[0], ((-1.0, 1.5),), tolerance=0.1, boxes=50)
    assert found.low == -math.inf


def test_an_empty_box_is_refused():
    with pytest.raises(
        ValueError, match=r"box must have intervals \(low, high\) with low < high, got \(\(1.0, 1.0\),\)"
    ):
        certified_minimum(square_and_cube, square_and_cube, ((1.0, 1.0),), tolerance=0.1, boxes=5)


def test_floats_of_a_ball_lie_outside_it():
    ball = arb(1) / 3
    assert arb(lower(ball)) < ball < arb(upper(ball))
    assert (lower(arb("nan")), upper(arb("nan"))) == (-math.inf, math.inf)
    assert hull(0.1, 0.3).contains(arb(0.1))


@pytest.mark.parametrize("name", ["points-1d", "points-2d"])
def test_the_room_in_balls_is_that_of_the_exact_target(name: str):
    target = toy.target(name)
    mixture = PointMixture(target.points.tolist())
    generator = torch.Generator().manual_seed(3)
    for log_snr in (-4.0, 0.5, 3.0):
        (q,) = levels(target, (log_snr,))
        log_snr = math.log(q.alpha**2 / q.sigma**2)
        x = q.sample(5, generator=generator)
        s = q.score(x)
        bound = hessian_error_bound(q, (q.sigma * s).norm(dim=1), 0.0, target.diameter())
        room = q.sigma**2 * (bound - outer_product_errors(q, x, s).outer)
        for i in range(5):
            ball = mixture.room([arb(float(c)) for c in x[i]] + [arb(log_snr)])
            assert float(ball.mid()) == pytest.approx(float(room[i]), rel=1e-8)


@pytest.mark.parametrize("name", ["points-1d", "points-2d"])
def test_the_bound_on_a_box_is_below_the_room_at_its_points(name: str):
    mixture = PointMixture(toy.target(name).points.tolist())
    reach, (low, high) = BOXES[name]
    random = np.random.default_rng(5)
    for width in (1.0, 0.1, 0.001):
        for _ in range(20):
            centre = np.append(random.uniform(-reach, reach, mixture.dim), random.uniform(low, high))
            box = [hull(float(c - width), float(c + width)) for c in centre]
            bound = lower(mixture.room_bound(box))
            inside = [arb(float(c)) for c in centre + width * random.uniform(-1, 1, len(centre))]
            assert bound <= upper(mixture.room(inside))


def test_the_room_is_never_less_than_the_algebra_says():
    mixture = PointMixture(toy.target("points-2d").points.tolist())
    for log_snr in (-5.0, 0.0, 4.0):
        algebra = math.exp(log_snr) * float(mixture.squared_diameter.mid()) / (2 * mixture.count)
        for x in ([0.3, 0.2], [-3.0, 1.0], [60.0, -20.0]):
            assert upper(mixture.room([arb(c) for c in x] + [arb(log_snr)])) > algebra


@pytest.mark.parametrize("strength", [3.0, 8.0])
def test_the_exact_eigenfunction_gives_the_gap_of_a_gaussian_from_below(strength: float):
    # p = -theta s = theta x with theta = 1/lambda is linear: the spline holds it exactly, and R is constant.
    theta = 1 / strength
    knots = np.linspace(-5, 5, 11)
    trial = Spline(knots, theta * knots, np.full(11, theta))
    low, _ = gap_from_below(Line((1.0,), (0.0,), (1.0,)), strength, trial)
    # The search stops at an enclosure of relative width 1e-5, and the exact gap is rounded.
    assert (1 - 1e-5 - 1e-12) * gaussian_gap(strength, 1.0) <= low <= (1 + 1e-15) * gaussian_gap(strength, 1.0)


def test_any_trial_function_gives_a_bound():
    q = toy.target("gauss-1d")
    gap = gaussian_gap(4.0, 1.0)
    for rate in (0.5 * gap, 0.9 * gap):
        assert gap_from_below(Line.of(q), 4.0, riccati_solution(q, 4.0, rate, 6.0))[0] <= gap
    knots = np.linspace(-3, 3, 13)
    assert gap_from_above(Line.of(q), 4.0, Spline(knots, np.tanh(knots), 1 / np.cosh(knots) ** 2)) > gap
    assert gap_from_above(Line.of(q), 4.0, eigenfunction(q, 4.0, 8.0)) == pytest.approx(gap, rel=1e-6)


def test_a_trial_that_ends_too_early_proves_nothing():
    line = Line.of(toy.target("skewed-1d"))
    assert tail_rate(line, 1.0, 1.0, arb(0.5)) == -math.inf
    assert tail_rate(line, 1.0, 8.0, arb(0.5)) > 0
    assert tail_rate(line, 1.0, 8.0, arb(1.5)) == -math.inf


def test_the_tail_bound_is_below_the_rate_in_the_tail():
    line = Line.of(toy.target("skewed-1d"))
    for start in (6.0, 8.0):
        for theta in (0.1, 0.5, 0.8):
            bound = tail_rate(line, 1.0, start, arb(theta))
            for x in (start, start + 0.5, start + 3, 40.0):
                s, slope = (series[0] for series in line.score(arb_series([arb(x)], prec=1)))
                assert bound <= upper((1 - arb(theta)) * (theta * s * s - slope) / (1 + s * s))


def test_the_line_has_the_density_and_the_score_of_its_target():
    q = toy.target("skewed-1d")
    line = Line.of(q)
    for x in (-3.0, 0.2, 1.4):
        at = torch.tensor([[x]], dtype=torch.float64)
        s, slope = line.score(arb_series([arb(x)], prec=1))
        assert float(s[0].mid()) == pytest.approx(float(q.score(at)), rel=1e-12)
        assert float(slope[0].mid()) == pytest.approx(float(q.laplacian(at)), rel=1e-12)
        density, change = line.densities(acb(x))
        assert float(density.real.mid()) == pytest.approx(float(q.log_density(at).exp()), rel=1e-12)
        assert float((change / density).real.mid()) == pytest.approx(float(q.score(at)), rel=1e-12)
    assert float(line.mass_beyond(-50.0).mid()) == pytest.approx(1, abs=1e-12)


def test_taylor_forms_keep_every_coefficient_that_the_bound_uses():
    x = arb_series([hull(0.1, 0.2), 1], prec=5)
    s, slope = Line.of(toy.target("bimodal-1d")).score(x)
    assert s.prec >= 5
    assert slope.prec >= 5
    assert not s[4].contains(arb(0)) or s[4].rad() > 0


@pytest.mark.parametrize("name", ["gauss-2d"])
def test_a_target_that_is_not_on_the_line_is_refused(name: str):
    with pytest.raises(ValueError, match="target must be one-dimensional and not diffused, got dim 2"):
        Line.of(toy.target(name))
