"""A former name of `LMLSolverScheduler`: it warns, and a pipeline that was saved with it still samples."""

from __future__ import annotations

import json

import diffusers
import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import pixel_pipeline

import lml.schedulers

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SAID = "LMLTunedDDIMScheduler is now a name of LMLSolverScheduler, whose levels and weights are others"
#: The file that the class wrote while it was one.
SAVED = """{
  "_class_name": "LMLTunedDDIMScheduler",
  "_diffusers_version": "0.38.0",
  "beta_end": 0.02,
  "beta_schedule": "linear",
  "beta_start": 0.0001,
  "clip_sample": true,
  "clip_sample_range": 1.0,
  "dynamic_thresholding_ratio": 0.995,
  "num_train_timesteps": 1000,
  "prediction_type": "epsilon",
  "profile": true,
  "rescale_betas_zero_snr": false,
  "sample_max_value": 1.0,
  "set_alpha_to_one": true,
  "steps_offset": 0,
  "thresholding": false,
  "timestep_spacing": "leading",
  "trained_betas": null
}
"""


def former():
    with pytest.warns(FutureWarning, match=SAID):
        from lml.schedulers import LMLTunedDDIMScheduler
    return LMLTunedDDIMScheduler


def test_the_former_name_warns_where_it_is_used_and_is_the_solver():
    with pytest.warns(FutureWarning, match=SAID) as warned:
        found = lml.schedulers.LMLTunedDDIMScheduler
    assert found is lml.schedulers.LMLSolverScheduler
    assert [warning.filename for warning in warned] == [__file__]
    assert former() is found
    assert "LMLTunedDDIMScheduler" not in lml.schedulers.__all__


def test_a_name_that_never_was_is_no_attribute():
    with pytest.raises(AttributeError, match=r"module 'lml\.schedulers' has no attribute 'LMLTunedScheduler'"):
        lml.schedulers.LMLTunedScheduler  # noqa: B018


@pytest.mark.parametrize(
    ("config", "family"),
    [
        (json.loads(SAVED), "betas"),
        (diffusers.DDIMScheduler().config, "betas"),
        (
            diffusers.PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").config,
            "betas",
        ),
        (diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).config, "flow"),
    ],
    ids=["saved", "linear", "scaled-linear", "flow"],
)
def test_from_config_of_any_family_makes_a_solver_that_samples(config, family):
    scheduler = former().from_config(config, clip_sample=False)
    assert scheduler.config.family == family
    scheduler.set_timesteps(5)
    x = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for t in scheduler.timesteps:
        x = scheduler.step(0.5 * x, t, x).prev_sample
    assert bool(torch.isfinite(x).all())


def test_a_pipeline_that_was_saved_with_it_loads_samples_and_is_saved_by_the_name_of_now(tmp_path):
    torch.manual_seed(0)
    pipe = pixel_pipeline()
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    index["scheduler"] = ["lml.schedulers", "LMLTunedDDIMScheduler"]
    (tmp_path / "model_index.json").write_text(json.dumps(index))
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(SAVED)
    with pytest.warns(FutureWarning, match=SAID):
        loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path)
    assert type(loaded.scheduler) is lml.schedulers.LMLSolverScheduler
    loaded.save_pretrained(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "model_index.json").read_text())
    assert again["scheduler"] == ["lml.schedulers", "LMLSolverScheduler"]

    def picture():
        call = {"num_inference_steps": 5, "output_type": "np"}
        return loaded(generator=torch.Generator().manual_seed(0), **call).images

    loaded.set_progress_bar_config(disable=True)
    made = picture()
    assert np.isfinite(made).all()
    loaded.scheduler = lml.schedulers.LMLSolverScheduler.from_config(pipe.scheduler.config)
    assert np.array_equal(picture(), made)
