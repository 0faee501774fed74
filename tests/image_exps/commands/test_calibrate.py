"""The command calibrate on every kind of pipeline: lines that draw with the solver, its cost, and plain errors."""

from __future__ import annotations

import re
import time
from functools import partial

import diffusers
import pytest
import torch
from click.testing import CliRunner
from diffusers_warnings import NUMPY_2
from small_pipelines import SD, pixel_pipeline, save_pipeline, save_velocity

from image_exps.commands.calibrate import command
from image_exps.compare.paste import solver_lines
from image_exps.networks.galaxies import SCHEDULE, TIMES
from image_exps.pipelines.network import Network, network
from image_exps.pipelines.solver_schedule import solver_schedule
from lml.samplers import SAMPLERS, sample
from lml.schedulers import LMLSolverScheduler
from lml.solver import calibration, cost, load, of_method, save, trajectories
from lml.solver.choice import Choice

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


SIZES = {
    "StableDiffusionPipeline": 16, "StableDiffusionXLPipeline": 16, "PixArtAlphaPipeline": 16, "FluxPipeline": 16,
    "StableDiffusion3Pipeline": 16,
}  # fmt: skip
PROMPTS = ("a red fox", "fox", "a")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path / "cache"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small(monkeypatch):
    """Short trajectories, few methods, one ridge: what is tested is the way from a folder to a picture."""
    monkeypatch.setattr(trajectories, "STEPS", 16)
    monkeypatch.setattr(calibration, "TRIED", calibration.BASELINES[:4])
    monkeypatch.setattr(calibration, "fit", partial(calibration.fit, ridges=(0.1,)))
    choice = Choice("ddim@time", "ddim@time", 1.0, 1.0)
    monkeypatch.setattr(calibration, "chosen", lambda *args, **options: choice)


def _given(kind, root):
    """Return the folder of a kind of pipeline, its prompts, and the words of the command that name them."""
    folder = save_velocity(root) if kind == "v" else save_pipeline(kind, root)
    prompts = PROMPTS if kind in SIZES else ()
    words = ["--model", str(folder), "--device", "cpu", "-n", "4", "--samples", "8", "--batch", "8"]
    words += [word for prompt in prompts for word in ("-p", prompt)]
    return folder, prompts, words + (["--size", str(SIZES[kind]), "--guidance", "3"] if prompts else [])


def _pasted(stdout):
    """Return the lines to paste out of what was printed."""
    return stdout.partition("\n\n")[2]


@pytest.mark.parametrize(
    "kind",
    [
        "LDMPipeline",
        "v",
        "PixArtAlphaPipeline",
        "StableDiffusionPipeline",
        "StableDiffusion3Pipeline",
        pytest.param("StableDiffusionXLPipeline", marks=pytest.mark.slow),
        pytest.param("FluxPipeline", marks=pytest.mark.slow),
    ],
)
def test_the_lines_to_paste_draw_where_the_solver_that_was_measured_ends(kind, tmp_path, small):
    folder, prompts, words = _given(kind, tmp_path)
    out = tmp_path / "solver.json"
    negative = "fox" if kind == "StableDiffusionPipeline" else None
    words += ["--negative-prompt", negative] if negative else []
    result = CliRunner().invoke(command, [*words, "--out", str(out)])
    assert result.exit_code == 0, result.output
    solver = load(out)
    assert solver.evaluations == 4

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder)
    found = {"pipe": pipe, "prompt": PROMPTS[0]}
    exec(_pasted(result.stdout), found)
    assert len(found["images"]) == 1
    assert pipe.scheduler.solver.weights == solver.weights

    if not prompts:
        return
    made = network(folder, prompts=prompts[:1], guidance=3.0, negative_prompt=negative, size=SIZES[kind])
    noise = made.start(5, 1)
    wanted = solver.sample(made.noise_model, noise)
    scale = (sample(SAMPLERS["ddim"], made.noise_model, noise, solver.levels) - wanted).norm()
    pipe.scheduler.register_to_config(final_sigmas_type="sigma_min")  # ends at the last level, as the solver does
    again = _pasted(result.stdout).splitlines()[-1].replace("num_", "latents=noise, output_type='latent', num_")
    found["noise"] = noise.clone()
    exec(again, found)
    # A flow's first timestep is 1000 in a pipeline and 999.76 by its level, a few thousandths of a step; of betas they
    # are the same, up to float32.
    share = 0.01 if made.flow else 1e-4
    assert (found["images"] - wanted).norm() < share * scale
    if kind == "FluxPipeline":  # its shift depends on the size
        with pytest.raises(ValueError, match=r"solver must be of this model's log\(alpha/sigma\)"):
            pipe(PROMPTS[0], height=32, width=32, num_inference_steps=4)


def test_the_whole_of_it_on_pixels_costs_and_lasts_what_it_says_first(tmp_path):
    folder, _, words = _given("DDPMPipeline", tmp_path)
    out = tmp_path / "solver.json"
    began = time.perf_counter()
    result = CliRunner().invoke(command, [*words, "--out", str(out)])
    seconds = time.perf_counter() - began
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert lines[0].startswith(f"cost: about {cost(4, 8)} evaluations of one sample, ")
    said, unit, each = re.fullmatch(r"time: about (\S+) (s|min), at (\S+) s for each", lines[1]).groups()
    said = float(said) * {"s": 1, "min": 60}[unit]
    assert said == pytest.approx(cost(4, 8) * float(each), rel=0.1, abs=0.5)  # two digits each, whole seconds
    assert seconds / 10 < said < 10 * seconds  # a machine that others use, too
    assert result.stdout.startswith("Chosen      ")
    assert "32 fresh noises" in result.stdout
    found = {"pipe": diffusers.DiffusionPipeline.from_pretrained(folder)}
    exec(_pasted(result.stdout), found)
    assert len(found["images"]) == 1
    assert found["pipe"].scheduler.solver.weights == load(out).weights


def test_other_prompts_of_later_samples_are_another_question(tmp_path, small):
    _, _, words = _given("PixArtAlphaPipeline", tmp_path)
    words += ["--out", str(tmp_path / "solver.json")]
    lines = []
    for last in (PROMPTS[2], PROMPTS[2], "a red red fox"):
        given = [last if word == PROMPTS[2] else word for word in words]
        result = CliRunner().invoke(command, given)
        assert result.exit_code == 0, result.output
        lines.append(result.stderr[:5])
    assert lines == ["cost:", "", "cost:"]


def _save_broken(how, root):
    """Save a pipeline whose network returns numbers that are not finite, or another shape."""
    torch.manual_seed(0)
    pipe = pixel_pipeline(**({"out_channels": 5} if how == "shape" else {}))
    if how == "nan":
        torch.nn.init.constant_(pipe.unet.conv_out.bias, float("nan"))
    pipe.save_pretrained(root / "pipe")
    return root / "pipe"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("nan", "returns numbers that are not finite"),
        ("shape", "the network must return the shape of its samples, (1, 3, 8, 8), got (1, 5, 8, 8)"),
    ],
)
def test_a_network_that_cannot_be_sampled_is_one_sentence(how, message, tmp_path):
    result = CliRunner().invoke(command, ["--model", str(_save_broken(how, tmp_path)), "--out", str(tmp_path / "s")])
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not (tmp_path / "s").exists()


def test_several_classes_are_refused(tmp_path):
    pixel_pipeline(num_class_embeds=4).save_pretrained(tmp_path / "pipe")
    result = CliRunner().invoke(command, ["--model", str(tmp_path / "pipe"), "-p", "0", "-p", "1"])
    assert result.exit_code == 2
    assert "prompts must be one class to calibrate on, got ['0', '1']" in result.stderr


@pytest.mark.parametrize("prompts", [(), ("2",)])
def test_the_lines_of_a_network_with_classes_draw_with_the_network(prompts, tmp_path):
    pixel_pipeline(num_class_embeds=4).save_pretrained(tmp_path / "pipe")
    made = network(tmp_path / "pipe", prompts=prompts, guidance=2.0 if prompts else None)
    save(of_method("ddim@time", solver_schedule(made, 4), 4), tmp_path / "solver.json")
    found = {}
    exec("\n".join(solver_lines(made, str(tmp_path / "solver.json"), 4)), found)
    assert found["images"].shape == (1, 8, 8, 3)
    assert (found["made"].noise_model.labels, found["made"].noise_model.guidance) == (
        prompts[0] if prompts else None,
        2.0 if prompts else 1.0,
    )


def test_a_solver_of_another_model_is_refused_by_its_scheduler(tmp_path, small):
    _, _, words = _given("DDPMPipeline", tmp_path)
    out = tmp_path / "solver.json"
    assert CliRunner().invoke(command, [*words, "--out", str(out)]).exit_code == 0
    other = LMLSolverScheduler.from_config(diffusers.DDIMScheduler(**SD).config, solver=load(out))
    with pytest.raises(ValueError, match=r"solver must be of this model's log\(alpha/sigma\)"):
        other.set_timesteps(4)


def test_the_table_of_galaxies_is_that_of_their_diffusion():
    table = solver_schedule(Network("galaxy-hsc-32", None, (1, 32, 32), SCHEDULE, TIMES), 8)
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
