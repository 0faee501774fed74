"""A pipeline as a noise model: the pure solver on it draws what the pipeline draws with the solver's scheduler."""

from __future__ import annotations

import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import MAKERS

from lml.schedulers import LMLSolverScheduler, pipeline_noise_model
from lml.solver import calibrate

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

NAMES = ["StableDiffusionPipeline", "PixArtAlphaPipeline", "StableDiffusion3Pipeline", "FluxPipeline"]


def pipeline(name, tmp_path):
    torch.manual_seed(0)
    (tmp_path / "tokens").mkdir()
    pipe, call = MAKERS[name](tmp_path / "tokens")
    pipe.set_progress_bar_config(disable=True)
    call = {key: value for key, value in call.items() if key not in ("num_inference_steps", "output_type")}
    return pipe, call


def latents_of(pipe, call):
    """Return the shape of a sample: of what the pipeline itself begins with."""
    made = pipe(**call, num_inference_steps=4, output_type="latent", return_dict=False)[0]
    return tuple(made.shape[1:])


@pytest.mark.parametrize("name", NAMES)
def test_the_pure_solver_on_it_is_the_pipeline_with_the_scheduler(name, tmp_path):
    pipe, call = pipeline(name, tmp_path)
    pipe.scheduler = LMLSolverScheduler.from_config(
        pipe.scheduler.config, solver="unipc-2@time", final_sigmas_type="sigma_min"
    )
    x = torch.randn(1, *latents_of(pipe, call), generator=torch.Generator().manual_seed(0))
    drawn = pipe(**call, latents=x, num_inference_steps=4, output_type="latent", return_dict=False)[0]
    solver, own = pipe.scheduler.solver, pipe.scheduler
    model = pipeline_noise_model(pipe, **call)
    pure = solver.sample(model, x)
    assert pipe.scheduler is own
    # Both in float32, the pure solver in the noise, whose error the first level multiplies by sigma/alpha.
    largest = solver.levels[0].sigma / solver.levels[0].alpha
    torch.testing.assert_close(pure, drawn, rtol=0, atol=2.0**-23 * largest * 100 * float(drawn.abs().max()))


def test_it_can_be_calibrated_prompt_by_prompt(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path / "cache"))
    pipe, call = pipeline("StableDiffusionPipeline", tmp_path)
    shape = latents_of(pipe, call)
    scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config)
    model = pipeline_noise_model(pipe, **{**call, "prompt": ["a red fox", "a fox"]})
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    level = scheduler.table.levels(3, "time")[1]
    both = model(x, level)
    alone = pipeline_noise_model(pipe, **{**call, "prompt": "a fox"})(x[1:], level)
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="prompt must be at least 3, one for each sample, got 2"):
        model(torch.zeros(3, *shape), level)
    with pytest.raises(ValueError, match="latents must not be given"):
        pipeline_noise_model(pipe, latents=x)
    found = calibrate(model, scheduler.table, 3, 2, shape=shape)  # too few to fit: the way is what is tested
    pipe.scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config, solver=found.solver)
    pipe(**call, num_inference_steps=3, output_type="latent")
    assert pipe.scheduler.solver.weights == found.solver.weights
