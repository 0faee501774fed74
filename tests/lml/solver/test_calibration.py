"""Calibration: better on noises that it has not seen, at the cost that it says, resumed, and honest where it fails."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import torch
from safetensors.torch import load_file

import toy
from lml.samplers import SAMPLERS, sample
from lml.solver import Method, Schedule, calibrate, calibration, cost, load, of_method, save, selection
from lml.solver.calibration import LEAST_SAMPLES, fingerprint
from lml.solver.choice import Choice
from lml.solver.fitting import Problem, fit
from lml.solver.methods import method
from lml.solver.schedule import spaced
from lml.solver.selection import Candidate, Interval, difficulties, scores
from lml.solver.trajectories import Checked, distances, reference

SCHEDULE = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000).tolist())
TARGET = toy.noise_model(toy.target("random-16d"))
GIVEN = {"schedule": SCHEDULE, "evaluations": 5, "shape": (16,), "dtype": torch.float64}


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LML_CACHE", str(tmp_path_factory.mktemp("cache")))
        # The choice for a schedule is tested where it is made, and takes long where it does not ship.
        patch.setattr(calibration, "chosen", lambda *args, **options: CHOICE)
        yield


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, and few methods: what is tested is not which."""
    monkeypatch.setenv("LML_CACHE", str(tmp_path))
    monkeypatch.setattr(calibration, "TRIED", calibration.BASELINES[:9])
    return tmp_path / "solvers"


@pytest.fixture(scope="module")
def made(_cache):
    lines = []
    found = calibrate(TARGET, **GIVEN, progress=lines.append)
    return found, lines


CHOICE = Choice("unipc-2@log-snr", "unipc-2@log-snr", 1.0, 1.0)


def counted(model=TARGET, stop_at=None):
    """Return a model and the list of how many samples it was asked for; it is interrupted after so many."""
    asked = []

    def counting(x, level):
        if stop_at is not None and sum(asked) + len(x) > stop_at:
            raise KeyboardInterrupt
        asked.append(len(x))
        return model(x, level)

    return counting, asked


def test_it_is_nearer_to_the_flow_on_noises_that_it_has_not_seen(made):
    found, _ = made
    x = torch.randn(96, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(77))
    exact = sample(SAMPLERS["dpm-solver++-3m"], TARGET, x, SCHEDULE.levels(400, "time"))
    ours, theirs = (
        float(distances(solver.sample(TARGET, x), exact).mean())
        for solver in (found.solver, of_method(found.baseline, SCHEDULE, 5))
    )
    assert found.solver.method == "fitted"
    assert ours < 0.9 * theirs
    assert found.solver.validation.high < 1
    assert all(level.time == int(level.time) for level in found.solver.levels)


def test_it_costs_what_it_says_first(made):
    found, lines = made
    last = calibration._stage_costs(5, 16)["fit"]
    assert lines[0] == f"cost: about {cost(5)} evaluations of one sample, {cost(5) - last} if no fit is chosen"
    # Cheaper where a method is in two lists (5 for each sample), where a fit that is chosen is at an earlier ridge, or
    # no step of a ridge makes the loss fall; dearer by 5 for every second try, of 18 steps.
    assert cost(5) - last - 16 * 5 <= found.spent <= cost(5) + 16 * 5 * 18


def test_progress_says_the_share_and_the_time_that_is_left(made):
    _, lines = made
    assert re.fullmatch(r"time: about [\d.]+ (s|min|h), at \S+ s for each", lines[1])
    shares = [int(re.fullmatch(r"( \d\d|  \d|100)%  .+, about [\d.]+ (s|min|h) left", line)[1]) for line in lines[2:-1]]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert 90 < shares[-1] <= 100
    assert lines[-1] == f"100%  chosen: {made[0].solver.method}"


def test_the_same_question_is_answered_from_what_was_kept(made):
    found, _ = made
    assert calibrate(TARGET, **GIVEN, progress=pytest.fail) == found
    assert calibrate(TARGET, **GIVEN, kept=False) == found


def test_batches_change_the_answer_by_rounding_alone(cache):
    one, other = (calibrate(TARGET, **GIVEN, samples=8, batch=batch, kept=False) for batch in (64, 3))
    assert (one.baseline, one.spent, one.solver.method) == (other.baseline, other.spent, other.solver.method)
    # Sums in another order change the target by some 2^-52 of it, the paths by 152 times as much, and six steps of
    # Newton by that over the difference 1/16 and a ridge of 1e-3.
    change = 2.0**-52 * 152 * 16 / 1e-3
    for row, again in zip(one.solver.weights, other.solver.weights, strict=True):
        assert row == pytest.approx(again, abs=10 * change)
    assert one.candidates == pytest.approx(other.candidates, rel=10 * change)


def evaluations(file):
    """Return what a stage took."""
    return int(load_file(file)["evaluations"])


@pytest.mark.parametrize("share", [0.02, 0.25, 0.5, 0.9])
def test_interrupted_it_goes_on_where_it_was_and_ends_with_the_same(cache, share):
    whole = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    first, _ = counted(stop_at=int(share * whole.spent))
    with pytest.raises(KeyboardInterrupt):
        calibrate(first, **GIVEN, samples=8)
    kept = list(cache.iterdir())
    assert len(kept) == {0.02: 0, 0.25: 1, 0.5: 3, 0.9: 5}[share]
    saved = sum(map(evaluations, kept))
    second, again = counted()
    assert calibrate(second, **GIVEN, samples=8) == whole
    assert sum(again) == whole.spent - saved  # what was made is not made again
    assert [file.suffix for file in cache.iterdir()] == [".json"]  # the stages are gone


def test_killed_it_goes_on_where_it_was(cache):
    script = textwrap.dedent("""
        import time, torch, toy
        from lml.solver import Schedule, calibrate, calibration
        from lml.solver.choice import Choice
        calibration.TRIED = calibration.BASELINES[:9]
        calibration.chosen = lambda *args, **options: Choice("unipc-2@log-snr", "unipc-2@log-snr", 1.0, 1.0)
        target = toy.noise_model(toy.target("random-16d"))

        def slow(x, level):
            time.sleep(1e-3)
            return target(x, level)

        schedule = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000).tolist())
        calibrate(slow, schedule, 5, 8, shape=(16,), dtype=torch.float64)
    """)
    running = subprocess.Popen([sys.executable, "-c", script], env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        limit = time.monotonic() + 120
        while len(list(cache.glob("*.methods.safetensors"))) == 0:
            assert running.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.005)
    finally:
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
    assert running.returncode == -signal.SIGKILL
    kept = list(cache.glob("*.safetensors"))
    saved = sum(map(evaluations, kept))
    assert len(kept) >= 2
    model, asked = counted()
    found = calibrate(model, **GIVEN, samples=8)
    assert sum(asked) == found.spent - saved
    assert [file.suffix for file in cache.iterdir()] == [".json"]
    assert found == calibrate(TARGET, **GIVEN, samples=8, kept=False)


def test_a_damaged_stage_is_made_again(cache):
    whole = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    first, _ = counted(stop_at=int(0.5 * whole.spent))
    with pytest.raises(KeyboardInterrupt):
        calibrate(first, **GIVEN, samples=8)
    (ends,) = cache.glob("*.ends.safetensors")
    ends.write_bytes(ends.read_bytes()[:-8] + bytes(8))
    assert calibrate(TARGET, **GIVEN, samples=8) == whole


def test_a_damaged_answer_is_made_again(cache):
    whole = calibrate(TARGET, **GIVEN, samples=8)
    (file,) = cache.iterdir()
    file.write_text(file.read_text()[:100])
    assert calibrate(TARGET, **GIVEN, samples=8) == whole


def test_another_question_is_not_answered_from_what_was_kept(cache):
    calibrate(TARGET, **GIVEN, samples=8)
    for options in ({"seed": 1}, {"samples": 9}, {"dtype": torch.float32}, {"evaluations": 4},
                    {"schedule": dataclasses.replace(SCHEDULE, integer=False)}):  # fmt: skip
        model, asked = counted()
        calibrate(model, **{**GIVEN, "samples": 8, **options})
        assert len(asked) > 100


def test_a_network_that_overflows_on_wild_steps_does_not_stop_it(cache):
    """Far states give infinities; a method that goes there is no candidate."""
    wild = []

    def model(x, level):
        e = TARGET(x, level)
        far = (x.abs() > 3.9).any(1, keepdim=True) & (level.half_log_snr > 0)
        wild.append(bool(far.any()))
        return torch.where(far, e / 0, e)

    found = calibrate(model, **GIVEN, samples=8, kept=False)
    assert any(wild)
    assert all(map(math.isfinite, found.candidates.values()))
    x = torch.randn(8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert bool(torch.isfinite(found.solver.sample(model, x)).all())


def test_a_method_that_diverges_is_no_candidate(cache, monkeypatch):
    """The reference asks at its own levels: the levels of equal times are made to overflow."""
    bad = {level.time for level in SCHEDULE.levels(5, "time")[1:-1]}

    def model(x, level):
        return TARGET(x, level) / (0 if level.time in bad else 1)

    found = calibrate(model, **GIVEN, samples=8, kept=False)
    assert not [name for name in found.candidates if "@time" in name]
    assert [name for name in found.candidates if "@log-snr" in name]
    monkeypatch.setattr(calibration, "TRIED", [Method("ddim", "time")])
    monkeypatch.setattr(calibration, "chosen", lambda *args, **options: CHOICE._replace(method="ddim@time"))
    with pytest.raises(ValueError, match="one on which a published method ends in finite numbers, got none"):
        calibrate(model, **GIVEN, samples=8, kept=False)


def test_a_network_on_which_all_are_exact_gets_the_simplest(cache):
    found = calibrate(lambda x, level: torch.zeros_like(x), **GIVEN, samples=8, kept=False)
    assert found.solver.method in {each.name for each in calibration.BASELINES}
    assert all(map(math.isfinite, found.candidates.values()))
    assert "nan" not in str(found)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_network_is_asked_in_its_type(cache, dtype):
    asked = set()

    def model(x, level):
        asked.add(x.dtype)
        return TARGET(x.double(), level).to(x)

    found = calibrate(model, **{**GIVEN, "dtype": dtype}, samples=8, kept=False)
    assert asked == {dtype}
    x = torch.randn(96, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(77))
    exact = sample(SAMPLERS["dpm-solver++-3m"], TARGET, x, SCHEDULE.levels(400, "time"))
    ours, theirs = (
        float(distances(solver.sample(Checked(model, dtype=dtype), x), exact).mean())
        for solver in (found.solver, of_method(found.baseline, SCHEDULE, 5))
    )
    assert found.solver.method == "fitted"
    assert ours < theirs


def test_a_trajectory_is_judged_by_the_fit_to_the_other_half_on_levels_as_they_are_used(cache, monkeypatch):
    table, n = Schedule.of_betas(torch.linspace(0.002, 0.3, 14).tolist()), 4
    chosen_from = []

    def seen_by(fitted, other, among):
        chosen_from.append(among)
        return other

    monkeypatch.setattr(selection, "prefer", seen_by)
    calibrate(TARGET, table, n, 9, shape=(16,), dtype=torch.float64, kept=False)
    fitted = [each for each in chosen_from[0] if each.rank == 2]
    noise = torch.randn(9, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    flow = reference(TARGET, table, noise)
    plain = [each for each in chosen_from[0] if each.rank == 0]
    for held in (torch.arange(9) < 4, torch.arange(9) >= 4):
        seen = [Candidate(each.name, 0, each.errors[~held]) for each in plain]
        start = method(plain[int(scores(seen, difficulties(seen)).argmin())].name)
        problem = Problem(TARGET, flow.x, flow.ends, (~held).double())
        found = fit([problem], start.base, table, spaced(table, n, start.spacing))[-1]
        ends = found.solver(table).sample(TARGET, flow.x[held])
        # The same sums in another order; see the other tests for these numbers.
        rounding = 2.0**-53 * 152 * 1000
        (candidate,) = fitted
        torch.testing.assert_close(candidate.errors[held], distances(ends, flow.ends[held]), rtol=0, atol=rounding)


@pytest.mark.parametrize("n", [3, 12])
def test_a_short_table_of_timesteps_gives_levels_of_it_each_once(cache, n):
    table = Schedule.of_betas(torch.linspace(0.002, 0.3, 14).tolist())
    found = calibrate(TARGET, table, n, 8, shape=(16,), dtype=torch.float64, kept=False)
    times = [level.time for level in found.solver.levels]
    assert len(set(times)) == n + 1
    assert set(times) <= set(table.times)
    # What is judged is the solver on the table, which is what is returned.
    assert found.solver.validation.ratio <= 1.1


def test_where_the_best_published_method_is_chosen_nothing_is_gained(cache, monkeypatch):
    monkeypatch.setattr(selection, "pick", lambda candidates: candidates[0])
    monkeypatch.setattr(selection, "prefer", lambda fitted, other, among: other)
    found = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    judged = found.solver.validation
    assert (judged.ratio, judged.low, judged.high, judged.against) == (1, 1, 1, found.solver.method)


def test_what_is_expected_to_be_worse_than_the_best_published_method_gives_way_to_it(cache, monkeypatch):
    monkeypatch.setattr(selection, "bootstrap", lambda ours, theirs: Interval(1.2, 1.1, 1.3))
    found = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    assert found.candidates[found.baseline] > 1  # another had the better score
    assert found.solver.method == found.baseline
    assert found.solver.validation.ratio == 1


def test_a_fit_that_is_no_nearer_on_fresh_noises_gives_way_to_the_published_method(cache, monkeypatch):
    """Fresh noises are harder than the trajectories: the fit is told from the method there alone."""
    errors = {"fitted": 2.0, "published": 1.0}
    monkeypatch.setattr(
        calibration, "fresh_errors",
        lambda model, schedule, noise, solvers, progress: [
            torch.full((32,), errors["fitted" if each.method == "fitted" else "published"]).double() for each in solvers
        ],
    )  # fmt: skip
    found = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    judged = found.solver.validation
    assert found.solver == dataclasses.replace(
        of_method(found.baseline, SCHEDULE, 5), validation=judged, model=found.solver.model
    )
    assert (judged.on, judged.ratio, judged.low, judged.high) == ("32 fresh noises", 1, 1, 1)
    errors["fitted"] = 0.5
    found = calibrate(TARGET, **GIVEN, samples=8, kept=False)
    assert (found.solver.method, found.solver.validation.ratio) == ("fitted", 0.5)


def test_more_evaluations_than_timesteps_are_refused_before_any_work():
    table = Schedule.of_betas(torch.linspace(0.002, 0.3, 14).tolist())
    with pytest.raises(ValueError, match="evaluations must be below the 14 entries of the table, got 14"):
        calibrate(pytest.fail, table, 14, 8, shape=(16,))


def test_the_solver_is_kept_in_a_file(made, tmp_path):
    save(made[0].solver, tmp_path / "solver.json")
    assert load(tmp_path / "solver.json") == made[0].solver


def test_another_network_has_another_digest():
    x = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    digests = {fingerprint(lambda y, level, s=s: s * TARGET(y, level), SCHEDULE, x) for s in (1.0, 1.01, 0.9)}
    assert len(digests) == 3


def test_it_says_what_to_paste_and_what_to_expect(made):
    found, _ = made
    assert str(found).startswith("Chosen      fitted in 5 evaluations\nTo expect   ")
    assert "64 fresh noises" in str(found)
    assert "solver=load('my.json')" in found.paste("my.json")


def test_too_few_trajectories_give_the_choice_for_the_schedule_and_say_so(caplog, monkeypatch):
    model, asked = counted()
    choice = of_method("unipc-2@log-snr", SCHEDULE, 5)
    monkeypatch.setattr(calibration, "for_schedule", lambda *args, **options: choice)
    with caplog.at_level(logging.WARNING):
        found = calibrate(model, **GIVEN, samples=LEAST_SAMPLES - 1)
    assert found.solver == choice
    assert "7 trajectories are too few to judge by, at least 8 are needed" in found.advice
    assert found.advice in caplog.text
    assert found.spent == sum(asked) == cost(5, LEAST_SAMPLES - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluations": 2}, r"evaluations must be an integer in \[3, 51\), got 2"),
        ({"samples": 0}, "samples must be a positive integer"),
        ({"shape": (16, 0)}, r"shape must be positive integers, got \(16, 0\)"),
        ({"shape": ()}, "shape must be positive integers"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"batch": 0}, "batch must be a positive integer"),
        ({"noise_model": lambda x, level: x * float("nan")}, "noise_model must return finite numbers"),
        ({"noise_model": lambda x, level: x[:, :2]}, "noise_model must return a tensor of shape"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(options, message):
    given = {"noise_model": TARGET, "schedule": SCHEDULE, "evaluations": 5, "shape": (16,), **options}
    with pytest.raises(ValueError, match=message):
        calibrate(**given)
