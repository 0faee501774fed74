"""Whole pipelines on small random models: a picture with LML, and the same one after saving and loading."""

from __future__ import annotations

import json
import subprocess
import sys
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


FRESH = """
import sys
import torch
from diffusers import DiffusionPipeline

if sys.argv[2] == "imported":
    import lml.schedulers
pipe = DiffusionPipeline.from_pretrained(sys.argv[1])
pipe.set_progress_bar_config(disable=True)
made = pipe(generator=torch.Generator().manual_seed(0), num_inference_steps=5, output_type="np").images
print(type(pipe.scheduler).__name__, pipe.scheduler.config.get("mixing"), made.shape)
"""


@pytest.mark.parametrize("name", ["LMLDDIMScheduler", "LMLDPMSolverMultistepScheduler", "LMLSolverScheduler"])
def test_a_saved_pipeline_loads_in_a_fresh_interpreter_that_has_imported_the_schedulers(name, tmp_path):
    pipe = pixel_pipeline()
    pipe.scheduler = getattr(schedulers, name).from_config(pipe.scheduler.config)
    pipe.save_pretrained(tmp_path)

    def fresh(imported):
        command = [sys.executable, "-c", FRESH, str(tmp_path), imported]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    done = fresh("imported")
    assert done.returncode == 0, done.stderr
    mixing = pipe.scheduler.config.get("mixing")
    assert done.stdout.split("\n")[-2] == f"{name} {mixing} (1, 8, 8, 3)"
    # Without the import diffusers refuses, and says which: it imports nothing because a folder names it.
    assert "import lml.schedulers before calling `from_pretrained`" in fresh("not").stderr
