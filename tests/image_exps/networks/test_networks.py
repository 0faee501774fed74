"""Exported networks: the same noise prediction in stock diffusers, in our pipeline and through the samplers."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline
from tiny_recipe import TINY, tiny_pictures

from image_exps import networks
from image_exps.networks import (
    NETWORKS,
    NetworkModel,
    class_names,
    load_network,
    network_folder,
    network_model,
    pipeline_class,
    timestep,
)
from image_exps.networks.class_unet import ClassPipeline
from image_exps.networks.files import SUMS, check
from image_exps.training.export import FACTS, averaged, export
from image_exps.training.loop import Budget, train
from image_exps.training.measure import noise_loss
from lml.correction import LML
from lml.samplers import SAMPLERS, Level, sample
from toy import dataset, noise_levels, noise_schedule
from toy.levels import level_at

VP = noise_schedule("vp-linear")
LEVEL = level_at(VP, 0.3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A network that was trained for three steps, and the folder that it was exported to."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run_folder, folder = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("networks") / "tiny"
    run = train(replace(TINY, learning_rate=0.5), tiny_pictures(), Budget(steps=3), run_folder)
    export(TINY, run, ("a", "b", "c"), folder, "a test")
    yield averaged(run), folder
    torch.set_num_threads(threads)


def noise(count, shape=(1, 8, 8), seed=0):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def half_precision(values):
    """How far a smooth network's outputs may move if its weights are rounded to float16 (2^-11, a dozen layers)."""
    return 20 * 2**-11 * values.abs().max().item()


@torch.no_grad()
def test_stock_diffusers_draws_from_no_class(exported):
    net, folder = exported
    x = noise(3)
    pipeline = DDPMPipeline.from_pretrained(str(folder), local_files_only=True)
    assert type(pipeline.unet).__name__ == "UNet2DModel"
    expected = net(x, 300, torch.full((3,), 3)).sample
    torch.testing.assert_close(pipeline.unet(x, 300).sample, expected, rtol=0, atol=half_precision(expected))
    # The other classes are told apart by more than that, or the comparison says nothing.
    assert (net(x, 300, torch.zeros(3, dtype=torch.long)).sample - expected).abs().max() > 5 * half_precision(expected)
    pipeline.set_progress_bar_config(disable=True)
    pictures = pipeline(batch_size=2, num_inference_steps=2, output_type="np", generator=torch.Generator()).images
    assert pictures.shape == (2, 8, 8, 1)


@torch.no_grad()
def test_every_class_is_the_trained_network_s(exported):
    net, folder = exported
    x, loaded = noise(3), load_network(folder)
    assert (loaded.classes, loaded.prediction) == (("a", "b", "c"), "v_prediction")
    for number in range(4):
        labels = torch.full((3,), number)
        expected = net(x, 300, labels).sample
        torch.testing.assert_close(loaded.net(x, 300, labels).sample, expected, rtol=0, atol=half_precision(expected))


@torch.no_grad()
def test_without_a_label_the_network_is_the_stock_one_to_the_bit(exported):
    _, folder = exported
    stock = DDPMPipeline.from_pretrained(str(folder), local_files_only=True).unet
    ours = ClassPipeline.from_pretrained(folder, local_files_only=True)
    assert ours.unet.config["num_class_embeds"] == 4
    assert torch.equal(ours.unet(noise(2), 5).sample, stock(noise(2), 5).sample)
    ours.set_progress_bar_config(disable=True)
    assert ours(batch_size=1, num_inference_steps=2, output_type="np", generator=torch.Generator()).images.shape[0] == 1


def test_the_noise_of_a_velocity_is_the_one_that_it_was_made_from():
    class Velocity(torch.nn.Module):
        """The exact ``v = alpha z - sigma y`` of one picture ``y``, for ``x = alpha y + sigma z``."""

        def __init__(self):
            super().__init__()
            self.config = {"in_channels": 1, "sample_size": 8}
            self.conv_in = torch.nn.Conv2d(1, 1, 1, dtype=torch.float64)

        def forward(self, x, time, labels=None):
            alpha, sigma = float(VP.discrete(1000).alpha[int(time)]), float(VP.discrete(1000).sigma[int(time)])
            z = (x - alpha * y) / sigma
            return type("Output", (), {"sample": alpha * z - sigma * y})

    y, z = noise(1, seed=1).double(), noise(4).double()
    for n in (5, 500, 990):
        alpha, sigma = float(VP.discrete(1000).alpha[n]), float(VP.discrete(1000).sigma[n])
        for scale in (1.0, 1 / alpha):  # variance preserving, and exploding
            level = Level(scale * alpha, scale * sigma)
            made = NetworkModel(Velocity(), "v_prediction")(scale * (alpha * y + sigma * z), level)
            # z is got back through x/sigma, which loses alpha/sigma < 50 of the digits of float64.
            torch.testing.assert_close(made, z, rtol=0, atol=1e-12)


def test_a_level_is_told_by_its_log_snr_alone(exported):
    _, folder = exported
    loaded = load_network(folder)
    model, x = NetworkModel(loaded.net, loaded.prediction, loaded.classes), noise(3)
    exploding = Level(1.0, LEVEL.sigma / LEVEL.alpha)
    # Rounding of x at 2^-24, amplified by the network as float16 weights are in the other tests.
    torch.testing.assert_close(model(x / LEVEL.alpha, exploding), model(x, LEVEL), rtol=0, atol=1e-5)


def test_timesteps_are_those_of_the_table_between_and_beyond():
    table = VP.discrete(1000)
    for n in (0, 1, 499, 998, 999):
        assert timestep(Level(float(table.alpha[n]), float(table.sigma[n]))) == pytest.approx(n, abs=1e-9)
    middle = float(table.log_snr[10:12].mean())
    assert timestep(Level(1.0, math.exp(-middle / 2))) == pytest.approx(10.5, abs=1e-9)
    assert timestep(Level(1.0, 1e-6)) == 0
    assert timestep(Level(1.0, 0.0)) == 0
    assert timestep(Level(1e-6, 1.0)) == 999
    # Step n is near the time t = (n + 1)/1000. The table sums -log(1 - beta) = beta + beta^2/2 + ...; at the end the
    # squares add 0.067 to the integral's 10.05, which are 3.4 steps of beta = 0.02.
    for t in (1e-3, 0.1, 0.5, 0.9, 1.0):
        assert abs(timestep(level_at(VP, t)) - (1000 * t - 1)) < 4


def test_results_do_not_depend_on_how_samples_are_batched(exported):
    _, folder = exported
    loaded = load_network(folder)
    model = NetworkModel(loaded.net, loaded.prediction, loaded.classes, ("a", "b", "a", "c", "b"), batch=5)
    x = noise(5)
    # Convolutions of another batch may be summed in another order: rounding of float32, no more.
    torch.testing.assert_close(replace(model, batch=2)(x, LEVEL), model(x, LEVEL), rtol=0, atol=1e-5)
    assert torch.equal(model(x.flatten(1), LEVEL), model(x, LEVEL).flatten(1))
    assert model(x.double(), LEVEL).dtype == torch.float64
    assert replace(model, labels="a")(x[:0], LEVEL).shape == (0, 1, 8, 8)


def test_labels_are_told_and_guidance_goes_beyond_them(exported):
    _, folder = exported
    loaded, x = load_network(folder, torch.float64), noise(4).double()
    plain = NetworkModel(loaded.net, loaded.prediction, loaded.classes)
    told = replace(plain, labels=("a", "b", "a", "c"))
    one = replace(plain, labels="a")
    torch.testing.assert_close(told(x, LEVEL)[::2], one(x, LEVEL)[::2])
    assert (told(x, LEVEL) - one(x, LEVEL))[1].abs().max() > 1e-3
    guided = replace(told, guidance=3.0)(x, LEVEL)
    torch.testing.assert_close(guided, plain(x, LEVEL) + 3 * (told(x, LEVEL) - plain(x, LEVEL)))
    torch.testing.assert_close(replace(told, guidance=0.0)(x, LEVEL), plain(x, LEVEL))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": "d"}, "labels must be of a, b, c, got 'd'"),
        ({"labels": ("a", "z")}, "labels must be of a, b, c, got 'z'"),
        ({"labels": "a", "classes": ()}, "labels must be None for a network that knows no classes"),
        ({"labels": "a", "guidance": math.nan}, "guidance must be a finite number"),
        ({"batch": 0}, "batch must be a positive integer, got 0"),
        ({"prediction": "flow"}, "prediction must be one of epsilon, v_prediction, sample, got 'flow'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(exported, changes, message):
    loaded = load_network(exported[1])
    with pytest.raises(ValueError, match=message):
        NetworkModel(**({"net": loaded.net, "prediction": loaded.prediction, "classes": loaded.classes} | changes))


def test_labels_are_one_a_sample(exported):
    loaded = load_network(exported[1])
    with pytest.raises(ValueError, match="labels must be one a sample, got 2 for 3 samples"):
        NetworkModel(loaded.net, loaded.prediction, loaded.classes, ("a", "b"))(noise(3), LEVEL)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "unet/diffusion_pytorch_model.safetensors").unlink(), "model.safetensors is absent"),
        (lambda f: (f / "classes.json").write_text('["c", "b", "a"]\n'), "classes.json has the checksum"),
        (lambda f: (f / SUMS).unlink(), f"holds no {SUMS}"),
    ],
)
def test_damaged_folders_are_noticed(exported, tmp_path, damage, message):
    folder = tmp_path / "copy"
    shutil.copytree(exported[1], folder)
    check(folder)
    damage(folder)
    with pytest.raises(ValueError, match=message):
        check(folder)


def test_a_flipped_bit_of_the_weights_is_noticed(exported, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(exported[1], folder)
    path = folder / "unet/diffusion_pytorch_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="has the checksum"):
        check(folder)


def test_unknown_networks_are_refused():
    for asked in (network_folder, network_model, class_names, pipeline_class):
        with pytest.raises(ValueError, match="network must be one of fashion-mnist, emoji, got 'cifar'"):
            asked("cifar")


@pytest.mark.parametrize("name", NETWORKS)
def test_a_shipped_network_has_its_card_and_fits_its_size(name):
    folder = network_folder(name)
    files = [file for file in folder.rglob("*") if file.is_file()]
    assert (folder / "unet/diffusion_pytorch_model.safetensors").stat().st_size <= 6 * 2**20
    assert sum(file.stat().st_size for file in files) <= 12 * 2**20
    assert {"README.md", "loss.png", "samples.png", FACTS, SUMS} <= {file.name for file in files}
    facts, card = json.loads((folder / FACTS).read_text()), (folder / "README.md").read_text()
    assert f"{facts['steps']:,} steps" in card
    assert f"{facts['seconds']:,} s" in card
    assert folder.parent == Path(networks.__file__).parent


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_a_shipped_network_is_one_for_stock_diffusers_and_for_the_samplers(name):
    pipeline = DDPMPipeline.from_pretrained(str(network_folder(name)), local_files_only=True)
    table = pipeline.scheduler.alphas_cumprod.double()
    model = network_model(name)
    size, channels = pipeline.unet.config.sample_size, pipeline.unet.config.in_channels
    x, n = noise(2, (channels, size, size)), 400
    alpha, sigma = float(table[n].sqrt()), float((1 - table[n]).sqrt())
    v = pipeline.unet(x, n).sample
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    # diffusers builds its table in float32: alpha and timestep differ in the seventh digit.
    torch.testing.assert_close(model(x, Level(alpha, sigma)), alpha * v + sigma * x, rtol=0, atol=1e-4)


@pytest.mark.parametrize("sampler", ["ddim", "unipc-2"])
def test_a_shipped_network_is_sampled_with_and_without_lml(sampler):
    model = network_model("emoji", labels="Flags")
    levels = noise_levels(VP, 6, times=(1.0, 1e-3))
    x = noise(2, (3, 32, 32)).double()
    for correction in (None, LML()):
        made = sample(SAMPLERS[sampler], model, x, levels, correction)
        assert made.shape == x.shape
        # Pixels lie in [-1, 1]; a network that diverges misses them by orders of magnitude.
        assert made.abs().max() < 3


def test_the_emoji_network_has_learned_the_emoji():
    pictures = dataset("emoji").images[::76]
    # 0 is perfect, answering zero has 1, the exact noise of independent normal pixels with the data's moments 0.167.
    assert noise_loss(network_model("emoji"), pictures) < 0.1
