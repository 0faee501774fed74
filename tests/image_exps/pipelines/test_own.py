"""A pipeline named by its folder alone: what it is, its network as a noise model, and what is refused in a sentence."""

from __future__ import annotations

import json
import math
import shutil

import diffusers
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import save_pipeline

from image_exps.networks.levelled import noise_of
from image_exps.networks.shifted_flow import ShiftedFlow
from image_exps.pipelines.network import network
from image_exps.pipelines.own import find_model
from lml.samplers import SAMPLERS, Level, sample
from toy.schedule import FlowMatching

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SIZES = {"PixArtAlphaPipeline": 16, "FluxPipeline": 16, "StableDiffusion3Pipeline": 32}
PROMPTED = ("StableDiffusionPipeline", "StableDiffusionXLPipeline", *SIZES)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    kinds = ("DDPMPipeline", "LDMPipeline", *PROMPTED)
    yield {kind: save_pipeline(kind, tmp_path_factory.mktemp(kind)) for kind in kinds}
    torch.set_num_threads(threads)


def opened(folders, kind, **options):
    prompts = ["a red fox", "fox"] if kind in PROMPTED else []
    return network(folders[kind], prompts=prompts, size=SIZES.get(kind), **options)


def test_a_model_is_what_its_folder_says(folders):
    model = find_model(folders["StableDiffusionXLPipeline"])
    assert (model.pipeline, model.guidance, model.flow) == ("StableDiffusionXLPipeline", 5.0, False)
    assert model.name == "pipe"
    assert find_model(folders["FluxPipeline"]).flow
    assert find_model(folders["DDPMPipeline"]).guidance is None
    assert find_model("sd15").folder is None


@pytest.mark.parametrize("kind", ["StableDiffusionPipeline", "StableDiffusion3Pipeline"])
def test_a_walk_over_its_levels_is_what_the_pipeline_draws(folders, kind):
    """The noise model, DDIM on the pipeline's own levels, and the pipeline's loop give one picture."""
    made = opened(folders, kind, guidance=3.0)
    pipe = made.renderer.pipe
    x, n = made.start(5, 2), 4
    if made.flow:
        pipe.scheduler.set_timesteps(n)
        sigmas = [*pipe.scheduler.sigmas[:-1].tolist(), 0.0]
        sigmas[0] = min(sigmas[0], 1 - 1e-6)  # at one there is no signal to divide by
        levels = [Level(1 - s, s) for s in sigmas]
    else:
        pipe.scheduler = diffusers.DDIMScheduler.from_config(
            pipe.scheduler.config, timestep_spacing="trailing", set_alpha_to_one=False, clip_sample=False
        )
        pipe.scheduler.set_timesteps(n)
        places = [*pipe.scheduler.timesteps.tolist(), 0]
        levels = [Level(float(made.schedule.alpha(t / 999)), float(made.schedule.sigma(t / 999))) for t in places]
    ends = sample(SAMPLERS["ddim"], made.noise_model, x.double(), levels).float()
    size = {} if kind not in SIZES else {"height": SIZES[kind], "width": SIZES[kind]}
    generators = [torch.Generator().manual_seed(5 + i) for i in range(2)]
    call = {"num_inference_steps": n, "guidance_scale": 3.0, "output_type": "latent", **size}
    drawn = pipe(["a red fox", "fox"], generator=generators, **call).images
    # The network's float32 in both: n steps of some 100 u each, amplified by 1/alpha at the first level.
    torch.testing.assert_close(ends, drawn.float(), rtol=2e-4, atol=2e-4 * float(drawn.abs().max()))


@pytest.mark.parametrize("kind", ["DDPMPipeline", "LDMPipeline", *PROMPTED])
def test_every_kind_is_a_noise_model_with_pictures(folders, kind):
    made = opened(folders, kind)
    x = made.start(0, 3)
    assert x.shape == (3, *made.shape)
    assert torch.equal(made.start(1, 1)[0], x[1])
    level = made.levels(3)[1]
    noise = made.noise_model(x, level)
    assert noise.shape == x.shape
    # Levels of another scale, and samples one by one, are the same question.
    scaled = made.noise_model(3 * x, Level(3 * level.alpha, 3 * level.sigma))
    torch.testing.assert_close(scaled, noise, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(made.noise_model(x[:1], level), noise[:1], rtol=1e-3, atol=1e-4)
    pictures = made.pictures(x[:2])
    assert pictures.shape[0] == 2
    assert pictures.min() >= 0
    assert pictures.max() <= 1


def test_prompts_and_guidance_reach_the_network(folders):
    one = opened(folders, "StableDiffusionPipeline", guidance=1.0)
    far = opened(folders, "StableDiffusionPipeline", guidance=8.0)
    x = one.start(0, 1).repeat(2, 1, 1, 1)
    level = one.levels(3)[1]
    plain, guided = one.noise_model(x, level), far.noise_model(x, level)
    assert (plain[0] - plain[1]).abs().max() > 1e-5, "two prompts give one answer"
    assert (guided - plain).abs().max() > 10 * (plain[0] - plain[1]).abs().max() * 1e-3
    pipe = one.renderer.pipe
    calls = []
    forward = pipe.text_encoder.forward
    pipe.text_encoder.forward = lambda *a, **k: (calls.append(1), forward(*a, **k))[1]
    one.noise_model(x, level)
    assert not calls, "the prompts were embedded again"


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample", "flow_prediction"])
def test_the_noise_of_every_prediction_type_is_the_one_it_was_made_from(prediction):
    y, eps = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    alpha, sigma = (0.4, 0.6) if prediction == "flow_prediction" else (0.6, 0.8)
    m = {"epsilon": eps, "v_prediction": alpha * eps - sigma * y, "sample": y, "flow_prediction": eps - y}[prediction]
    torch.testing.assert_close(noise_of(prediction, m, alpha * y + sigma * eps, alpha, sigma), eps)


def test_shifted_levels_are_those_of_the_scheduler_and_their_rates_are_derivatives():
    shifted, t = ShiftedFlow(3.0), torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64, requires_grad=True)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(sigmas=[0.9, 0.5, 0.1])
    torch.testing.assert_close(shifted.sigma(t.flip(0)).float().detach(), scheduler.sigmas[:3], rtol=1e-6, atol=0)
    torch.testing.assert_close(shifted.alpha(t) + shifted.sigma(t), torch.ones_like(t))
    torch.testing.assert_close(shifted.time(shifted.log_snr(t)), t)
    (rate,) = torch.autograd.grad(shifted.alpha(t).log().sum(), t)
    torch.testing.assert_close(shifted.drift(t), rate)
    (growth,) = torch.autograd.grad(shifted.sigma(t).square().sum(), t)
    expected = growth - 2 * shifted.drift(t) * shifted.sigma(t) ** 2
    torch.testing.assert_close(shifted.squared_diffusion(t), expected)
    straight = FlowMatching()
    torch.testing.assert_close(ShiftedFlow(1.0).squared_diffusion(t), straight.squared_diffusion(t))
    with pytest.raises(ValueError, match="shift must be"):
        ShiftedFlow(math.nan)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model_index.json", None, r"has no model_index\.json"),
        ("model_index.json", {"_class_name": "StableDiffusionImg2ImgPipeline"}, "takes image beside the prompt"),
        ("model_index.json", {"_class_name": "MyPipeline"}, "names 'MyPipeline', which is no pipeline of diffusers"),
        ("unet/diffusion_pytorch_model.safetensors", None, "has no weights"),
        ("scheduler/scheduler_config.json", None, "scheduler_config.json"),
        ("scheduler/scheduler_config.json", {"prediction_type": "score"}, "prediction_type must be one of epsilon"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "without a finite log-SNR"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_in_a_sentence(folders, tmp_path, file, change, message):
    folder = tmp_path / "mine"
    shutil.copytree(folders["StableDiffusionPipeline"], folder)
    path = folder / file
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=message):
        network(folder, prompts=["a red fox"])


def test_what_a_pipeline_does_not_take_is_refused(folders):
    with pytest.raises(ValueError, match="prompts are needed by a StableDiffusionPipeline, got none"):
        network(folders["StableDiffusionPipeline"])
    with pytest.raises(ValueError, match="prompts mean nothing to an unconditional DDPMPipeline"):
        network(folders["DDPMPipeline"], prompts=["a red fox"])
    with pytest.raises(ValueError, match="prompts mean nothing to galaxy-hsc-32"):
        network("galaxy-hsc-32", prompts=["a red fox"])
    with pytest.raises(ValueError, match="model must be one of"):
        find_model("models/nothing")
