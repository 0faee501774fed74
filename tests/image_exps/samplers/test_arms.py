"""Arms spend exactly the evaluations that they are asked for, and are what their names say."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch

import toy
from image_exps.problems.seeds import sample_generators, starting_noise
from image_exps.problems.targets import TIMES
from image_exps.samplers.arms import BASES, Arm, arm
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.samplers.corrections import CONTROLS, find_corrections
from image_exps.samplers.table import ALGORITHMS, TABLE_BASES
from image_exps.utils import plugins
from lml.controls import Extrapolation, MatchedNoise
from lml.correction import LML, ReleasedLML
from lml.samplers import Level, dpm_solver, sample
from lml.samplers.dpm_solver_singlestep import dpm_solver_singlestep, singlestep_orders
from theory_checks.annealing.order import observed_order

EVALUATIONS = (5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)
TARGET = toy.target("cross-2d")
OF_THE_TABLE = [f"{base}/{correction}" for base in TABLE_BASES for correction in ("lml", "lml-paper", *CONTROLS)]


class Counting:
    def __init__(self, model):
        self.model, self.levels = model, []

    def __call__(self, x, level):
        self.levels.append(level)
        return self.model(x, level)


def run(name, evaluations, *, seed=0, first=0, count=3):
    counting = Counting(toy.noise_model(TARGET))
    plan = arm(name).build(evaluations, TARGET.dim, seed=seed, first=first, count=count)
    x = starting_noise(seed, first, count, (TARGET.dim,)).to(plan.dtype or torch.float64)
    return sample(plan.sampler, counting, x, plan.levels, plan.correction), counting.levels


@pytest.mark.parametrize("name", [*BASELINE_ARMS, *OF_THE_TABLE])
def test_a_baseline_and_an_arm_of_the_table_spends_exactly_the_evaluations_that_it_is_asked_for(name):
    for evaluations in EVALUATIONS:
        ends, levels = run(name, evaluations, count=1)
        assert len(levels) == evaluations
        assert ends.shape == (1, 2)
        assert "released" in name or bool(torch.isfinite(ends).all())


@pytest.mark.parametrize(
    ("name", "unable"),
    # Heun evaluates twice a step but for a last step into zero noise, which there is none of here; the Runge-Kutta
    # start of PNDM takes four evaluations in each of three steps.
    [("heun", (5, 7, 9, 15)), ("pndm-prk", (5, 6, 7, 9, 10)), ("euler", ())],
)
def test_a_base_outside_of_the_table_refuses_what_it_cannot_spend(name, unable):
    for evaluations in EVALUATIONS:
        if evaluations in unable:
            with pytest.raises(ValueError, match=f"evaluations must be a number that {name} can spend"):
                run(name, evaluations)
        else:
            assert len(run(name, evaluations)[1]) == evaluations


def test_the_published_budget_of_the_singlestep_solver():
    assert [singlestep_orders(n) for n in (1, 2, 3, 5, 6, 7)] == [(1,), (2,), (2, 1), (3, 2), (3, 2, 1), (3, 3, 1)]
    assert all(sum(singlestep_orders(n)) == n for n in range(1, 101))


def test_levels_inside_a_step_are_at_the_published_shares_and_on_the_schedule():
    levels = run("dpm-solver-3s", 6)[1]
    place = [level.half_log_snr for level in levels]
    h = place[3] - place[0]
    assert place[1] - place[0] == pytest.approx(h / 3, rel=1e-9)
    assert place[2] - place[0] == pytest.approx(2 * h / 3, rel=1e-9)
    assert place[4] - place[3] == pytest.approx(h / 2, rel=1e-9)  # steps uniform in log-SNR, the second of order two
    schedule = toy.noise_schedule("vp-linear")
    for level in levels:
        assert float(schedule.log_snr(level.time)) == pytest.approx(2 * level.half_log_snr, rel=1e-9, abs=1e-9)
        assert level.alpha**2 + level.sigma**2 == pytest.approx(1, rel=1e-12)


def _inner(now, after, share):
    half = now.half_log_snr + share * (after.half_log_snr - now.half_log_snr)
    return Level(math.sqrt(1 / (1 + math.exp(-2 * half))), math.sqrt(1 / (1 + math.exp(2 * half))))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_singlestep_steps_have_their_order_with_the_exact_flow_as_their_limit(order):
    schedule = toy.noise_schedule("vp-linear")
    start, end = toy.noise_levels(schedule, 1, log_snr=(-3, 1))
    x = TARGET.diffuse(start.alpha, start.sigma).sample(4, generator=torch.Generator().manual_seed(0))
    exact, model = toy.probability_flow(TARGET, x, start, end), toy.noise_model(TARGET)
    counts = (16, 32, 64, 128)
    ends = [
        sample(dpm_solver_singlestep((order,) * n, _inner), model, x,
               toy.noise_levels(schedule, n, log_snr=(-3, 1)), None) for n in counts
    ]  # fmt: skip
    found = observed_order([e - exact for e in ends])
    assert found.error < 0.5  # integers are told apart
    assert abs(found.limit - order) < found.error + 0.005
    assert float((ends[-1] - exact).norm()) < float((ends[0] - exact).norm()) * 2.0 ** (-3 * (order - 0.5))


def test_one_singlestep_step_of_first_order_is_ddim():
    levels = toy.noise_levels(toy.noise_schedule("vp-linear"), 4, times=(1.0, 1e-3))
    x, model = starting_noise(0, 0, 3, (2,)), toy.noise_model(TARGET)
    ours = sample(dpm_solver_singlestep((1,) * 4, _inner), model, x, levels)
    assert torch.equal(ours, sample(dpm_solver(1), model, x, levels))


def test_lml_has_the_defaults_of_the_schedulers_and_controls_shadow_the_same_lml():
    def correction(name, evaluations=5, dim=64):
        return arm(name).build(evaluations, dim, seed=0, count=2).correction

    assert correction("ddim/lml") == LML(1e-3, 5e-4)
    assert all(correction(f"{base}/lml") == LML(1e-3, 1e-4) for base in TABLE_BASES[1:])
    assert correction("ddim/lml") == LML()
    assert correction("ddim/lml(norm=extrapolated)") == LML(norm="extrapolated")
    assert correction("ddim/extrapolation(damping=0.01)") == Extrapolation(LML(0.01, 5e-4))
    noise = correction("unipc-3/noise(mixing=2e-4)")
    assert isinstance(noise, MatchedNoise)
    assert noise.lml == LML(1e-3, 2e-4)
    # Table 6 of the paper; kappa is one number for all budgets.
    paper = {n: correction("ddim/lml-paper", n) for n in (5, 7, 100)}
    assert [paper[n].damping for n in paper] == [8e-4, 1e-3, 5e-5]
    assert {c.mixing for c in paper.values()} == {5e-4 / 64}
    assert correction("ddim/released-float32", 5) == ReleasedLML(8e-4, 0.0)
    assert arm("ddim/released-float32").build(5, 2, seed=0, count=1).dtype is torch.float32
    assert arm("ddim/released").build(5, 2, seed=0, count=1).dtype is None


@pytest.mark.parametrize(
    "name", ["ddim", "ddim@log-snr", "pndm/lml", "unipc-3@time/lml(damping=0.01, damping_mode=adaptive, rank=2)"]
)
def test_a_name_and_its_arm_are_the_same(name):
    assert arm(name).name == name
    assert arm(arm(name).name) == arm(name)


def test_an_arm_has_the_levels_and_the_inner_levels_of_the_schedule_that_it_is_given():
    cosine = toy.noise_schedule("cosine")
    for name in ("ddim@karras", "dpm-solver-3s"):
        plan = arm(name).build(6, 2, seed=0, count=1, schedule=cosine, times=(0.9, 0.1))
        assert (plan.levels[0].time, plan.levels[-1].time) == (0.9, 0.1)
        asked = Counting(toy.noise_model(TARGET))
        sample(plan.sampler, asked, torch.zeros((1, 2), dtype=torch.float64), plan.levels)
        for level in asked.levels:
            assert float(cosine.alpha(level.time)) == pytest.approx(level.alpha, rel=1e-9)
    assert arm("ddim").build(6, 2, seed=0, count=1).levels[0].time == TIMES[0]


@pytest.mark.parametrize("name", ["ddim/noise", "ddim/random-turn", "pndm/element-noise(size=0.1)"])
def test_a_sample_is_the_same_in_any_batch(name):
    whole = run(name, 6, seed=3, count=6)[0]
    part = run(name, 6, seed=3, first=2, count=3)[0]
    # Rows of a small batch may be summed in another order: a few units in the last place, grown by the flow.
    torch.testing.assert_close(part, whole[2:5], rtol=1e-11, atol=1e-11)
    assert not torch.allclose(whole, run(name, 6, seed=4, count=6)[0], atol=1e-3)


def test_streams_of_a_sample_are_independent_and_fixed():
    drawn = {
        (seed, i, stream): float(torch.rand((), generator=sample_generators(seed, i, 1, stream)[0]))
        for seed, i, stream in itertools.product((0, 1), (0, 1), ("start", "correction", "model"))
    }
    assert len(set(drawn.values())) == 12
    assert torch.equal(starting_noise(0, 2, 2, (5,)), starting_noise(0, 0, 4, (5,))[2:])


def half(setting, strength=0.5):
    return LML(1e-3, 1e-3 * strength)


@pytest.fixture
def other_package(monkeypatch):
    """Install the corrections of another package, by name and object."""

    def install(**objects):
        points = [
            SimpleNamespace(name=n, value=f"other:{n}", group="lml.corrections", module="sys", load=lambda o=o: o)
            for n, o in objects.items()
        ]
        monkeypatch.setattr(plugins, "entry_points", lambda group: points)
        find_corrections.cache_clear()

    yield install
    find_corrections.cache_clear()


def test_other_packages_can_add_corrections(other_package):
    with pytest.raises(ValueError, match="correction must be one of none, lml"):
        arm("ddim/half")
    other_package(half=half)
    assert arm("ddim/half(strength=0.25)").build(5, 2, seed=0, count=1).correction == LML(1e-3, 2.5e-4)
    with pytest.raises(ValueError, match="parameter of half must be one of strength, got 'size'"):
        arm("ddim/half(size=1)")


def test_corrections_of_other_packages_that_cannot_be_are_refused(other_package):
    other_package(lml=half)
    with pytest.raises(ValueError, match=r"lml\.corrections: 'lml' is defined twice, the second time by other:lml"):
        arm("ddim")
    other_package(half=1)
    with pytest.raises(ValueError, match=r"lml\.corrections: 'half' \(other:half\) must be a function, got int"):
        arm("ddim")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dddim", "base must be one of ddim, pndm, .* got 'dddim'"),
        ("dpm-solver-3", "base must be one of .* dpm-solver-3s, .* dpm-solver-3m, .* got 'dpm-solver-3'"),
        ("euler-ancestral", "base must be one of"),
        ("ddim@even", "spacing must be one of time, log-snr, karras.* got 'even'"),
        ("ddim/lmm", "correction must be one of none, lml, .* got 'lmm'"),
        ("ddim/lml(lambda=1)", "parameter of lml must be one of damping, mixing, .* got 'lambda'"),
        ("ddim/float32(size=1)", "parameter of float32 must be one of .none"),
        ("ddim/lml(damping)", "parameters must have the form name=value, once each, got 'damping'"),
        ("ddim/lml(damping=1, damping=2)", "once each, got 'damping=2'"),
        ("ddim/lml(damping=[1])", "parameters must be numbers or words"),
        ("ddim/lml(damping=1", "must have the form"),
        ("", "must have the form"),
        (None, "must have the form"),
    ],
)
def test_a_name_that_means_nothing_is_refused_with_what_is_known(name, message):
    with pytest.raises(ValueError, match=message):
        arm(name)


def test_parameters_out_of_range_are_refused_by_the_correction():
    with pytest.raises(ValueError, match="damping must be a finite positive number"):
        arm("ddim/lml(damping=-1)").build(5, 2, seed=0, count=1)
    with pytest.raises(ValueError, match="evaluations must be"):
        arm("dpm-solver-3s").build(0, 2, seed=0, count=1)
    with pytest.raises(ValueError, match="orders must be"):
        dpm_solver_singlestep((4,), _inner)
    assert isinstance(Arm("ddim", "time"), Arm)
    assert set(TABLE_BASES) < set(BASES) == set(ALGORITHMS)
