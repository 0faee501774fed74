"""The comparison of norms: its weights, its rows from a small plan, its rule, and what is recorded."""

import numpy as np
import pandas as pd
import pytest
import torch

from image_exps.sweeps.norms import PLAN, ROWS, Plan, Problem, measure, never_worse, weights_of_levels
from lml.samplers import SAMPLERS, Level, sample
from lml.schedulers.options import DEFAULTS
from theory_checks.annealing.multistep import multistep
from toy import noise_levels, noise_model, noise_schedule, target

SMALL = Plan((Problem("ring-2d", "exact", 8, ("ddim", "unipc-3"), 40),), ("karras",), (6,), 3)


def test_weights_of_levels_in_sigma_over_alpha_are_adams_and_bashforths():
    mixture = target("cross-2d")
    model = noise_model(mixture)
    path = noise_levels(noise_schedule("vp-linear"), 7, spacing="karras", times=(1.0, 1e-2))
    x = mixture.diffuse(path[0].alpha, path[0].sigma).sample(4, generator=torch.Generator().manual_seed(0))
    first = sample(SAMPLERS["ddim"], model, x, path[:2])
    ours = sample(SAMPLERS["ddim"], model, x, path, weights_of_levels(path, log_snr=False))
    torch.testing.assert_close(ours, multistep(model, [x, first], path, "free"))


def test_weights_of_levels_in_log_snr_are_a_half_on_equal_steps():
    path = [Level(1.0, 2.0**-i) for i in range(4)]
    rows = weights_of_levels(path, log_snr=True).weights
    assert rows[0] == ()
    np.testing.assert_allclose(rows[2], (0.5, 0.0))


def test_a_small_plan_gives_a_row_a_cell_from_paired_errors():
    rows = pd.DataFrame(measure(SMALL))
    assert len(rows) == SMALL.cells == 2
    ddim = rows[rows["base"] == "ddim"].iloc[0]
    assert ddim["gain"] == pytest.approx(1 - ddim["error extrapolated"] / ddim["error kept"])
    assert ddim["low of all"] < ddim["low"] < ddim["gain"] < ddim["high"] < ddim["high of all"]
    assert ddim["error base"] > ddim["error kept"] > 0
    assert rows["error free"].isna().tolist() == [False, True]


def test_one_cell_that_is_certainly_worse_decides():
    assert never_worse(pd.DataFrame({"high of all": [0.3, 0.0]}))
    assert not never_worse(pd.DataFrame({"high of all": [0.3, -0.01]}))


def test_the_recorded_rows_are_those_of_the_plan():
    rows = pd.read_csv(ROWS)
    assert len(rows) == PLAN.cells
    assert set(rows["seed"]) == {PLAN.seed}
    assert {(p.target, p.model, p.samples) for p in PLAN.problems} == set(
        rows[["target", "model", "count"]].itertuples(index=False, name=None)
    )
    # The flow's end is known to a seventh of what half as many steps changed: a tenth of what is compared at most.
    assert (rows["refinement"] / 7 < 0.1 * rows[["error kept", "error extrapolated"]].min(axis=1)).all()


def test_the_defaults_are_what_the_rows_decide():
    assert never_worse(pd.read_csv(ROWS)) == (DEFAULTS["norm"] == "extrapolated")
