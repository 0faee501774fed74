"""Pictures from unconditional and class-conditional networks, in one loop for every scheduler."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import pixel_pipeline

from image_exps.pipelines.rendering import Renderer, to_bytes
from image_exps.samplers.pipeline_sampler import pipeline_sampler
from image_exps.samplers.schedulers import make_scheduler

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

CLASSES = ("cat", "dog", "bird")


def pipe_with(classes=None):
    torch.manual_seed(0)
    return pixel_pipeline(num_class_embeds=classes)


LABELS = len(CLASSES) + 1


def renderer(guidance=None, classes=LABELS, names=CLASSES):
    return Renderer(pipe_with(classes), "DDPMPipeline", 3, guidance, classes=names if classes else ())


def test_the_loop_is_that_of_the_stock_pipeline():
    pipe = pipe_with()
    pipe.set_progress_bar_config(disable=True)
    stock = pipe(2, [torch.Generator().manual_seed(s) for s in (3, 4)], 3, output_type="np").images
    assert np.array_equal(Renderer(pipe, "DDPMPipeline", 3).render([3, 4]), stock)


@pytest.mark.parametrize("name", ["pndm", "unipc-2/lml", "heun/lml", "euler"])
def test_schedulers_that_the_stock_pipeline_cannot_drive_are_driven(name):
    pipe = pipe_with()
    sampler = pipeline_sampler(name, 5)
    pipe.scheduler = make_scheduler(sampler, diffusers.DDPMScheduler(), latent=False)
    assert np.isfinite(Renderer(pipe, "DDPMPipeline", sampler.steps).render([0])).all()


def test_a_class_is_named_or_numbered_and_none_is_the_last_label():
    one = renderer()
    assert np.array_equal(one.render([0], ["dog"]), one.render([0], ["1"]))
    assert not np.array_equal(one.render([0], ["dog"]), one.render([0], ["cat"]))
    assert np.array_equal(one.render([0]), renderer(guidance=0.0).render([0], ["dog"]))


def test_guidance_extrapolates_from_none_through_the_class():
    x, t = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor(500)
    with torch.no_grad():
        none, told, far = (renderer(g)._noise(x, t, [1, 2]) for g in (0.0, 1.0, 8.0))
    assert (told - none).abs().max() > 0.01
    # lerp rounds (told - none), its product with 8 and the sum: three roundings of numbers below 8 max|noise|.
    rounding = 3 * 2.0**-24 * 8 * torch.stack([none, told, far]).abs().max()
    assert (far - (none + 8 * (told - none))).abs().max() <= 2 * rounding


def test_an_unknown_class_lists_the_known_ones():
    with pytest.raises(ValueError, match="one of cat, dog, bird, got 'fish'"):
        renderer().check_prompts(["fish"])
    with pytest.raises(ValueError, match="the numbers 0 to 2, got '3'"):
        renderer(names=()).check_prompts(["3"])


def test_what_a_pipeline_does_not_have_is_refused():
    with pytest.raises(ValueError, match="guidance needs a model with prompts or classes"):
        renderer(guidance=2.0, classes=None)
    with pytest.raises(ValueError, match="size cannot be chosen for a DDPMPipeline"):
        Renderer(pipe_with(), "DDPMPipeline", 3, size=16)
    with pytest.raises(ValueError, match="prompts are needed by a FluxPipeline"):
        Renderer(None, "FluxPipeline", 3).check_prompts([])


def test_bytes_round_to_the_nearest_and_nothing_that_is_not_finite_becomes_one():
    assert to_bytes(np.array([0.0, 0.499 / 255, 0.501 / 255, 1.0])).tolist() == [0, 0, 1, 255]
    for bad in (np.nan, np.inf):
        assert to_bytes(np.array([0.5, bad])) is None
