"""A solver: every multistep method of `lml.samplers` to rounding, kept in a file, refused where it does not fit."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

import toy
from lml.correction import LML
from lml.profile import Profile
from lml.samplers import DDIM, Level, sample, sampler
from lml.solver import METHODS, SPACINGS, Method, Schedule, Solver, Validation, load, method, of_levels, of_method, save
from lml.strength import DEFAULT_DAMPING

TARGET = toy.target("random-16d")
MODEL = toy.noise_model(TARGET)
SCHEDULE = Schedule.sampled(toy.noise_schedule("vp-linear"))


def start(count=4, seed=0):
    return torch.randn(count, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Weights are read off a sampler run on unit vectors: each is off by some units of 2^-53 times the largest number there,
# (sigma/alpha) = 152 at the first level. Samples of order 10, weights of order 10, ten steps.
ROUNDING = 2.0**-53 * 152 * 10 * 10 * 10


@pytest.mark.parametrize("steps", [3, 8, 16])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("base", METHODS)
def test_rows_are_the_published_sampler_to_rounding(base, spacing, steps):
    made = of_method(f"{base}@{spacing}", SCHEDULE, steps)
    published = sample(sampler(base), MODEL, start(), made.levels)
    torch.testing.assert_close(made.sample(MODEL, start()), published, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("base", METHODS)
def test_with_lml_they_are_the_published_sampler_with_lml(base):
    made = of_method(f"{base}@log-snr/lml(0.3)", SCHEDULE, 7)
    published = sample(sampler(base), MODEL, start(), made.levels, LML(mixing=0.3 * DEFAULT_DAMPING))
    torch.testing.assert_close(made.sample(MODEL, start()), published, rtol=0, atol=ROUNDING)
    plain = sample(sampler(base), MODEL, start(), made.levels)
    assert (published - plain).abs().max() > 1e6 * ROUNDING


def test_a_share_of_the_norm_is_that_of_a_profile():
    made = of_method("ipndm-3@karras", SCHEDULE, 6)
    for rho in (0.3, 1.0):
        shared = replace(made, restored=(rho,) * 6)
        profile = sample(DDIM, MODEL, start(), made.levels, Profile(made.weights, rho))
        torch.testing.assert_close(shared.sample(MODEL, start()), profile, rtol=0, atol=ROUNDING)


def test_a_step_into_no_noise_is_a_step_of_the_published_sampler():
    levels = (*SCHEDULE.levels(6, "karras"), Level(1.0, 0.0, 0.0))
    for base in METHODS:
        made = of_levels(Method(base, "karras"), levels)
        published = sample(sampler(base), MODEL, start(), levels)
        torch.testing.assert_close(made.sample(MODEL, start()), published, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("base", ["unipc-2", "ipndm-4"])
def test_a_published_method_that_begins_later_is_the_sampler_on_the_levels_left(base):
    made = of_method(f"{base}@log-snr", SCHEDULE, 8)
    later = made.tail(3)
    torch.testing.assert_close(
        later.sample(MODEL, start()), sample(sampler(base), MODEL, start(), made.levels[3:]), rtol=0, atol=ROUNDING
    )


def test_fitted_rows_that_begin_later_take_the_first_noise_for_those_before():
    weights = tuple(tuple(0.1 * (j + 1) for j in range(i)) for i in range(5))
    made = Solver("fitted", SCHEDULE.levels(5, "log-snr"), weights, (0.0,) * 5)
    noises = [start(seed=i) for i in range(5)]
    row = made.rows.at(noises[4], [noises[3], noises[2], noises[2], noises[2]], 4)
    later = made.tail(2)
    assert [len(each) for each in later.weights] == [0, 1, 2]
    torch.testing.assert_close(later.rows.at(noises[4], [noises[3], noises[2]], 2), row, rtol=0, atol=1e-14)
    for begin in (-1, 5, True, 1.0):
        with pytest.raises(ValueError, match=r"begin must be an integer in \[0, 5\)"):
            made.tail(begin)


def test_a_file_gives_the_same_solver(tmp_path):
    judged = Validation("16 trajectories held out", 16, 0.7, 0.6, 0.9, "unipc-2@karras")
    made = replace(of_method("unipc-3@karras/lml(0.1)", SCHEDULE, 9), validation=judged, model="abc")
    save(made, tmp_path / "solver.json")
    assert load(tmp_path / "solver.json") == made
    assert [path.name for path in tmp_path.iterdir()] == ["solver.json"]
    assert str(judged) == "0.70 [0.60, 0.90] times the distance of unipc-2@karras, on 16 trajectories held out"
    nameless = replace(made, levels=tuple(Level(*level[:2]) for level in made.levels))
    save(nameless, tmp_path / "solver.json")
    assert all(math.isnan(level.time) for level in load(tmp_path / "solver.json").levels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "must be a solver"),
        ({"version": 2}, "must be of version 1, got 2"),
        ({"turn": "much"}, "is no solver: could not convert"),
        ({"weights": [[], [1.0], [1.0]]}, "must have 2 finite numbers in row 2"),
        ({"weights": [[], [math.inf], [1.0, 1.0]]}, "must have 1 finite numbers in row 1"),
        ({"restored": [0, 0, 2]}, r"restored must be a number in \[0, 1\]"),
        ({"restored": [0]}, "restored must be 3 numbers, got 1"),
        ({"levels": [[0.1, 0.9, 0]] * 4}, "levels must have falling noise"),
        ({"levels": [[0.0, 1.0, 0], [1.0, 0.1, 0]]}, "alpha > 0 and sigma >= 0"),
        ({"extra": 1}, "must have format, levels"),
        ({"turn": -1}, "turn must"),
    ],
)
def test_a_file_that_is_damaged_is_refused_by_name(tmp_path, change, message):
    path = tmp_path / "solver.json"
    save(of_method("ddim@time", SCHEDULE, 3), path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message) as raised:
        load(path)
    assert str(path) in str(raised.value)


def test_what_is_not_there_or_is_not_json_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"none\.json cannot be read: No such file"):
        load(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"format": ')
    with pytest.raises(ValueError, match=r"half\.json is not JSON"):
        load(tmp_path / "half.json")


@pytest.mark.parametrize("name", ["unipc-2@karras", "ddim@log-snr/lml(0.5)"])
def test_names_go_both_ways(name):
    assert method(name).name == name


@pytest.mark.parametrize(
    ("name", "message"),
    [("unipc-2", "must have the form"), ("heun@time", "base must be one of ddim"), (3, "must have the form"),
     ("ddim@leading", "spacing must be one of time"), ("ddim@time/lml(-1)", "strength must"),
     ("ddim@time/lml(x)", "strength must be a number, got 'x'")],
)  # fmt: skip
def test_names_of_nothing_are_refused(name, message):
    with pytest.raises(ValueError, match=message):
        method(name)
