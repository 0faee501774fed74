"""Whole pipelines on small random models: a picture with LML, and the same one after saving and loading."""

from __future__ import annotations

import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from exact_loop import NUMPY_2
from small_pipelines import MAKERS, pixel_pipeline

import lml.schedulers as schedulers

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

LML_ON = {"damping": 0.5, "mixing": 0.2, "damping_mode": "relative"}
# Loaded weights lie elsewhere in memory, and kernels sum in an order that depends on it, with any scheduler: some ten
# roundings of numbers of order one.
REORDERED = 10 * 2.0**-23


def _picture(pipe: Any, call: dict[str, Any]) -> np.ndarray:
    pipe.set_progress_bar_config(disable=True)
    return pipe(generator=torch.Generator().manual_seed(0), **call).images


@pytest.mark.parametrize("name", MAKERS)
def test_a_pipeline_generates_and_after_loading_the_same_picture(name, tmp_path):
    torch.manual_seed(0)
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    pipe, call = MAKERS[name](tokens)
    plain = _picture(pipe, call)
    base = type(pipe.scheduler)
    ours = schedulers.SCHEDULERS[base.__name__]

    pipe.scheduler = ours.from_config(pipe.scheduler.config, mixing=0.0)
    assert np.array_equal(_picture(pipe, call), plain)

    pipe.scheduler = ours.from_config(pipe.scheduler.config, **LML_ON)
    picture = _picture(pipe, call)
    assert np.isfinite(picture).all()
    assert np.abs(picture - plain).max() > 100 * REORDERED
    assert np.array_equal(_picture(pipe, call), picture)

    pipe.save_pretrained(tmp_path / "pipe")
    index = json.loads((tmp_path / "pipe" / "model_index.json").read_text())
    assert index["scheduler"] == ["lml.schedulers", ours.__name__]
    loaded = getattr(diffusers, name).from_pretrained(tmp_path / "pipe")
    assert type(loaded.scheduler) is ours
    assert np.abs(_picture(loaded, call) - picture).max() < REORDERED


def test_the_ddim_pipeline_makes_its_scheduler_a_ddim_and_takes_ours_afterwards_only():
    torch.manual_seed(0)
    pipe = pixel_pipeline()
    ours = schedulers.LMLDDIMScheduler.from_config(pipe.scheduler.config, **LML_ON)
    call = {"num_inference_steps": 3, "output_type": "np"}
    ddim = diffusers.DDIMPipeline(pipe.unet, ours)
    assert type(ddim.scheduler) is diffusers.DDIMScheduler
    plain = _picture(ddim, call)
    ddim.scheduler = ours
    turned = _picture(ddim, call)
    pipe.scheduler = ours
    assert not np.array_equal(turned, plain)
    assert np.array_equal(turned, _picture(pipe, call))
