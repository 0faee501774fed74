"""The command calibrate: a solver that its scheduler takes, what to expect, and plain errors."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner
from diffusers_warnings import NUMPY_2
from small_pipelines import save_pipeline

from image_exps.commands.calibrate import command
from image_exps.networks.galaxies import SCHEDULE
from lml.schedulers import LMLSolverScheduler
from lml.solver import load

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


def test_a_folder_gets_a_solver_that_its_scheduler_takes(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path / "cache"))
    folder, out = save_pipeline("DDPMPipeline", tmp_path), tmp_path / "solver.json"
    result = CliRunner().invoke(command, ["--model", str(folder), "-n", "4", "--samples", "8", "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("cost: about ")
    assert result.stdout.startswith("Chosen      ")
    assert "To expect   " in result.stdout
    assert f"solver=load({str(out)!r})" in result.stdout
    config = json.loads((folder / "scheduler" / "scheduler_config.json").read_text())
    scheduler = LMLSolverScheduler.from_config(config, solver=load(out))
    scheduler.set_timesteps(4)
    assert scheduler.solver.weights == load(out).weights


def test_the_table_of_galaxies_is_that_of_their_diffusion():
    from image_exps.commands.calibrate import _schedule

    table = _schedule("galaxy-hsc-32")
    exact = SCHEDULE.log_snr((torch.arange(1000, dtype=torch.float64) + 1) / 1000) / 2
    # Products of a thousand factors of float64.
    torch.testing.assert_close(torch.tensor(table.half_log_snr, dtype=torch.float64).flip(0), exact, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nobody"], "name must be one of fashion-mnist"),
        (["--model", "fashion-mnist", "--out", "nowhere/solver.json"], "--out must be in a folder that exists"),
        (["--model", "fashion-mnist", "-n", "2"], "2 is not in the range 3<=x<=50"),
    ],
)
def test_what_cannot_be_is_said_in_a_sentence(arguments, message):
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
