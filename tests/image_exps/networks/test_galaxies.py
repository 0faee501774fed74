"""The galaxy networks: values of the published implementation, noise models, pipelines, and what is refused."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2

from image_exps.networks import galaxies
from image_exps.networks.galaxies import GALAXIES, galaxy_file, galaxy_model, galaxy_score
from image_exps.networks.galaxy_pipeline import STEPS, TRAINED_BETAS, galaxy_pipeline
from image_exps.networks.mixer import MixerScore
from image_exps.pipelines.network import network
from image_exps.pipelines.rendering import Renderer
from lml.samplers import SAMPLERS, Level, sample
from toy import outside
from toy.schedule import VPConstant

pytestmark = [pytest.mark.filterwarnings(message) for message in NUMPY_2]

#: Scores of the original code, in JAX, at the times that are the keys, on RandomState(0).randn(1, H, H).
PUBLISHED = json.loads((Path(__file__).parent / "data" / "galaxies.json").read_text())


needs_weights = pytest.mark.outside("galaxygrad")


@needs_weights
@pytest.mark.parametrize("name", list(PUBLISHED))
def test_scores_are_those_of_the_published_implementation(name: str) -> None:
    published, net = PUBLISHED[name], galaxy_score(f"galaxy-{name}")
    size = published["size"]
    x = torch.from_numpy(np.random.RandomState(0).randn(1, size, size).astype("float32"))[None]
    for time, values in published["score"].items():
        score = net(x, torch.tensor(float(time)))[0, 0].double()
        # Float32 on both sides: some 1e3 products a sum, of the size of the largest entry; observed 3e-7.
        unit = 2e-6 * float(score.abs().max())
        for place, entry in (((0, 0), "at_0_0"), ((5, 7), "at_5_7"), ((-1, -1), "at_last")):
            assert float(score[place]) == pytest.approx(values[entry], abs=unit)
        assert float(score.norm()) == pytest.approx(values["norm"], rel=2e-6)
        assert float(score.sum()) == pytest.approx(values["sum"], abs=unit * size * size)


def test_the_network_has_the_published_shapes_and_reads_its_time() -> None:
    net = MixerScore(8)
    names = [name for name, _ in net.stored_order()]
    assert len(names) == len(set(names)) == 4 + 4 * 12 + 2 == len(list(net.parameters()))
    assert dict(net.stored_order())["embed.weight"].shape == (64, 2, 4, 4)
    x = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    one, two = net(x, torch.tensor(1.0)), net(x, torch.tensor(2.0))
    assert one.shape == x.shape
    assert not torch.allclose(one, two)
    torch.testing.assert_close(net(x, torch.tensor([1.0, 2.0])), torch.stack((one[0], two[1])))
    with pytest.raises(ValueError, match="multiple of 4, got 10"):
        MixerScore(10)


@needs_weights
def test_the_noise_model_is_minus_sigma_times_the_score_at_any_scale_of_the_level() -> None:
    model = galaxy_model("galaxy-hsc-32")
    x = torch.randn(3, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    t = 0.7
    level = Level(
        float(torch.exp(torch.tensor(-t / 2.0).double())), float((1 - torch.exp(-torch.tensor(t).double())).sqrt())
    )
    expected = -level.sigma * model.net(x, torch.tensor(t))
    torch.testing.assert_close(model(x, level), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(3 * x, Level(3 * level.alpha, 3 * level.sigma)), expected, rtol=1e-5, atol=1e-5)
    flat = model(x.double().flatten(1), level)
    assert flat.dtype is torch.float64
    torch.testing.assert_close(flat.view(x.shape).float(), expected, rtol=1e-5, atol=1e-5)
    assert model(x[:0], level).shape == (0, 1, 32, 32)


@needs_weights
def test_noise_predictions_far_from_the_data_have_the_norm_of_noise() -> None:
    # At t = 10 a sample is noise to alpha = e^-5: E|eps|^2 = d.
    model, made = galaxy_model("galaxy-ztf-32"), network("galaxy-ztf-32")
    x = torch.randn(64, 1, 32, 32, generator=torch.Generator().manual_seed(2))
    noise = model(x, made.levels(1)[0])
    assert float(noise.square().mean()) == pytest.approx(1, abs=0.1)


@needs_weights
def test_the_pipeline_walks_the_path_of_the_pure_sampler() -> None:
    pipe, made = galaxy_pipeline("galaxy-hsc-32"), network("galaxy-hsc-32")
    x = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(3))
    scheduler = pipe.scheduler
    scheduler.set_timesteps(6)
    y = x.clone()
    for t in scheduler.timesteps:
        y = scheduler.step(pipe.unet(y, t).sample, t, y).prev_sample
    table = VPConstant(10.0).discrete(STEPS)
    # `set_alpha_to_one=False`: the last step goes to timestep 0, from which it goes nowhere if it is there already.
    places = [*map(int, scheduler.timesteps), 0][: len(scheduler.timesteps) + bool(scheduler.timesteps[-1])]
    levels = [Level(float(table.alpha[i]), float(table.sigma[i])) for i in places]
    ours = sample(SAMPLERS["ddim"], made.noise_model, x, levels)
    # The table in float32 is 1000 u off; a network in float32 answers to 1e-6, which six steps carry on.
    assert float((y - ours).abs().max()) <= 1e-4 * float(ours.abs().max())


@needs_weights
@pytest.mark.parametrize(
    "cls", ["DDIMScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "PNDMScheduler"]
)
def test_schedulers_of_diffusers_take_the_table(cls: str) -> None:
    pipe = galaxy_pipeline("galaxy-ztf-32")
    pipe.scheduler = getattr(diffusers, cls).from_config(pipe.scheduler.config)
    assert pipe.scheduler.config.trained_betas == TRAINED_BETAS
    seeds = [0, 1]
    images = [Renderer(pipe, "DDPMPipeline", 4).render([seed]) for seed in seeds]
    assert np.isfinite(images).all()
    assert not np.array_equal(*images)


def test_an_unknown_name_and_an_absent_package_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="name must be one of galaxy-hsc-32"):
        galaxy_file("galaxy-m31")

    def absent(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.delenv("LML_OUTSIDE", raising=False)
    monkeypatch.setattr(outside, "distribution", absent)
    with pytest.raises(ValueError, match=r"is not there: make outside, or pip install --no-deps galaxygrad==0\.2\.1"):
        galaxy_file("galaxy-hsc-32")


@needs_weights
def test_another_file_is_refused_by_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = replace_digest("galaxy-hsc-32")
    monkeypatch.setitem(GALAXIES, "galaxy-hsc-32", changed)
    with pytest.raises(ValueError, match=r"must be that of galaxygrad 0\.2\.1"):
        galaxy_file("galaxy-hsc-32")


def replace_digest(name: str) -> galaxies.Galaxy:
    return GALAXIES[name]._replace(sha256="0" * 64)


def test_a_folder_of_a_pipeline_is_a_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(8, 3, 3, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
                                 down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2)  # fmt: skip
    for prediction in ("epsilon", "v_prediction", "sample"):
        scheduler = diffusers.DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type=prediction)
        diffusers.DDPMPipeline(unet, scheduler).save_pretrained(tmp_path / prediction)
        made = network(tmp_path / prediction)
        assert made.shape == (3, 8, 8)
        i, x = 700, torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
        abar = float(scheduler.alphas_cumprod[i])
        level = Level(abar**0.5, (1 - abar) ** 0.5)
        with torch.no_grad():
            step = scheduler.from_config(scheduler.config)
            step.set_timesteps(1000)
            output = unet(x, torch.tensor(i)).sample
        expected = {
            "epsilon": output,
            "v_prediction": level.alpha * output + level.sigma * x,
            "sample": (x - level.alpha * output) / level.sigma,
        }[prediction]
        torch.testing.assert_close(made.noise_model(x, level), expected, rtol=1e-3, atol=1e-4)
        assert len(made.levels(5, "karras")) == 6


def test_folders_that_are_no_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"it has no model_index\.json"):
        network(tmp_path)
    with pytest.raises(ValueError, match="or the folder of a pipeline, got"):
        network(tmp_path / "nothing")
    (tmp_path / "model_index.json").write_text('{"_class_name": "AudioLDMPipeline"}')
    with pytest.raises(ValueError, match="from a prompt to a picture"):
        network(tmp_path)
