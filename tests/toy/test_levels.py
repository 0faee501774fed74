import pytest
import torch

import toy
from lml.samplers import Level
from lml.tuned import tuned_fractions
from toy.levels import SPACINGS, level_at, noise_levels
from toy.schedule import SCHEDULES


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("spacing", SPACINGS)
def test_levels_run_from_end_to_end_with_falling_noise(name, spacing):
    schedule = SCHEDULES[name]
    levels = noise_levels(schedule, 9, spacing=spacing, times=(0.9, 0.05))
    assert len(levels) == 10
    assert levels[0] == level_at(schedule, 0.9)
    assert levels[-1] == level_at(schedule, 0.05)
    halves = [level.half_log_snr for level in levels]
    assert halves == sorted(halves)
    for level in levels:
        assert level.alpha == float(schedule.alpha(level.time))
        assert level.sigma == float(schedule.sigma(level.time))


@pytest.mark.parametrize("name", SCHEDULES)
def test_each_spacing_has_equal_steps_of_its_variable(name):
    schedule = SCHEDULES[name]
    variables = {
        "time": lambda level: level.time,
        "log-snr": lambda level: level.half_log_snr,
        "karras": lambda level: (level.sigma / level.alpha) ** (1 / 7),
    }
    for spacing, variable in variables.items():
        made = noise_levels(schedule, 7, spacing=spacing, times=(0.9, 0.05))
        values = torch.tensor([variable(level) for level in made], dtype=torch.float64)
        steps = values.diff()
        # Inverting a schedule costs some ten roundings; a level's variable is of order one, its steps a tenth of it.
        torch.testing.assert_close(steps, steps.mean().expand(7), rtol=1e-12, atol=0)


def test_log_snr_ends_are_met_and_the_last_level_may_be_clean():
    schedule = toy.noise_schedule("vp-linear")
    levels = noise_levels(schedule, 4, log_snr=(-4.0, 3.0))
    assert 2 * levels[0].half_log_snr == pytest.approx(-4, abs=1e-12)
    assert 2 * levels[-1].half_log_snr == pytest.approx(3, abs=1e-12)
    clean = noise_levels(schedule, 5, log_snr=(-4.0, 3.0), final_zero=True)
    assert clean[:5] == levels
    assert clean[5] == Level(1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be a positive integer, got 0"),
        ({"steps": 1, "final_zero": True}, "steps must be an integer of at least 2, got 1"),
        ({"steps": True}, "steps must be"),
        ({"spacing": "sqrt"}, "spacing must be one of time, log-snr, karras, tuned, got 'sqrt'"),
        ({"log_snr": (0.0, 1.0)}, "exactly one of times and log_snr must be given"),
        ({"times": None}, "exactly one of times and log_snr must be given"),
        ({"times": (0.1, 0.9)}, r"times must lie in \[0, 1\], the later one first, got \(0.1, 0.9\)"),
        ({"times": (1.1, 0.9)}, "times must lie in"),
        ({"times": (1.0, 0.0)}, "times must have a finite log-SNR"),
        ({"times": None, "log_snr": (1.0, -1.0)}, "log_snr must rise"),
        ({"times": None, "log_snr": (-50.0, 1.0)}, "log_snr must lie within the schedule"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    arguments = {"steps": 4, "times": (0.9, 0.1)} | options
    with pytest.raises(ValueError, match=message):
        noise_levels(toy.noise_schedule("vp-linear"), arguments.pop("steps"), **arguments)


def test_learned_levels_are_their_fractions_of_the_log_snr():
    made = noise_levels(toy.noise_schedule("vp-linear"), 8, spacing="tuned", times=(1.0, 1e-3))
    values = [level.half_log_snr for level in made]
    fractions = [(value - values[0]) / (values[-1] - values[0]) for value in values]
    # Inverting a schedule costs some ten roundings.
    assert fractions == pytest.approx(tuned_fractions(8), abs=1e-12)
