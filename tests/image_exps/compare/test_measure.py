"""Distances to a network's own flow, what is advised from them, and lines that draw exactly what was measured."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from diffusers_warnings import NUMPY_2
from small_pipelines import save_pipeline

from image_exps.compare import flow, measure, strength
from image_exps.compare.advice import advise, sentence
from image_exps.compare.flow import flow_ends
from image_exps.compare.measure import Comparison, Row, check_arms, compare, default_arms, ratio
from image_exps.compare.own_scheduler import own_ends
from image_exps.compare.paste import lines
from image_exps.networks.levelled import LevelledModel
from image_exps.pipelines.network import Network, network
from image_exps.pipelines.rendering import Renderer
from image_exps.samplers.arms import arm
from lml.samplers import sample
from toy.tabulated import Tabulated

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

TABLE = Tabulated(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


class GaussianNetwork(LevelledModel):
    """The exact network of data N(0, diag c^2): each number grows as ``(alpha^2 c^2 + sigma^2)^{1/2}``.

    ``broken`` says what else it returns.
    """

    def __init__(self, prediction="epsilon", broken=""):
        self.prediction, self.batch, self.table, self.broken = prediction, 3, TABLE, broken
        self.c = torch.tensor([[[0.1, 0.5], [1.0, 2.0]]])

    @property
    def shape(self):
        return (1, 2, 2)

    def timestep(self, level):
        return float(TABLE.timestep(2 * level.half_log_snr))

    def output(self, z, timestep, first):
        if self.broken == "shape":
            return z[:, :, :1]
        if self.broken == "fails":
            raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
        alpha, sigma = (float(part(timestep / 999)) for part in (TABLE.alpha, TABLE.sigma))
        variance = (alpha * self.c) ** 2 + sigma**2
        noise, clean = sigma * z / variance, alpha * self.c**2 * z / variance
        m = {"epsilon": noise, "v_prediction": alpha * noise - sigma * clean, "sample": clean}[self.prediction]
        return m * float("nan") if self.broken == "nan" else m


def gaussian(scheduler=None, **options):
    model = GaussianNetwork(**options)
    pipe = None
    if scheduler is not None:
        pipe = type("Pipe", (), {"scheduler": scheduler, "unet": type("Net", (), {"config": {}})()})()
    renderer = None if pipe is None else Renderer(pipe, "DDPMPipeline", 1)
    return Network("gaussian", model, model.shape, TABLE, (1.0, 0.0), renderer)


def exact_end(made, x):
    def scale(t):
        return ((float(TABLE.alpha(t)) * made.noise_model.c) ** 2 + float(TABLE.sigma(t)) ** 2).sqrt()

    return x * scale(0.0) / scale(1.0)


def test_the_reference_is_the_end_of_the_flow_and_says_how_well(monkeypatch):
    monkeypatch.setattr(flow, "MOST", 320)
    made = gaussian()
    x = made.start(0, 4)
    found = flow_ends(made, x, lambda _: 0.02)
    assert found.converged
    error = float((found.x - exact_end(made, x)).square().mean().sqrt())
    # Of second order: from half the steps the ends moved by three times the error; twice that is allowed.
    assert error <= found.change * 2 / 3
    assert found.change <= 0.05 * 0.02
    finer = flow_ends(made, x, lambda _: 0.0)
    assert (finer.evaluations, finer.converged) == (flow.MOST, False)
    clean = found.at(0.0)
    alpha, sigma, c = float(TABLE.alpha(0.0)), float(TABLE.sigma(0.0)), made.noise_model.c
    expected = exact_end(made, x) * alpha * c**2 / ((alpha * c) ** 2 + sigma**2)
    torch.testing.assert_close(clean, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_distance_is_that_of_the_arm_to_the_exact_end(prediction):
    made = gaussian(prediction=prediction)
    found = compare(made, ["ddim@log-snr", "unipc-2@karras"], [6], count=5, seed=3)
    assert [row.arm for row in found.rows] == ["ddim@log-snr", "unipc-2@karras", "ddim@time"]
    x = made.start(3, 5)
    plan = arm("ddim@log-snr").build(6, 4, seed=3, count=5, schedule=TABLE, times=made.times)
    ends = sample(plan.sampler, made.noise_model, x, plan.levels, plan.correction)
    distances = (ends - exact_end(made, x)).flatten(1).square().mean(1).sqrt().numpy()
    np.testing.assert_allclose(found.row("ddim@log-snr", 6).distances, distances, rtol=0, atol=found.flow.change)


@pytest.mark.parametrize(
    ("scheduler", "sigma"),
    [
        (
            diffusers.DDIMScheduler(timestep_spacing="trailing", set_alpha_to_one=False, clip_sample=False),
            float(TABLE.sigma(0.0)),
        ),
        (diffusers.DDIMScheduler(timestep_spacing="trailing", clip_sample=False), 0.0),
        (diffusers.EulerDiscreteScheduler(), 0.0),
        (diffusers.PNDMScheduler(skip_prk_steps=True), None),
        (diffusers.DPMSolverMultistepScheduler(use_karras_sigmas=True), 0.0),
    ],
)
def test_the_own_scheduler_ends_where_its_configuration_says_and_tends_to_the_flow(scheduler, sigma):
    for prediction in ("epsilon", "v_prediction"):
        scheduler = type(scheduler).from_config(scheduler.config, prediction_type=prediction)
        made = gaussian(scheduler, prediction=prediction)
        x, counted = made.start(0, 3), itertools.count()
        found = own_ends(made, x, 100, counted.__next__)
        assert next(counted) == 100
        if sigma is not None:
            assert found.sigma == pytest.approx(sigma, rel=1e-3, abs=1e-9)
        reference = flow_ends(made, x, lambda _: 0.1).at(found.sigma)
        # DDIM in 100 steps is 1/10 of what it is in 10 away; the levels are rounded to whole timesteps.
        assert float((found.x - reference).abs().mean()) < 0.05
        few = own_ends(made, x, 5)
        assert float((few.x - reference).abs().mean()) > float((found.x - reference).abs().mean())


def test_a_scheduler_that_draws_noise_or_cannot_spend_a_number_has_a_reason_in_place_of_a_distance():
    found = compare(gaussian(diffusers.DDPMScheduler()), ["own", "heun"], [4], count=4)
    assert found.row("own", 4).reason == "DDPMScheduler draws noise in its steps, and has no distance to the flow"
    assert np.isnan(found.row("own", 4).mean)
    assert compare(gaussian(), ["heun"], [5], count=4).row("heun@karras", 5).reason.startswith("evaluations must be")


def test_a_run_goes_on_where_it_stopped(tmp_path):
    made, spent = gaussian(), []
    first = compare(made, ["ddim@log-snr"], [4], count=4, folder=tmp_path)
    kept = sorted(path.name for path in tmp_path.iterdir())
    output = made.noise_model.output
    made.noise_model.output = lambda *given: (spent.append(1), output(*given))[1]
    again = compare(made, ["ddim@log-snr"], [4], count=4, folder=tmp_path)
    assert len(spent) <= 4, "more was evaluated than the probe"
    for one, other in zip(first.rows, again.rows, strict=True):
        np.testing.assert_array_equal(one.distances, other.distances)
    compare(made, ["ddim@log-snr"], [4], count=4, seed=9, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2 * len(kept), "another seed has other files"


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("shape", r"must return the shape of its samples, \(1, 1, 2, 2\), got \(1, 1, 1, 2\)"),
        ("nan", "the network of gaussian returns numbers that are not finite"),
        ("fails", "the network of gaussian cannot be evaluated on shape .*: mat1 and mat2"),
    ],
)
def test_a_network_that_cannot_be_measured_is_refused_in_a_sentence(broken, message):
    with pytest.raises(ValueError, match=message):
        compare(gaussian(broken=broken), ["ddim"], [3], count=4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"evaluations": [0]}, "evaluations must be a positive integer, got 0"),
        ({"evaluations": []}, "evaluations must be at least one number"),
        ({"count": 3}, "count must be"),
        ({"arms": ["dimm"]}, "base must be one of"),
        ({"arms": ["ddim@cosine"]}, "spacing must be one of"),
        ({"arms": ["own"]}, "gaussian has no scheduler of its own"),
        ({"arms": ["euler-flow"]}, "euler-flow is for networks that predict a flow"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(given, message):
    given = {"arms": ["ddim"], "evaluations": [3], "count": 4, **given}
    with pytest.raises(ValueError, match=message):
        compare(gaussian(), given["arms"], given["evaluations"], count=given["count"])


def test_a_ratio_has_the_interval_of_paired_samples():
    other = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    proportional = ratio(0.25 * other, other)
    np.testing.assert_allclose(proportional, 0.25, rtol=1e-12)
    generator = np.random.default_rng(0)
    inside = 0
    for _ in range(400):
        y = generator.gamma(4, size=24)
        x = 0.5 * y * generator.lognormal(-0.02, 0.2, size=24)
        found = ratio(x, y)
        inside += found.low <= 0.5 <= found.high
    # 95 % of 400, less three standard deviations of a binomial and a little for the linearisation.
    assert inside / 400 > 0.95 - 3 * (0.95 * 0.05 / 400) ** 0.5 - 0.01


def made_up(distances, evaluations=(5,)):
    made = gaussian(diffusers.DDIMScheduler())
    rows = tuple(
        Row(name, n, np.asarray(values, dtype=float)) for n in evaluations for name, values in distances.items()
    )
    return Comparison(made, rows, flow_ends(made, made.start(0, 2), lambda _: 1.0), 0, 8)


def test_the_choice_is_made_on_one_half_and_reported_on_the_other():
    lucky = [0.1, 3.0] * 8  # least where it is chosen, worst where it is reported
    noise = np.random.default_rng(1).uniform(0.95, 1.05, size=16)
    (choice,) = advise(made_up({"own": noise, "ddim@time": 1.1 * noise, "ddim@time/lml": lucky}))
    assert (choice.arm, choice.against) == ("ddim@time/lml", "own")
    assert choice.gain.value == pytest.approx(3.0, rel=0.05)
    assert "no difference beyond the interval" in sentence(choice, "DDIMScheduler")
    (better,) = advise(made_up({"own": noise, "ddim@time": 0.9 * noise, "ddim@time/lml": 0.5 * noise}))
    assert better.differs
    text = sentence(better, "DDIMScheduler")
    assert text.startswith("5 evaluations: use ddim@time/lml; it has 0.50 [")
    assert "of your DDIMScheduler, and 0.56 [" in text
    assert "of the best without LML, ddim@time." in text
    (stay,) = advise(made_up({"own": noise, "ddim@time": 2 * noise}))
    assert sentence(stay, "X") == "5 evaluations: stay with your X, nothing here is nearer to the flow."
    (few,) = advise(made_up({"own": noise[:8], "ddim@time": 2 * noise[:8]}))
    assert sentence(few, "X").endswith("Only 4 samples chose: settle on more, with --count.")


def test_arms_by_default_are_the_own_scheduler_published_samplers_and_lml_at_every_spacing():
    arms = default_arms(gaussian(diffusers.DDIMScheduler()))
    assert len(arms) == 19
    assert arms[0] == "own"
    assert check_arms(arms, gaussian(diffusers.DDIMScheduler())) == arms
    assert default_arms(gaussian())[0] == "ddim@time"


def test_strength_is_chosen_on_some_samples_and_reported_on_others(monkeypatch):
    asked = []

    def watched(made, arms, evaluations, *, count, seed, **options):
        asked.append((tuple(arms), seed, count))
        return compare(made, arms, evaluations, count=count, seed=seed, **options)

    monkeypatch.setattr(strength, "compare", watched)
    made = gaussian()
    found = strength.tune(made, "ddim@log-snr/lml", 5, count=4, held_out=6, seed=2)
    assert [(seed, count) for _, seed, count in asked] == [(2, 4), (6, 6)]
    assert set(found.tried) == set(strength.STRENGTHS)
    assert found.tried[found.strength] == min(found.tried.values())
    assert found.strength > 0, "noise that turns along the path is followed better by an extrapolation"
    assert found.base.high < 1
    x = made.start(6, 6)
    plan = arm(found.arm).build(5, 4, seed=6, count=6, schedule=TABLE, times=made.times)
    ends = sample(plan.sampler, made.noise_model, x, plan.levels, plan.correction)
    distance = float((ends - exact_end(made, x)).flatten(1).square().mean(1).sqrt().mean())
    assert found.distance == pytest.approx(distance, rel=0.05)
    for name in ("ddim", "ddim/lml(mixing=0.1)"):
        with pytest.raises(ValueError, match="base@spacing/lml without parameters"):
            strength.tune(made, name, 5)


class Called:
    """A pipeline that is called with some more options than the lines say: its seed and size."""

    def __init__(self, pipe, options):
        self.__dict__.update(pipe=pipe, options=options)

    def __setattr__(self, name, value):
        setattr(self.pipe, name, value)

    def __getattr__(self, name):
        return getattr(self.pipe, name)

    def __call__(self, *given, **more):
        return self.pipe(*given, **more, **self.options)


PASTED = {
    "DDPMPipeline": ("ddim@time/lml", "dpm-solver++-2m@time", "ddim@karras/lml", "ipndm-4@log-snr", "unipc-3@time"),
    "StableDiffusionPipeline": ("ddim@karras/lml", "dpm-solver++-2m@log-snr/lml(mixing=0.0002)", "unipc-2@time"),
    "StableDiffusion3Pipeline": ("euler-flow@time/lml",),
}


@pytest.mark.parametrize("kind", PASTED)
def test_the_lines_to_paste_draw_what_was_measured(kind, tmp_path):
    folder = save_pipeline(kind, tmp_path)
    prompted = kind != "DDPMPipeline"
    made = network(folder, prompts=["a red fox"] if prompted else [], size=32 if "3" in kind else None)
    n, size = 6, {"height": 32, "width": 32} if "3" in kind else {}
    x = made.start(0, 1)
    for name in PASTED[kind]:
        plan = arm(name).build(n, x[0].numel(), seed=0, count=1, schedule=made.schedule, times=made.times)
        expected = made.pictures(sample(plan.sampler, made.noise_model, x, plan.levels, plan.correction))
        text = lines(made, name, n)
        assert len(text) == (5 if "made = network" in "".join(text) else 3)
        options = {"generator": torch.Generator().manual_seed(0), "output_type": "np", **size}
        where = {"pipe": Called(made.renderer.pipe, options), "prompt": "a red fox", "torch": torch}
        own = made.renderer.pipe.scheduler
        exec("\n".join(text), where)
        made.renderer.pipe.scheduler = own
        drawn = np.asarray(where["images"])
        # Whole timesteps: half of 1000 at most, of a network and levels that are smooth in it; a wrong level, order or
        # strength is ten times that away.
        assert np.abs(drawn - expected).mean() < 2e-3, name
    assert lines(made, "own", n) == []


def test_the_content_is_plain_json_and_the_page_holds_its_pictures(tmp_path):
    from image_exps.compare.page import content_of, page, sheet

    found = compare(network(save_pipeline("DDPMPipeline", tmp_path)), ["own", "ddim/lml"], [3], count=4)
    content = json.loads(json.dumps(content_of(found), allow_nan=False))
    picture, shown = sheet(found, 3, 2)
    assert shown == ["own", "ddim@time", "ddim@time/lml"]
    text = page(content, {3: (picture, shown)})
    assert "data:image/png;base64," in text
    assert "http" not in text
    assert content["cells"][0]["advice"].replace("<", "&lt;") in text
    notes = content["cells"][0]["notes"]
    assert notes
    assert notes[0].startswith("DDIMScheduler begins at timestep 666 of 999")


def test_samples_that_are_not_finite_are_a_reason_and_not_a_distance(monkeypatch):
    made = gaussian()

    def broken(m, counted, x, name, n, seed, kept):
        return measure._Ends(x * (float("nan") if "lml" in name else 1), m.levels(1)[-1].sigma, float("nan"))

    monkeypatch.setattr(measure, "_ends", broken)
    found = compare(made, ["ddim/lml"], [3], count=4)
    assert found.row("ddim@time/lml", 3).reason == "its samples are not finite"
    assert len(advise(replace(found, rows=found.rows))) == 1
