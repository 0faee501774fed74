"""A solver as a scheduler: the pure solver's trajectory for every family of configs, and what it refuses."""

from __future__ import annotations

import copy
import json
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import MAKERS

import toy
from lml.schedulers import LMLDDIMScheduler, LMLSolverScheduler, SchedulerMixin
from lml.solver import Schedule, Solver, for_schedule, of_method
from toy.denoiser import ExactDenoiser

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

TARGET = toy.target("random-16d")
MODEL = toy.noise_model(TARGET)
SHAPE = (1, 4, 4)

STABLE = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
          "trained_betas": None}  # fmt: skip
LINEAR = {"num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear"}
#: Configs as they stand in the folders of the published models.
CONFIGS: dict[str, dict[str, Any]] = {
    "sd15": {"_class_name": "PNDMScheduler", **STABLE, "set_alpha_to_one": False, "skip_prk_steps": True,
             "steps_offset": 1, "clip_sample": False},
    "sdxl": {"_class_name": "EulerDiscreteScheduler", **STABLE, "interpolation_type": "linear",
             "prediction_type": "epsilon", "timestep_spacing": "leading", "use_karras_sigmas": False,
             "steps_offset": 1},
    "sd21-v-zero-snr": {"_class_name": "DDIMScheduler", **STABLE, "prediction_type": "v_prediction",
                        "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
    "pixart": {"_class_name": "DPMSolverMultistepScheduler", **LINEAR, "algorithm_type": "dpmsolver++",
               "solver_order": 2, "prediction_type": "epsilon", "variance_type": None, "lambda_min_clipped": -np.inf},
    "ddpm": {"_class_name": "DDPMScheduler", **LINEAR, "clip_sample": True, "variance_type": "fixed_small"},
    "ldm": {"_class_name": "DDIMScheduler", **STABLE, "beta_start": 0.0015, "beta_end": 0.0195, "clip_sample": False},
    "cosine-sample": {"_class_name": "DDPMScheduler", "beta_schedule": "squaredcos_cap_v2", "beta_start": 1e-4,
                      "beta_end": 0.02, "prediction_type": "sample"},
    "constant": {"_class_name": "DDPMScheduler", "trained_betas": [0.00995] * 1000, "num_train_timesteps": 1000},
    "sd3": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0},
    "flux-schnell": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 1.0,
                     "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
                     "use_dynamic_shifting": False},
    "flux-dev": {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
                 "base_shift": 0.5, "max_shift": 1.15, "base_image_seq_len": 256, "max_image_seq_len": 4096,
                 "use_dynamic_shifting": True},
    "wan": {"_class_name": "UniPCMultistepScheduler", "num_train_timesteps": 1000, "flow_shift": 3.0,
            "beta_start": 1e-4, "use_flow_sigmas": True, "prediction_type": "flow_prediction"},
    "edm": {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5,
            "num_train_timesteps": 1000, "prediction_type": "epsilon"},
    "svd": {"_class_name": "EulerDiscreteScheduler", **STABLE, "sigma_min": 0.002, "sigma_max": 700.0,
            "timestep_type": "continuous", "prediction_type": "v_prediction", "use_karras_sigmas": True},
}  # fmt: skip


def make(name: str, **options: Any) -> Any:
    return LMLSolverScheduler.from_config(CONFIGS[name], **options)


def set_steps(scheduler: Any, n: int, **options: Any) -> None:
    dynamic = {"mu": 0.9} if scheduler.config.use_dynamic_shifting else {}
    scheduler.set_timesteps(n, **dynamic, **options)


def output(scheduler: Any, x: torch.Tensor, level: Any) -> torch.Tensor:
    """What a perfect network returns for the prediction type of the config."""
    e, config = MODEL(x.flatten(1), level).view(x.shape), scheduler.config
    x0 = (x - level.sigma * e) / level.alpha
    if config.family == "edm":
        total = level.sigma**2 + config.sigma_data**2
        skipped = x0 - config.sigma_data**2 / total * x
        sign = 1 if config.prediction_type == "epsilon" else -1
        return sign * skipped * total**0.5 / (level.sigma * config.sigma_data)
    return {
        "epsilon": e,
        "sample": x0,
        "v_prediction": level.alpha * e - level.sigma * x0,
        "flow_prediction": e - x0,
    }[config.prediction_type]


def run(scheduler: Any, x: torch.Tensor, begin: int = 0) -> torch.Tensor:
    places = range(begin, len(scheduler.timesteps))
    for i in places:
        x = scheduler.step(output(scheduler, x, scheduler.solver.levels[i]), scheduler.timesteps[i], x).prev_sample
    return x


def start(scheduler: Any, begin: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    noise = torch.randn(3, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (scheduler.solver.levels[begin].sigma * noise).to(dtype)


def tolerance(scheduler: Any) -> float:
    """Samples of order sigma are divided by alpha, at most 2^12 together; weights of order ten, ten steps."""
    first = scheduler.solver.levels[0]
    return 2.0**-53 * max(first.sigma / first.alpha, 1) * max(first.sigma, 1) * 1000


@pytest.mark.parametrize("solver", ["ddim@time/lml(0.5)", "unipc-3@karras", "ipndm-4@log-snr"])
@pytest.mark.parametrize("name", CONFIGS)
def test_it_is_the_pure_solver_to_rounding(name, solver):
    scheduler = make(name, solver=solver, final_sigmas_type="sigma_min")
    set_steps(scheduler, 9)
    x = start(scheduler)
    pure = scheduler.solver.sample(MODEL, x.flatten(1)).view(x.shape)
    torch.testing.assert_close(run(scheduler, x), pure, rtol=0, atol=tolerance(scheduler))


@pytest.mark.parametrize("name", CONFIGS)
def test_it_runs_in_any_number_of_evaluations_and_dtype(name):
    for n, dtype in ((3, torch.float32), (20, torch.float16), (50, torch.bfloat16)):
        scheduler = make(name, solver="dpm-solver++-3m@time")
        set_steps(scheduler, n)
        assert len(scheduler.timesteps) == n
        made = run(scheduler, start(scheduler, dtype=dtype))
        assert made.dtype == dtype
        assert bool(torch.isfinite(made).all())


def test_without_a_solver_it_has_the_choice_for_the_schedule():
    for name in ("sd15", "sd3"):
        scheduler = make(name)
        scheduler.set_timesteps(6)
        assert scheduler.solver == for_schedule(scheduler.table, 6)


def test_the_picture_at_the_end_is_that_of_the_last_direction():
    ends = {}
    for last in ("zero", "sigma_min"):
        scheduler = make("sd15", solver="ipndm-3@time", final_sigmas_type=last)
        scheduler.set_timesteps(8)
        x = start(scheduler)
        for i, t in enumerate(scheduler.timesteps):
            before, x = x, scheduler.step(output(scheduler, x, scheduler.solver.levels[i]), t, x).prev_sample
        ends[last] = x
    now, after = scheduler.solver.levels[-2:]
    u = (before - now.alpha * ends["zero"]) / now.sigma
    torch.testing.assert_close(after.alpha * ends["zero"] + after.sigma * u, ends["sigma_min"], rtol=0, atol=1e-12)
    assert (ends["zero"] - ends["sigma_min"]).abs().max() > 1e-6


@pytest.mark.parametrize("name", ["sd15", "sd3"])
@pytest.mark.parametrize("begin", [1, 4, 7])
def test_image_to_image_has_the_rows_of_the_levels_left(name, begin):
    for solver in ("unipc-2@time", "ddim@time/lml(0.5)", fitted(name)):
        scheduler = make(name, solver=solver, final_sigmas_type="sigma_min")
        set_steps(scheduler, 8)
        scheduler.set_begin_index(begin)
        x = start(scheduler, begin)
        pure = scheduler.solver.tail(begin).sample(MODEL, x.flatten(1)).view(x.shape)
        torch.testing.assert_close(run(scheduler, x, begin), pure, rtol=0, atol=tolerance(scheduler))


def fitted(name: str) -> Solver:
    """Rows that no published method has, on the levels of a config."""
    table = make(name).table
    weights = tuple(tuple(0.5 / (j + 1) ** 2 * (-1) ** j for j in range(i)) for i in range(8))
    return Solver("fitted", table.levels(8, "time"), weights, (0.5,) * 8)


def test_a_solver_of_the_users_goes_through_config_and_file(tmp_path):
    solver = fitted("sd15")
    scheduler = make("sd15", solver=solver)
    scheduler.save_pretrained(tmp_path)
    json.loads((tmp_path / "scheduler_config.json").read_text())
    loaded = LMLSolverScheduler.from_pretrained(tmp_path)
    again = LMLSolverScheduler.from_config(loaded.config)
    paths = []
    for each in (scheduler, loaded, again, LMLSolverScheduler(**STABLE, solver=solver)):
        each.set_timesteps(8)
        assert each.solver.weights == solver.weights
        paths.append(run(each, start(each)))
    assert all(torch.equal(path, paths[0]) for path in paths)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_goes_round(name, tmp_path):
    scheduler = make(name, solver="unipc-2@time")
    scheduler.save_pretrained(tmp_path)
    loaded = LMLSolverScheduler.from_pretrained(tmp_path)
    assert {k: v for k, v in loaded.config.items() if k[0] != "_"} == {
        k: v for k, v in scheduler.config.items() if k[0] != "_"
    }
    assert loaded.table == scheduler.table


def test_generations_take_turns():
    scheduler = make("sd15", solver="unipc-3@karras")
    scheduler.set_timesteps(7)
    xs = [start(scheduler) + k for k in (0, 1)]
    alone = [run(copy.deepcopy(scheduler), x) for x in xs]
    for i, t in enumerate(scheduler.timesteps):
        level = scheduler.solver.levels[i]
        xs = [scheduler.step(output(scheduler, x, level), t, x).prev_sample for x in xs]
    assert all(torch.equal(x, other) for x, other in zip(xs, alone, strict=True))


def test_a_step_made_again_is_the_same():
    scheduler = make("ddpm", solver="ipndm-4@time")
    scheduler.set_timesteps(5)
    x = start(scheduler)
    for i, t in enumerate(scheduler.timesteps):
        m = output(scheduler, x, scheduler.solver.levels[i])
        made = [scheduler.step(m, t, x).prev_sample for _ in range(2)]
        assert torch.equal(*made)
        x = made[0]


def test_the_users_timesteps_and_sigmas_are_the_levels():
    scheduler = make("sd15", solver="dpm-solver++-2m@time", final_sigmas_type="sigma_min")
    scheduler.set_timesteps(timesteps=[999, 800, 500, 300, 20])
    assert scheduler.timesteps.tolist() == [999, 800, 500, 300, 20]
    x = start(scheduler)
    pure = scheduler.solver.sample(MODEL, x.flatten(1)).view(x.shape)
    torch.testing.assert_close(run(scheduler, x), pure, rtol=0, atol=tolerance(scheduler))
    scheduler.set_timesteps(timesteps=[999, 500, 0])
    assert scheduler.solver.levels[-1].sigma == 0
    stock = diffusers.FlowMatchEulerDiscreteScheduler.from_config(CONFIGS["flux-dev"])
    ours, sigmas = make("flux-dev"), np.linspace(1, 1 / 6, 6)
    stock.set_timesteps(6, sigmas=sigmas.tolist(), mu=0.7)
    ours.set_timesteps(sigmas=sigmas, mu=0.7)
    torch.testing.assert_close(ours.timesteps, stock.timesteps, rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.sigmas[1:-1], stock.sigmas[1:-1], rtol=0, atol=1e-6)


def test_a_network_is_asked_where_and_with_what_it_was_trained():
    """Exact denoisers look their level up by the timestep: 20 evaluations end at the flow, as the pure solver's do."""
    x = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1))
    for name, schedule, kind in (
        ("ddpm", "vp-linear", "epsilon"),
        ("flux-schnell", "flow-matching", "flow_prediction"),
    ):
        scheduler = make(name, solver="unipc-3@time", final_sigmas_type="sigma_min")
        scheduler.set_timesteps(20)
        net = ExactDenoiser(target=TARGET, schedule=schedule, prediction_type=kind, in_channels=1, sample_size=4)
        y = x * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            y = scheduler.step(net(scheduler.scale_model_input(y, t), t).sample, t, y).prev_sample
        pure = scheduler.solver.sample(MODEL, x.double().flatten(1)).view(x.shape)
        # float32 throughout; of a flow the first level is 2^-12 from no signal, which the network has.
        assert (y - pure).abs().max() < 2e-3


def test_noise_is_added_as_the_schedulers_of_diffusers_add_it():
    x0, noise = (torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(k)) for k in (0, 1))
    ours, stock = make("sd15"), diffusers.DDIMScheduler.from_config(CONFIGS["sd15"])
    t = torch.tensor([0, 500, 999])
    torch.testing.assert_close(ours.add_noise(x0, noise, t), stock.add_noise(x0, noise, t), rtol=0, atol=1e-6)
    flow, other = make("sd3", solver="ddim@time"), diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow.set_timesteps(5)
    for scheduler in (flow, other):
        scheduler.set_timesteps(5)
    level = flow.solver.levels[2]
    expected = level.alpha * x0 + level.sigma * noise
    torch.testing.assert_close(flow.scale_noise(x0, flow.timesteps[2:3], noise), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_a_pipeline_generates_and_after_loading_the_same_picture(name, tmp_path):
    torch.manual_seed(0)
    (tmp_path / "tokens").mkdir()
    pipe, call = MAKERS[name](tmp_path / "tokens")
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config, solver="unipc-2@time")
    picture = pipe(generator=torch.Generator().manual_seed(0), **call).images
    assert np.isfinite(picture).all()
    pipe.save_pretrained(tmp_path / "pipe")
    loaded = getattr(diffusers, name).from_pretrained(tmp_path / "pipe")
    loaded.set_progress_bar_config(disable=True)
    assert type(loaded.scheduler) is LMLSolverScheduler
    # Loaded weights lie elsewhere in memory, and kernels sum in another order.
    again = loaded(generator=torch.Generator().manual_seed(0), **call).images
    assert np.abs(again - picture).max() < 10 * 2.0**-23


@pytest.mark.parametrize(
    ("name", "options", "call", "message"),
    [
        ("sd15", {}, {"num_inference_steps": 2}, r"num_inference_steps must be an integer in \[3, 51\), got 2"),
        ("sd15", {}, {"num_inference_steps": 51}, "num_inference_steps must be"),
        ("sd15", {}, {}, "num_inference_steps must be"),
        ("sd15", {}, {"timesteps": [999, 999, 3]}, r"timesteps must fall, got \[999.0, 999.0, 3.0\]"),
        ("sd15", {}, {"timesteps": [3, 500, 999]}, "timesteps must fall"),
        ("sd15", {}, {"timesteps": [1200, 500, 3]}, r"time must lie in \[0, 999\], got 1200"),
        ("sd15", {}, {"timesteps": [999, 500]}, "timesteps, their number, must be an integer"),
        ("sd15", {}, {"num_inference_steps": 4, "timesteps": [999, 500, 9]}, "num_inference_steps must be 3"),
        ("sd15", {"solver": "pixart"}, {"num_inference_steps": 8}, "solver must be of this model's log"),
        ("sd15", {"solver": "sd15"}, {"num_inference_steps": 9}, "num_inference_steps must be 8, for which the solver"),
        ("sd3", {}, {"sigmas": [1.5, 0.5, 0.2]}, r"sigmas must lie in \(0, 1\]"),
        ("flux-dev", {}, {"num_inference_steps": 5}, "mu must be given where use_dynamic_shifting is set"),
        ("sd15", {}, {"steps": 5}, "set_timesteps of LMLSolverScheduler takes num_inference_steps"),
    ],
)  # fmt: skip
def test_timesteps_that_cannot_be_set_are_refused(name, options, call, message):
    if "solver" in options:
        options = {"solver": fitted(options["solver"])}
    with pytest.raises(ValueError, match=message):
        make(name, **options).set_timesteps(**call)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**CONFIGS["sd3"], "invert_sigmas": True}, "invert_sigmas must be False"),
        ({**CONFIGS["sd15"], "snr_shift_scale": 3.0}, "snr_shift_scale must be 1"),
        ({"num_train_timesteps": 1000}, "config must state the betas"),
        ({**CONFIGS["sd15"], "prediction_type": "flow_prediction"}, "prediction_type must be one of epsilon"),
        ({**CONFIGS["sd15"], "solver": "heun@time"}, "base must be one of ddim"),
        ({**CONFIGS["sd15"], "solver": {"format": "other"}}, "solver must be a solver"),
        ({**CONFIGS["sd15"], "final_sigmas_type": "none"}, "final_sigmas_type must be one of zero"),
        ({**CONFIGS["sd3"], "shift": -1.0}, "shift must be a finite positive number"),
        ({**CONFIGS["edm"], "sigma_max": None}, "sigma_min and sigma_max must be given"),
    ],
)
def test_configs_that_are_not_known_are_refused(config, message):
    with pytest.raises(ValueError, match=message):
        LMLSolverScheduler.from_config(config)


def test_a_step_without_timesteps_or_off_the_schedule_is_refused():
    scheduler = make("sd15", solver="ddim@time")
    x = torch.zeros(1, *SHAPE)
    with pytest.raises(ValueError, match="timesteps must be set before a step"):
        scheduler.step(x, 999, x)
    scheduler.set_timesteps(3)
    with pytest.raises(ValueError, match="timestep must be one of 999, 666, 333, got 7"):
        scheduler.step(x, 7, x)
    with pytest.raises(ValueError, match="step of LMLSolverScheduler takes model_output"):
        scheduler.step(x, 999, x, eta=1.0)


def test_a_learned_variance_is_dropped():
    scheduler = make("pixart", solver="ipndm-2@time")
    scheduler.set_timesteps(4)
    x = start(scheduler)
    m = output(scheduler, x, scheduler.solver.levels[0])
    both = torch.cat([m, torch.full_like(m, 9.0)], 1)
    t = scheduler.timesteps[0]
    assert torch.equal(scheduler.step(both, t, x, return_dict=False)[0], scheduler.step(m, t, x).prev_sample)


def test_other_schedulers_take_its_config_and_it_is_where_diffusers_looks():
    scheduler = make("sd15", solver="unipc-2@time")
    back = LMLDDIMScheduler.from_config(scheduler.config)
    assert torch.equal(back.alphas_cumprod, scheduler.alphas_cumprod)
    assert issubclass(LMLSolverScheduler, SchedulerMixin)
    assert len(scheduler) == 1000
    flow = diffusers.FlowMatchEulerDiscreteScheduler.from_config(make("sd3").config)
    assert flow.config.shift == 3.0


def test_its_levels_are_those_of_the_schedule():
    table = make("ddpm").table
    assert table.integer
    assert table == Schedule.of_betas(diffusers.DDPMScheduler().betas.double().tolist())
    assert of_method("unipc-2@karras", table, 5).levels[0].time == 999
