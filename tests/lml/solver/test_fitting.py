"""Variable projection: exact where it can be, blind to what is held out, never worse than where it starts."""

from __future__ import annotations

import itertools

import pytest
import torch

import toy
from lml.samplers import SAMPLERS, Level, sample
from lml.solver import Method, Schedule, Solver, of_levels, published_rows
from lml.solver.fitting import BOUND, Problem, _Path, fit_levels, fit_rows
from lml.solver.path import end
from lml.solver.trajectories import GRID, Checked, reference_cost, trajectories

SCHEDULE = Schedule.sampled(toy.noise_schedule("vp-linear"))
TARGET = toy.noise_model(toy.target("random-16d"))
PLACES = [0, 20, 42, 60, 78, GRID]


def prior(levels):
    return published_rows("unipc-2", levels)


def noise(count=12, dim=16, seed=0):
    return torch.randn(count, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def flow():
    return trajectories(TARGET, SCHEDULE, noise())


def problem(flow, model=TARGET, ridge=0.03, weights=None):
    return Problem(model, flow, torch.ones(flow.states.shape[1]).double() if weights is None else weights, prior, ridge)


def test_trajectories_end_where_the_flow_does(flow):
    levels = SCHEDULE.levels(800, "log-snr")
    fine = sample(SAMPLERS["dpm-solver++-3m"], TARGET, levels[0].sigma * noise(), levels)
    apart = (flow.levels[-1].alpha * flow.states[-1] - fine).square().mean(1).sqrt()
    assert flow.states.shape == (GRID + 1, 12, 16)
    assert bool((apart <= flow.refinement).all())
    assert float(flow.refinement.mean()) < 2e-3


def test_trajectories_of_integer_timesteps_are_at_timesteps():
    table = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())
    asked = []

    def model(x, level):
        asked.append(level.time)
        return TARGET(x, level)

    made = trajectories(model, table, noise(3))
    assert all(level.time == int(level.time) for level in made.levels)
    assert any(time != int(time) for time in asked)  # between the last timesteps, which lie far apart
    levels = table.levels(400, "time")
    fine = sample(SAMPLERS["dpm-solver++-3m"], TARGET, levels[0].sigma * noise(3), levels)
    assert (made.levels[-1].alpha * made.states[-1] - fine).square().mean(1).sqrt().max() < 5e-3


def test_evaluations_are_counted_and_their_number_told_beforehand():
    model = Checked(TARGET, batch=5)
    trajectories(model, SCHEDULE, noise(7))
    assert model.count == reference_cost(7)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, :3], r"noise_model must return a tensor of shape \(4, 16\), got \(4, 3\)"),
        (lambda x: None, r"noise_model must return a tensor of shape \(4, 16\), got NoneType"),
        (lambda x: x / 0, "noise_model must return finite numbers, got some that are not at log"),
    ],
)
def test_answers_of_a_network_that_are_none_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        Checked(lambda x, level: answer(x))(noise(4), Level(0.6, 0.8, 3.0))


def test_where_noises_are_parallel_a_fit_is_exact():
    """For N(0, v I) all noises of a path lie on one line, on which one weight reaches the flow."""
    v = 0.25

    def model(x, level):
        return level.sigma / (level.alpha**2 * v + level.sigma**2) * x

    flow = trajectories(model, SCHEDULE, noise())
    fitted = fit_rows(problem(flow, model, ridge=1e-12), PLACES)
    plain = fit_rows(problem(flow, model), PLACES, fitted=False)
    # The flow's ends are those of its reference, to its refinement. The first step has no weight: what it misses a
    # later step makes good, since all lie on the line.
    assert float(fitted.errors.max()) < 1e-6
    assert float(plain.errors.min()) > 1e-3


def test_rows_that_are_not_fitted_are_the_published_method(flow):
    made = fit_rows(problem(flow), PLACES, fitted=False)
    solver = of_levels(Method("unipc-2", "time"), [flow.levels[p] for p in PLACES])
    x = flow.levels[0].alpha * flow.states[0]
    apart = (end(solver, TARGET, x) - flow.levels[-1].alpha * flow.states[-1]).square().mean(1).sqrt()
    torch.testing.assert_close(made.errors, apart, rtol=0, atol=1e-10)


def test_the_errors_of_a_fit_are_those_of_its_solver(flow):
    made = fit_rows(problem(flow), PLACES)
    solver = Solver("fitted", tuple(flow.levels[p] for p in PLACES), made.weights, (0.0,) * 5)
    x = flow.levels[0].alpha * flow.states[0]
    apart = (solver.sample(TARGET, x) - flow.levels[-1].alpha * flow.states[-1]).square().mean(1).sqrt()
    torch.testing.assert_close(made.errors, apart, rtol=0, atol=1e-10)
    assert made.loss < fit_rows(problem(flow), PLACES, fitted=False).loss
    assert all(abs(eta) <= BOUND for row in made.weights for eta in row)


def test_a_ridge_without_end_leaves_the_published_rows(flow):
    made = fit_rows(problem(flow, ridge=1e12), PLACES)
    for row, given in zip(made.weights, prior([flow.levels[p] for p in PLACES]), strict=True):
        assert row == pytest.approx(given, abs=1e-9)


def test_a_path_that_is_taken_up_again_is_the_same(flow):
    path = _Path(problem(flow))
    for places in (PLACES, [0, 20, 42, 62, 78, GRID], [0, 12, 42, 62, 78, GRID], PLACES, PLACES):
        again, fresh = path.run(places), fit_rows(problem(flow), places)
        assert again.weights == fresh.weights
        assert torch.equal(again.errors, fresh.errors)


def test_what_is_held_out_is_not_seen(flow):
    weights = torch.ones(12).double()
    weights[9:] = 0
    spoilt = flow._replace(states=flow.states.clone())
    spoilt.states[1:, 9:] += 5
    one, other = (fit_levels(problem(each, weights=weights), [PLACES], 6) for each in (flow, spoilt))
    assert one.places == other.places
    assert one.weights == other.weights
    assert not torch.equal(one.errors[9:], other.errors[9:])


def test_levels_are_moved_only_for_the_better(flow):
    count = itertools.count()

    def counted(x, level):
        next(count)
        return TARGET(x, level)

    losses = [fit_levels(problem(flow, counted), [PLACES], trials).loss for trials in (0, 4, 20)]
    assert losses[0] == fit_rows(problem(flow), PLACES).loss
    assert losses[0] >= losses[1] >= losses[2]
    assert losses[2] < losses[0]
    assert next(count) <= 3 * 5 + 24 * 5
