"""Where the learned setting stops: at the range of noise levels that it was learned on, a quarter more or less."""

import diffusers
import pandas as pd
import pytest
import torch
from diffusers_warnings import NUMPY_2

from image_exps.search.ranges import MOVED, RECORDED, TABLES, measure
from image_exps.search.trials import RESULTS
from toy.denoiser import scheduler_config

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


def ratios(table):
    return [row["ratio"] for row in measure(table, "random-16d", count=128)]


def test_it_beats_every_baseline_on_linear_betas_and_not_on_those_of_stable_diffusion_or_on_cosine():
    assert max(ratios("linear")) < 0.6
    assert min(ratios("stable-diffusion")) > 1
    assert min(ratios("cosine")) > 1


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_that_of_the_betas_it_is_named_for(name):
    betas = {"latent-diffusion": {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}}
    known = {"linear": "vp-linear", "stable-diffusion": "vp-scaled-linear", "cosine": "cosine"}
    config = betas.get(name) or scheduler_config(known[name])
    squared = diffusers.DDIMScheduler(**config).alphas_cumprod.double()
    # A product of a thousand float32 factors.
    torch.testing.assert_close(squared, TABLES[name].discrete(1000).alpha ** 2, rtol=1000 * 2.0**-24 * 2, atol=1e-7)


def test_a_quarter_from_the_learned_range_it_wins_where_it_does_there_and_not_at_twice_as_far():
    room, linear = pd.read_csv(RESULTS / "ranges" / "room.csv"), TABLES["linear"].discrete(1000).log_snr / 2
    near, far = MOVED[:2]
    moved = pd.concat([room["first"] - float(linear[-1]), room["last"] - float(linear[0])], axis=1).abs().max(axis=1)
    recorded = pd.read_csv(RESULTS / "ranges" / "ranges.csv").query("table == 'linear'")
    lost = recorded[recorded["ratio"] > 1]
    assert lost[["target", "evaluations"]].values.tolist() == [["ring-2d", 5]]
    wins = ~((room["target"] == "ring-2d") & (room["evaluations"] == 5))
    worst = room[wins].groupby(moved.round(2))["ratio"].max()
    assert worst[near] < 1 < worst[far]
    assert (worst[far].round(1), worst[MOVED[2]].round(1)) == (1.7, 2.1)


def test_moved_ends_are_those_that_are_asked_for_and_what_is_recorded():
    room = pd.read_csv(RESULTS / "ranges" / "room.csv")
    rows = measure("linear", "ring-2d", count=256, moved=(-0.5, -0.5), baselines=RECORDED)
    linear = TABLES["linear"].discrete(1000).log_snr / 2
    assert rows[0]["first"] == pytest.approx(float(linear[-1]) - 0.5)
    assert rows[0]["last"] == pytest.approx(float(linear[0]) - 0.5)
    recorded = room[(room["target"] == "ring-2d") & (room["first"] == -5.559) & (room["last"] == 4.105)]
    assert [row["ratio"] for row in rows] == pytest.approx(recorded["ratio"].tolist(), rel=1e-3)
