"""Fits of levels and rows: exact where they can be, blind to what is held out, never worse than where they begin."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

import toy
from lml.solver import METHODS, Schedule, Solver, of_levels, published_rows
from lml.solver.fitting import FEW, LAG, RIDGES, Problem, _Fitting, _Parameters, effort, fit, fit_cost
from lml.solver.methods import Method
from lml.solver.path import end
from lml.solver.schedule import spaced
from lml.solver.trajectories import Checked, distances, reference

SCHEDULE = Schedule.sampled(toy.noise_schedule("vp-linear"))
TABLE = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())
TARGET = toy.noise_model(toy.target("random-16d"))
N, BASE = 5, "unipc-2"
START = spaced(SCHEDULE, N, "log-snr")
OFFSETS = tuple(tuple(0.05 * (i - 2 * j) for j in range(min(i, LAG))) for i in range(N))

# Two sums of the same numbers in another order: sigma/alpha is 152 at the first level, samples, weights, steps are of
# order 10.
ROUNDING = 2.0**-53 * 152 * 10 * 10 * 10


def noise(count=12, dim=16, seed=0):
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def flow():
    return reference(TARGET, SCHEDULE, noise())


def problem(flow, model=TARGET, weights=None, scale=1.0):
    return Problem(model, flow.x, flow.ends, torch.ones(len(flow.x)).double() if weights is None else weights, scale)


def fitting(problems, base=BASE, levels=True, rows=True, power=1.0):
    return _Fitting(problems, base, SCHEDULE, N, levels, rows, power)


def solver_of(base, lam, offsets):
    levels = [SCHEDULE.level(value) for value in lam]
    rows = [
        tuple(eta + (xi[j] if j < len(xi) else 0.0) for j, eta in enumerate(row))
        for row, xi in zip(published_rows(base, levels), offsets, strict=True)
    ]
    return Solver("fitted", tuple(levels), tuple(rows), (0.0,) * len(rows))


def smooth(x, alpha, sigma):
    """A noise prediction that can be differentiated in the level too."""
    return sigma * x / (0.25 * alpha**2 + sigma**2) + 0.3 * torch.sin(alpha * x)


def test_columns_are_the_mean_of_the_derivative_over_the_difference():
    """``(r(theta + h) - r(theta))/h = int_0^1 J(theta + s h) ds``, with J by autograd and the integral by Gauss."""

    def by_level(x, level):
        return smooth(x, level.alpha, level.sigma)

    def residual(theta, names):
        lam, xi = list(torch.tensor(START, dtype=torch.float64)), [list(map(torch.tensor, row)) for row in OFFSETS]
        for name, value in zip(names, theta, strict=True):
            if len(name) == 1:
                lam[name[0]] = value
            else:
                xi[name[0]][name[1]] = value
        alpha, sigma = [torch.sigmoid(2 * v).sqrt() for v in lam], [torch.sigmoid(-2 * v).sqrt() for v in lam]
        y, past = x / alpha[0], []
        for i, row in enumerate(xi):  # DDIM with offsets
            e = smooth(alpha[i] * y, alpha[i], sigma[i])
            u = e + sum(eta * (e - other) for eta, other in zip(row, past, strict=False))
            y, past = y + (sigma[i + 1] / alpha[i + 1] - sigma[i] / alpha[i]) * u, [e, *past]
        return alpha[-1] * y / math.sqrt(16)

    x = noise(3)
    given = Problem(by_level, x, torch.zeros_like(x), torch.ones(3).double())
    made = fitting([given], "ddim")
    at = _Parameters(tuple(START), OFFSETS)
    seen = torch.tensor([True, True, False])
    columns = made._jacobian(given, at, made._walk(given, at), seen)
    assert len(columns) == len(made.names) == (N - 1) + sum(min(i, LAG) for i in range(N))
    theta = torch.tensor(at.values(made.names), dtype=torch.float64)
    one = torch.tensor(1.0, dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(6)
    for k, name in enumerate(made.names):
        h = 2.0**-4 * (at.gap(name[0]) if len(name) == 1 else 1.0)
        direction = torch.zeros_like(theta)
        direction[k] = 1

        def along(s, direction=direction):
            return residual(theta + s * direction, made.names)

        exact = sum(
            0.5 * w * torch.autograd.functional.jvp(along, torch.tensor(0.5 * h * (1 + node)), one)[1]
            for node, w in zip(nodes, weights, strict=True)
        )
        # Columns are kept in float32; differences cancel ROUNDING over h.
        tolerance = 2.0**-24 * float(exact.abs().max()) + ROUNDING / h
        assert tolerance < 1e-5 * float(exact.abs().max())
        torch.testing.assert_close(columns[k].double(), exact[seen], rtol=0, atol=tolerance)


@pytest.mark.parametrize("base", METHODS)
def test_columns_take_up_the_path_where_a_parameter_begins_to_count(base, flow):
    """The noises before stand: a solver that is run from the beginning ends at the same place."""
    given, at = problem(flow), _Parameters(tuple(START), OFFSETS)
    made = fitting([given], base)
    walk = made._walk(given, at)
    for name in made.names:
        there = at.moved([name], [0.1])
        begin = name[0] - 1 if len(name) == 1 else name[0]
        ends = end(solver_of(base, there.half_log_snr, there.offsets), TARGET, flow.x)
        torch.testing.assert_close(
            made._walk(given, there, begin, walk).r, (ends - flow.ends) / 4, rtol=0, atol=ROUNDING
        )


@pytest.mark.parametrize("spacing", ["time", "karras"])
def test_offsets_of_zero_are_the_published_method(flow, spacing):
    made = fit([problem(flow)], BASE, SCHEDULE, spaced(SCHEDULE, N, spacing), iterations=0)
    published = of_levels(Method(BASE, spacing), SCHEDULE.levels(N, spacing))
    assert len(made) == len(RIDGES)
    assert made[0].solver(SCHEDULE).weights == published.weights
    torch.testing.assert_close(
        made[0].errors[0], distances(end(published, TARGET, flow.x), flow.ends), rtol=0, atol=ROUNDING
    )


def test_the_errors_of_a_fit_are_those_of_its_solver(flow):
    for found in fit([problem(flow)], BASE, SCHEDULE, START):
        ends = found.solver(SCHEDULE).sample(TARGET, flow.x)
        torch.testing.assert_close(found.errors[0], distances(ends, flow.ends), rtol=0, atol=ROUNDING)
        assert found.loss == pytest.approx(float(found.errors[0].mean()), rel=1e-12)


def test_a_ridge_without_end_leaves_the_beginning(flow):
    (found,) = fit([problem(flow)], BASE, SCHEDULE, START, offsets=OFFSETS, ridges=[1e13])
    # A step is at most J^T W r/(ridge D): of order 1/ridge in units of a parameter.
    assert found.half_log_snr == pytest.approx(START, abs=1e-11)
    for row, begun in zip(found.offsets, OFFSETS, strict=True):
        assert row == pytest.approx(begun, abs=1e-11)


def test_the_loss_never_rises_along_the_path(flow):
    begun = fit([problem(flow)], BASE, SCHEDULE, START, iterations=0)[0].loss
    ridges = (1.0, *RIDGES, 1e-6)
    losses = [begun, *(found.loss for found in fit([problem(flow)], BASE, SCHEDULE, START, ridges=ridges))]
    assert all(after <= before for before, after in itertools.pairwise(losses))
    assert losses[-1] < 0.7 * losses[0]


def test_each_ridge_goes_on_where_the_one_before_ended(flow):
    both = fit([problem(flow)], BASE, SCHEDULE, START, ridges=[0.1, 0.01])
    assert both[0] == both[0].__class__(**{**vars(fit([problem(flow)], BASE, SCHEDULE, START, ridges=[0.1])[0]),
                                           "errors": both[0].errors})  # fmt: skip
    assert both[1].loss < both[0].loss


def test_what_is_held_out_is_not_seen(flow):
    weights = torch.ones(12).double()
    weights[9:] = 0
    found = fit([problem(flow, weights=weights)], BASE, SCHEDULE, START)[-1]
    for spoilt in (flow.ends[9:] + 5, torch.full((3, 16), math.nan, dtype=torch.float64)):
        other = fit([problem(flow._replace(ends=torch.cat((flow.ends[:9], spoilt))), weights=weights)], BASE, SCHEDULE,
                    START)[-1]  # fmt: skip
        assert (found.half_log_snr, found.offsets, found.loss) == (other.half_log_snr, other.offsets, other.loss)
        assert not torch.equal(found.errors[0][9:], other.errors[0][9:])


def test_only_levels_or_only_rows_are_moved_where_that_is_asked_for(flow):
    begun = fit([problem(flow)], BASE, SCHEDULE, START, iterations=0)[0]
    of_levels_, of_rows = (
        fit([problem(flow)], BASE, SCHEDULE, START, levels=levels, rows=not levels)[-1] for levels in (True, False)
    )
    assert of_levels_.offsets == begun.offsets
    assert of_levels_.half_log_snr != begun.half_log_snr
    assert of_rows.half_log_snr == tuple(START)
    assert of_rows.offsets != begun.offsets
    assert max(of_levels_.loss, of_rows.loss) < begun.loss
    neither = fit([problem(flow)], BASE, SCHEDULE, START, levels=False, rows=False)[-1]
    assert neither.loss == begun.loss


def test_the_ends_of_levels_stay_and_the_others_keep_their_order(flow):
    for found in fit([problem(flow)], BASE, SCHEDULE, START, ridges=[1e-6], iterations=6):
        assert (found.half_log_snr[0], found.half_log_snr[-1]) == SCHEDULE.range
        assert all(a < b for a, b in itertools.pairwise(found.half_log_snr))


def test_several_networks_weigh_by_their_scale_and_the_power():
    """What is minimised is the power mean; the network of the larger part of it gets the smaller distance."""
    other = toy.noise_model(toy.target("ring-2d"))
    flows = [reference(TARGET, SCHEDULE, noise()), reference(other, SCHEDULE, noise(12, 2))]

    def found(power, scales):
        given = [problem(on, model, scale=s) for on, model, s in zip(flows, (TARGET, other), scales, strict=True)]
        return fit(given, BASE, SCHEDULE, START, power=power)[-1]

    for power, scales in ((1.0, (1.0, 1.0)), (4.0, (1.0, 0.3))):
        made = found(power, scales)
        means = [float(errors.mean()) / scale for errors, scale in zip(made.errors, scales, strict=True)]
        assert made.loss == pytest.approx((sum(m**power for m in means) / 2) ** (1 / power), rel=1e-12)
    first, second = found(1.0, (1e-3, 1.0)), found(1.0, (1.0, 1e-3))
    assert first.errors[0].mean() < second.errors[0].mean()
    assert first.errors[1].mean() > second.errors[1].mean()


def test_the_right_side_is_the_gradient_of_the_loss():
    """``J^T W r`` is that of ``sum_k E_k^p/p``, by central differences of the loss along each parameter."""
    other = toy.noise_model(toy.target("ring-2d"))
    flows = [reference(TARGET, SCHEDULE, noise(6)), reference(other, SCHEDULE, noise(6, 2))]
    given = [problem(on, model, scale=s) for on, model, s in zip(flows, (TARGET, other), (1.0, 0.3), strict=True)]
    made, at = fitting(given, power=3.0), _Parameters(tuple(START), OFFSETS)
    walks = made._walks(at)
    _, g, L = made._normal(at, walks)
    total = 2 * made._loss(walks) ** 3
    for k, name in enumerate(made.names):
        h = 1e-4
        up, down = (2 * made._loss(made._walks(at.moved([name], [sign * h]))) ** 3 / 3 for sign in (1, -1))
        # J is a forward difference over 1/16 (of a gap): off by half of that in a second derivative, which is what the
        # gradient itself changes by over the difference.
        gap = at.gap(name[0]) if len(name) == 1 else 1.0
        there = made._normal(at.moved([name], [2.0**-4 * gap]), made._walks(at.moved([name], [2.0**-4 * gap])))[1]
        assert float(g[k]) == pytest.approx((up - down) / (2 * h), abs=2 * abs(float(there[k] - g[k])) + 1e-6 * L)
    assert total * (1 + 1e-12) >= L  # less where a small distance counts as a larger one


def test_where_noises_are_parallel_a_fit_is_exact():
    """For N(0, v I) all noises of a path lie on one line, on which one weight reaches the flow."""
    v = 0.25

    def model(x, level):
        return level.sigma / (level.alpha**2 * v + level.sigma**2) * x

    flow = reference(model, SCHEDULE, noise())
    begun = fit([problem(flow, model)], BASE, SCHEDULE, START, iterations=0)[0]
    found = fit([problem(flow, model)], BASE, SCHEDULE, START, ridges=[0.01, 1e-6, 1e-10], iterations=4)[-1]
    # One residual for all samples: a Gauss-Newton step squares it, but for the ridge and the differences.
    assert float(begun.errors[0].min()) > 1e-3
    assert float(found.errors[0].max()) < 1e-3 * float(flow.refinement.mean())
    # The flow's own end is x0 scaled by sqrt(alpha^2 v + sigma^2) at both ends.
    first, last = (level.alpha**2 * v + level.sigma**2 for level in SCHEDULE.levels(1, "time"))
    exact = flow.x * math.sqrt(last / first)
    assert bool((distances(found.solver(SCHEDULE).sample(model, flow.x), exact) <= flow.refinement).all())


@pytest.mark.parametrize("model", [lambda x, level: 0 * x, lambda x, level: torch.ones_like(x)])
def test_where_no_parameter_counts_the_method_stays(model):
    flow = reference(model, SCHEDULE, noise(4))
    found = fit([problem(flow._replace(ends=flow.ends + 1), model)], BASE, SCHEDULE, START)[-1]
    assert found.half_log_snr == pytest.approx(START)
    exact = fit([problem(flow._replace(ends=end(solver_of(BASE, START, [(0.0,) * min(i, 3) for i in range(N)]), model,
                                                flow.x)), model)], BASE, SCHEDULE, START)[-1]  # fmt: skip
    assert exact.loss == pytest.approx(0, abs=ROUNDING)


def test_a_trial_that_overflows_is_no_step(flow):
    """Wild states give infinities and no numbers: the damping rises, the fit stays finite and gets better."""
    seen = []

    def wild(x, level):
        e = TARGET(x, level)
        far = (x.abs() > 1.02 * flow.x.abs().max()).any(1, keepdim=True)
        seen.append(bool(far.any()))
        return torch.where(far, e / 0, e)

    begun = fit([problem(flow, wild)], "ddim", SCHEDULE, START, iterations=0)[0]
    found = fit([problem(flow, lambda x, level: wild(3 * x, level) / 3)], "ddim", SCHEDULE, START)[-1]
    assert math.isfinite(begun.loss)
    assert any(seen)
    assert found.loss == math.inf  # it diverges where it begins: no step is tried, no error raised

    moves = itertools.count()

    def shy(x, level):
        """Gives no numbers at every third path that is tried."""
        e = TARGET(x, level)
        return e / 0 if level.half_log_snr == START[0] and next(moves) % 3 == 1 else e

    shied = fit([problem(flow, shy)], "ddim", SCHEDULE, START)[-1]
    assert math.isfinite(shied.loss)
    assert shied.loss < begun.loss


@pytest.mark.parametrize("n", [3, 8, FEW, FEW + 1, 50])
def test_the_cost_is_counted(n):
    model = Checked(TARGET)
    x = noise(2)
    given = Problem(model.unchecked, x, torch.zeros_like(x), torch.tensor([1.0, 0.0]).double())
    own = {"ridges": (1.0,), "iterations": 1} if n == 50 else {}
    ridges, iterations = own.values() if own else effort(n)
    lines = []
    fit([given], "ddim", SCHEDULE, spaced(SCHEDULE, n, "time"), progress=lines.append, **own)
    tries = (len(ridges) * iterations + 1) * 4 * n * 2
    wanted = 2 * fit_cost(n, **own)
    assert lines[0] == f"step 1 of {len(ridges) * iterations}"
    assert model.count <= wanted + tries
    if len(lines) == len(ridges) * iterations:  # no step was given up
        assert model.count >= wanted


def test_more_evaluations_take_a_third_of_the_steps():
    steps = [len(ridges) * iterations for ridges, iterations in map(effort, (FEW, FEW + 1))]
    assert steps[0] == 3 * steps[1]
    assert effort(50).ridges[-1] == RIDGES[-1]  # and end at the same ridge


def test_of_integer_timesteps_a_solver_is_on_entries_of_the_table():
    x = noise(4)
    flow = reference(TARGET, TABLE, x)
    found = fit([problem(flow)], BASE, TABLE, spaced(TABLE, N, "time"))[-1]
    solver = found.solver(TABLE)
    assert all(level.time == int(level.time) for level in solver.levels)
    assert any(value not in TABLE.half_log_snr for value in found.half_log_snr)
    for value, level in zip(found.half_log_snr, solver.levels, strict=True):
        assert level.half_log_snr == pytest.approx(TABLE.half_log_snr[TABLE.nearest(value)])


def test_half_precision_is_computed_in_float32():
    x = noise(4).half()
    ends = (0.1 * noise(4, seed=1)).half()

    def model(y, level):
        return smooth(y.float(), level.alpha, level.sigma).to(y)

    found = fit([Problem(model, x, ends, torch.ones(4).double())], BASE, SCHEDULE, START)[-1]
    assert found.errors[0].dtype == torch.float64
    assert math.isfinite(found.loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": torch.zeros(12).double()}, "weights must be at least 0 and one of them above"),
        ({"weights": torch.tensor([-1.0] + [1.0] * 11)}, "weights must be at least 0 and one of them above"),
        ({"power": 0.5}, "power must be"),
        ({"iterations": -1}, "iterations must be"),
        ({"base": "heun"}, "base must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(flow, options, message):
    given = problem(flow, weights=options.pop("weights", None))
    with pytest.raises(ValueError, match=message):
        fit([given], options.pop("base", BASE), SCHEDULE, START, **options)
