"""Sweeps on networks that nobody here trained: their own schedule, their own flow, and the device of networks."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_sweep import grid

from image_exps.networks.placement import network_device, on_device
from image_exps.pipelines.network import network
from image_exps.problems.endpoints import rms
from image_exps.problems.seeds import starting_noise
from image_exps.sweeps.cell import flows_of, run_cell
from image_exps.sweeps.run import run_sweep
from lml.samplers import SAMPLERS, sample

PART = {"targets": ["galaxy-hsc-32"], "models": ["network"], "count": 3, "evaluations": [3]}


def test_a_cell_names_the_flows_that_its_distances_need():
    few = grid(**PART, arms=["ddim"], distances=["endpoint-gain"]).cells[0]
    assert flows_of(few) == [("galaxy-hsc-32", "network", 0, 0)]
    draws = grid(**PART | {"count": 65}, arms=["ddim"], distances=["flow-sliced"]).cells[0]
    assert [(seed, block) for *_, seed, block in flows_of(draws)] == [(0, 0), (0, 1), (500_000, 0), (500_000, 1)]
    assert flows_of(grid(distances=["frechet"]).cells[0]) == []


def test_weights_that_are_not_here_are_said_before_a_cell_is_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_OUTSIDE", "none")
    with pytest.raises(ValueError, match=r"galaxygrad 0\.2\.1 is not looked for"):
        run_sweep(grid(**PART, arms=["ddim"], distances=["endpoint-rmse"]), tmp_path)


def test_networks_are_placed_where_the_block_says_and_precision_is_given_back():
    assert network_device() == torch.device("cpu")
    before = torch.backends.cudnn.allow_tf32
    with on_device("cuda:0"):
        assert network_device() == torch.device("cuda:0")
        assert not torch.backends.cudnn.allow_tf32
    assert network_device() == torch.device("cpu")
    assert torch.backends.cudnn.allow_tf32 == before


def test_a_device_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ValueError, match="device must be cpu, cuda"):
        run_sweep(grid(), Path(tmp_path) / "out", device="gpu")


@pytest.mark.outside("galaxygrad")
def test_a_cell_is_the_networks_own_sampling_held_against_its_own_flow(tmp_path, monkeypatch):
    monkeypatch.setattr("image_exps.problems.endpoint_cache._STEPS_OF_PICTURES", 20)
    monkeypatch.setattr("image_exps.problems.endpoint_cache._BLOCK_OF_GALAXIES", 3)
    names = ["endpoint-rmse", "endpoint-gain", "endpoint-nearer", "flow-frechet", "flow-sliced"]
    cell = grid(**PART, arms=["ddim@karras/lml"], distances=names).cells[0]
    rows = {row["distance"]: row for row in run_cell(cell, tmp_path)}
    made = network("galaxy-hsc-32")
    x = starting_noise(0, 0, 3, made.shape).float()

    def run(base, steps, spacing, correction=None):
        return sample(SAMPLERS[base], made.noise_model, x, made.levels(steps, spacing), correction).flatten(1)

    from image_exps.samplers.arms import arm

    end = run("dpm-solver++-3m", 20, "log-snr")
    errors = rms(run("ddim", 3, "karras", arm("ddim/lml").build(3, 1024, seed=0, count=3).correction) - end)
    base = rms(run("ddim", 3, "karras") - end)
    # Rounding in float32, of another batch.
    assert rows["endpoint-rmse"]["value"] == pytest.approx(float(errors.mean()), rel=1e-4)
    assert rows["endpoint-gain"]["value"] == pytest.approx(1 - float(errors.mean() / base.mean()), rel=1e-4)
    assert rows["endpoint-nearer"]["value"] == float((errors < base).double().mean())
    assert all(np.isfinite(rows[name]["value"]) and rows[name]["floor"] > 0 for name in names[3:])
