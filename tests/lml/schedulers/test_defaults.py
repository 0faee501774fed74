"""The strength that a user gets who sets nothing: one half before bases of first order, one tenth before the others."""

import inspect
import json

import diffusers
import pytest
from exact_loop import DIFFUSION, NAMES, NUMPY_2, denoiser, run, start, suited

from lml.correction import LML
from lml.schedulers import SCHEDULERS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

FIRST_ORDER = {
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
}


def strength(scheduler):
    return scheduler.config.mixing / scheduler.config.damping


def default(name):
    return LML.mixing if name in FIRST_ORDER else LML.damping / 10


@pytest.mark.parametrize("name", NAMES)
def test_the_default_is_that_of_the_class_in_signature_config_and_step(name):
    ours = SCHEDULERS[name](**suited(name))
    assert inspect.signature(SCHEDULERS[name]).parameters["mixing"].default == default(name)
    assert strength(ours) == pytest.approx(0.5 if name in FIRST_ORDER else 0.1, rel=1e-12)
    assert ours._correction() == LML(mixing=default(name))


def test_a_solver_order_of_one_leaves_the_default_of_its_class():
    assert strength(SCHEDULERS["DPMSolverMultistepScheduler"](solver_order=1)) == pytest.approx(0.1, rel=1e-12)


@pytest.mark.parametrize("other", DIFFUSION)
@pytest.mark.parametrize("name", ["DDIMScheduler", "DPMSolverMultistepScheduler"])
def test_a_default_is_not_handed_on_and_a_given_mixing_is(name, other):
    for given, kept in (({}, default(other)), ({"mixing": default(name)}, default(name)), ({"mixing": 0.0}, 0.0)):
        ours = SCHEDULERS[name](**suited(name), **given)
        base = getattr(diffusers, other).from_config(ours.config)
        assert SCHEDULERS[other].from_config(ours.config).config.mixing == kept
        assert SCHEDULERS[other].from_config(base.config).config.mixing == kept


@pytest.mark.parametrize("name", NAMES)
def test_a_config_from_before_there_was_a_choice_of_norm_has_the_norm_of_the_paper(name, tmp_path):
    ours = SCHEDULERS[name](**suited(name), norm="extrapolated")
    assert SCHEDULERS[name].from_config(ours.config).config.norm == "extrapolated"
    ours.save_pretrained(tmp_path)
    assert SCHEDULERS[name].from_pretrained(tmp_path)._correction().norm == "extrapolated"
    file = tmp_path / "scheduler_config.json"
    saved = json.loads(file.read_text())
    del saved["norm"]
    file.write_text(json.dumps(saved))
    assert SCHEDULERS[name].from_pretrained(tmp_path)._correction().norm == "kept"


def test_what_is_read_from_a_file_counts_as_given(tmp_path):
    SCHEDULERS["DDIMScheduler"]().save_pretrained(tmp_path)
    loaded = SCHEDULERS["DPMSolverMultistepScheduler"].from_pretrained(tmp_path)
    assert loaded.config.mixing == LML.mixing


def test_a_pipeline_of_the_base_gets_the_default_of_the_class():
    base = diffusers.DPMSolverMultistepScheduler(beta_schedule="scaled_linear")
    ours = SCHEDULERS["DPMSolverMultistepScheduler"].from_config(base.config)
    x = start(ours)
    model = denoiser("DPMSolverMultistepScheduler")
    set_so = SCHEDULERS["DPMSolverMultistepScheduler"].from_config(base.config, mixing=1e-4)
    other = SCHEDULERS["DPMSolverMultistepScheduler"].from_config(base.config, mixing=5e-4)
    pictures = [run(s, model, x)[-1] for s in (ours, set_so, other)]
    assert pictures[0].equal(pictures[1])
    assert not pictures[0].equal(pictures[2])
