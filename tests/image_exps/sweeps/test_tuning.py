"""Tuners find the least value of objectives that are known, and say what they tried and what noise is left."""

import math

import pytest
import torch
from click.testing import CliRunner

from image_exps.commands.tune import command
from image_exps.sweeps.tuning import compare, paper_search, scan_search, tune_damping
from image_exps.sweeps.tuning_objective import arm_objective

BOUNDS = (1e-4, 1.0)
LOW, HIGH = map(math.log, BOUNDS)
RANGE = HIGH - LOW


def valley(place):
    """A parabola in log lambda, least at a share of the range."""
    return lambda damping, seed: ((math.log(damping) - LOW) / RANGE - place) ** 2


def place_of(damping):
    return (math.log(damping) - LOW) / RANGE


@pytest.mark.parametrize("place", [0.0, 0.03, 0.2, 0.5, 0.61, 0.97, 1.0])
def test_the_scan_finds_the_least_of_a_valley_wherever_it_is(place):
    trace = tune_damping(valley(place), bounds=BOUNDS, method="scan")
    # Six points leave two of their distances, 0.4 of the range; of six sections two start and four narrow, 0.62 each.
    assert abs(place_of(trace.best) - place) < 0.4 * 0.619**4
    assert len(trace.trials) == 12


def test_the_paper_s_search_takes_five_evaluations_and_cannot_reach_the_ends_of_its_range():
    reached = [place_of(tune_damping(valley(p / 100), bounds=BOUNDS, method="paper").best) for p in range(101)]
    assert min(reached) == pytest.approx(1 / 2 - 7 / 32)  # a step up that fails, then three down
    assert max(reached) == pytest.approx(1 / 2 + 15 / 32)
    assert len(tune_damping(valley(0.7), bounds=BOUNDS, method="paper").trials) == 5
    # Within reach it does what it should: the last step is 1/32 of the range.
    assert abs(reached[70] - 0.7) < 1 / 32


def test_the_paper_s_search_stays_in_the_wrong_valley_and_the_scan_does_not():
    def two_valleys(damping, seed):
        x = place_of(damping)
        return min((x - 0.8) ** 2, (x - 0.2) ** 2 - 0.02)

    paper, scan = (tune_damping(two_valleys, bounds=BOUNDS, method=m) for m in ("paper", "scan"))
    assert place_of(paper.best) == pytest.approx(0.8, abs=1 / 32)
    assert place_of(scan.best) == pytest.approx(0.2, abs=0.06)
    assert min(t.value for t in scan.trials) < min(t.value for t in paper.trials) - 0.01


def test_every_damping_meets_the_same_seeds_and_the_noise_that_is_left_is_stated():
    asked = []

    def noisy(damping, seed):
        asked.append((damping, seed))
        generator = torch.Generator().manual_seed(seed)
        shared, own = torch.randn(2, generator=generator, dtype=torch.float64).tolist()
        return valley(0.4)(damping, seed) + shared + 1e-3 * own * place_of(damping)

    trace = tune_damping(noisy, bounds=BOUNDS, seeds=range(8))
    assert {seed for _, seed in asked} == set(range(8))
    assert len(asked) == 8 * 12
    # What the seeds share cancels in differences: the noise is that of the rest, and far below a trial's own error.
    assert trace.noise < 1e-3
    assert min(t.error for t in trace.trials) > 0.1
    assert abs(place_of(trace.best) - 0.4) < 0.06
    assert math.isnan(tune_damping(valley(0.5), seeds=[3]).noise)


def test_dampings_where_samples_are_not_finite_are_the_worst():
    def cliff(damping, seed):
        return math.nan if place_of(damping) < 0.3 else valley(0.35)(damping, seed)

    assert abs(place_of(tune_damping(cliff, bounds=BOUNDS).best) - 0.35) < 0.06
    with pytest.raises(ValueError, match="objective must be finite somewhere in bounds, it is not at any of 12"):
        tune_damping(lambda damping, seed: math.nan, bounds=BOUNDS)


@pytest.mark.parametrize(("search", "count"), [(paper_search, 7), (scan_search, 7), (scan_search, 20)])
def test_a_search_evaluates_as_often_as_it_is_told(search, count):
    asked = []
    search(lambda place: asked.append(place) or (place - 0.3) ** 2, 0.0, 1.0, count)
    assert len(asked) == count == len(set(asked))
    assert all(0 <= place <= 1 for place in asked)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bounds": (0.0, 1.0)}, "bounds must be two rising positive numbers"),
        ({"bounds": (1.0, 0.1)}, "bounds must be"),
        ({"method": "gradient"}, "method must be one of paper, scan, got 'gradient'"),
        ({"seeds": ()}, "seeds must be at least one"),
        ({"iterations": 2}, "iterations for scan must be an integer of at least 4, got 2"),
        ({"iterations": 0, "method": "paper"}, "iterations for paper must be a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        tune_damping(valley(0.5), **options)


def test_an_objective_of_an_arm_is_the_distance_of_its_samples_and_names_what_it_does_not_know(tmp_path):
    objective = arm_objective("ring-2d", "ddim/lml", 5, "endpoint-rmse", count=16, cache=tmp_path)
    assert objective(1e-3, 0) == objective(1e-3, 0) != objective(1e-3, 1)
    assert objective(1e-3, 0) != objective(1e-2, 0)
    with pytest.raises(ValueError, match="parameter of none must be one of"):
        arm_objective("ring-2d", "ddim", 5, "endpoint-rmse", count=16, cache=tmp_path)
    with pytest.raises(ValueError, match="distances must be of"):
        arm_objective("ring-2d", "ddim/lml", 5, "fid", count=16, cache=tmp_path)
    done = CliRunner().invoke(command, ["ring-2d", "--count", "16", "--seeds", "2", "--cache", str(tmp_path)])
    assert done.exit_code == 0
    assert done.output.count("\ndamping ") == 12
    assert "Best damping: " in done.output
    assert "On 3 other seeds: " in done.output


def test_every_trial_is_notified_as_it_is_done():
    notified = []
    trace = tune_damping(valley(0.5), bounds=BOUNDS, seeds=(0, 1), notify=notified.append)
    assert tuple(notified) == trace.trials


def test_the_best_meets_the_untuned_in_pairs():
    found = compare([1.0, 2.0, 3.0], [2.0, 2.5, 4.5])
    # Differences -1, -1/2, -3/2: mean -1, deviation 1/2, and Student's 4.3027 at two degrees of freedom.
    assert found.value == -1
    assert found.high - found.low == pytest.approx(2 * 4.302653 * 0.5 / 3**0.5, rel=1e-6)
    assert math.isnan(compare([1.0], [2.0]).low)
    assert math.isnan(compare([1.0, math.nan], [2.0, 1.0]).low)
    with pytest.raises(ValueError, match="the same seeds, at least one, got 1 and 2"):
        compare([1.0], [1.0, 2.0])


@pytest.mark.slow
def test_on_digits_the_scan_finds_a_better_damping_than_the_paper_s_search(tmp_path):
    # eta0 = 1/2 at 1e-3 is near the best of DDIM; the middle of this range is 0.03, far too weak, and the first step
    # of the paper's search goes to where it is weaker still.
    objective = arm_objective("digits", "ddim/lml", 5, "endpoint-rmse", count=256, cache=tmp_path)
    paper, scan = (tune_damping(objective, bounds=(1e-4, 10.0), method=m, seeds=(0, 1)) for m in ("paper", "scan"))
    assert 3e-4 < scan.best < 3e-3
    least = {trace: min(t.value for t in trace.trials) for trace in (paper, scan)}
    assert least[scan] < least[paper] - 3 * scan.noise
