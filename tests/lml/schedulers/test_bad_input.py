"""Bad input: refused at construction where it is ours to refuse, and the base's own affair everywhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from exact_loop import DIFFUSION, EXPLODING, NAMES, NUMPY_2, SHAPE, draws, make, make_base, start

from lml.schedulers import SCHEDULERS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


@pytest.mark.parametrize("name", NAMES)
def test_not_a_number_from_the_network_is_passed_on_as_the_base_does(name):
    ours, base = make(name), make_base(name)
    for each in (ours, base):
        each.set_timesteps(6)
    x = start(ours)
    g = torch.Generator().manual_seed(5)
    outputs = torch.randn(4, *x.shape, generator=g)
    outputs[1, 0, 0, 1, 2] = torch.nan
    outputs[2, 1, 0, 1, 2] = torch.inf
    results = []
    for each in (ours, base):
        draw, y = draws(name), x
        for t, m in zip(each.timesteps, outputs, strict=False):
            each.scale_model_input(y, t) if name in DIFFUSION else None
            y = each.step(m, t, y, **draw).prev_sample
        results.append(y)
    assert torch.equal(torch.isnan(results[0]), torch.isnan(results[1]))
    assert results[1][0].isnan().any()
    # The third sample had clean outputs throughout: it is corrected. So is what is left of the others.
    for ours, theirs in zip(*results, strict=True):
        assert not torch.equal(ours.nan_to_num(), theirs.nan_to_num())


@pytest.mark.parametrize("name", NAMES)
def test_step_before_set_timesteps_is_the_base_s_own_affair(name):
    x = torch.ones(1, *SHAPE)
    outcomes = []
    for each in (make(name), make_base(name)):
        try:
            each.scale_model_input(x, torch.tensor(999.0)) if name in EXPLODING else None
            outcomes.append(each.step(x, 5, x, **draws(name)).prev_sample)
        except Exception as error:
            outcomes.append((type(error), str(error).replace("LML", "").split("<class")[0]))
    if isinstance(outcomes[1], tuple):
        assert outcomes[0] == outcomes[1]
    else:
        assert torch.equal(*outcomes)


@pytest.mark.parametrize("after", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_timestep_is_the_base_s_own_affair(name, after):
    outcomes = []
    for each in (make(name, mixing=0.1), make_base(name)):
        each.set_timesteps(6)
        x = torch.ones(1, *SHAPE)
        for t in each.timesteps[:after]:
            each.scale_model_input(x, t) if name in DIFFUSION else None
            each.step(x, t, x, **draws(name))
        try:
            each.step(x, 123456, x, **draws(name))
            outcomes.append(None)
        except Exception as error:
            outcomes.append((type(error), str(error)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"damping": 0.0}, "damping must be a finite positive number, got 0.0"),
        ({"damping": float("nan")}, "damping must be a finite positive number, got nan"),
        ({"damping": "1"}, "damping must be a finite positive number, got '1'"),
        ({"mixing": 1.0}, "mixing must lie in \\[0, 1\\), got 1.0"),
        ({"mixing": -0.1}, "mixing must lie in \\[0, 1\\), got -0.1"),
        ({"damping_mode": "auto"}, "damping_mode must be one of absolute, relative, adaptive, got 'auto'"),
        ({"rank": 0}, "rank must be a positive integer, got 0"),
        ({"rank": 1.5}, "rank must be a positive integer, got 1.5"),
        ({"variant": "published"}, "variant must be one of algorithm1, released, got 'published'"),
        ({"start": -0.1}, "start must lie in \\[0, 1\\], got -0.1"),
        ({"start": 0.6, "stop": 0.4}, "start must not exceed stop"),
        ({"norm": "free"}, "norm must be one of kept, extrapolated, got 'free'"),
        ({"norm": "extrapolated", "rank": 2}, "rank must be 1 with norm='extrapolated', got 2"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_bad_options_are_refused_at_construction(name, options, said):
    with pytest.raises(ValueError, match=said):
        SCHEDULERS[name](**options)
    with pytest.raises(ValueError, match=said):
        SCHEDULERS[name].from_config(make_base(name).config, **options)


def test_an_argument_that_nobody_knows_is_refused_as_ever():
    with pytest.raises(TypeError, match="dampning"):
        SCHEDULERS["DDIMScheduler"](dampning=1.0)


def test_lml_needs_no_diffusers_and_lml_schedulers_says_what_it_needs(tmp_path):
    code = (
        "import sys; sys.modules['diffusers'] = None\n"
        "import lml, lml.samplers, toy\n"
        "for module in ('lml.schedulers', 'toy.denoiser'):\n"
        "    try: __import__(module)\n"
        "    except ImportError as error: print(error)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(out) == 2
    assert all("pip install 'lml-toolkit[diffusers]'" in line for line in out)
