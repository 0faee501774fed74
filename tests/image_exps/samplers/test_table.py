"""The table of samplers is what it says of them: orders, defaults, and names that are one algorithm each."""

import subprocess
import sys

import pytest
from diffusers_warnings import NUMPY_2

import lml.schedulers
from image_exps.samplers import names
from image_exps.samplers.baselines import BASELINE_ARMS, BASELINE_SPACINGS, BASELINES, baselines_text, is_baseline
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES
from image_exps.samplers.table import ALGORITHMS, TABLE_BASES, algorithm
from lml.samplers import SAMPLERS
from lml.strength import default_mixing
from toy.levels import SPACINGS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


def test_an_algorithm_has_one_name_everywhere():
    # The singlestep solver is made for a budget; the multistep one of first order is DDIM.
    assert set(ALGORITHMS) - {"dpm-solver-3s"} == set(SAMPLERS) - {"dpm-solver-1"}
    assert all(name == each.name for name, each in ALGORITHMS.items())


@pytest.mark.parametrize("name", [name for name in ALGORITHMS if name in SAMPLERS])
def test_the_order_is_that_of_the_sampler(name):
    # tests/lml/samplers/test_order.py measures it, test_arms.py that of the singlestep solver.
    assert algorithm(name).order == SAMPLERS[name].order


@pytest.mark.parametrize("name", PIPELINE_BASES)
def test_the_default_mixing_is_that_of_the_scheduler(name):
    cls = lml.schedulers.SCHEDULERS[PIPELINE_BASES[name].name]
    assert cls().config.mixing == algorithm(name).mixing == default_mixing(algorithm(name).order)
    assert cls().config.damping == lml.strength.DEFAULT_DAMPING


def test_default_mixing_refuses_what_is_no_order():
    for order in (0, True, 1.5):
        with pytest.raises(ValueError, match="order must be a positive integer, got"):
            default_mixing(order)


def test_spacings_are_published_ones():
    assert {each.spacing for each in ALGORITHMS.values()} == set(BASELINE_SPACINGS) < set(SPACINGS)


def test_the_baselines_are_all_that_can_spend_any_budget():
    assert set(TABLE_BASES) < set(BASELINES)
    assert {"ipndm-2", "ipndm-3", "ipndm-4"} < set(BASELINES)
    assert set(ALGORITHMS) - set(BASELINES) == {"pndm-prk", "euler", "heun", "euler-flow", "heun-flow"}
    assert "ipndm-4@karras" in BASELINE_ARMS
    assert all(map(is_baseline, (*BASELINES, *BASELINE_ARMS)))
    assert not any(map(is_baseline, ("ddim/lml", "ddim@tuned", "unipc-3@time/noise")))


def test_a_text_says_which_baselines_were_measured_and_which_were_not():
    few = baselines_text(["ddim", "ddim@log-snr", "pndm", "ddim/lml", "unipc-3@tuned"])
    assert few.startswith(
        "Baselines: `ddim` at time, log-snr; `pndm` at time. Not measured: `ddim` at karras; `pndm` at "
    )
    assert "`unipc-3`" in few.partition("Not measured")[2]
    assert baselines_text(BASELINE_ARMS).endswith("at time, log-snr, karras. Not measured: none.")


@pytest.mark.parametrize(
    "text",
    ["ddim", "ddim@time", "unipc-3/lml", "dpm-solver++-2m@karras/lml(damping=0.01, damping_mode=adaptive, rank=2)"],
)
def test_a_name_and_its_parts_are_the_same(text):
    assert str(names.parse_name(text)) == text


def test_lists_of_names_are_split_between_names():
    assert names.split_names("ddim, ddim/lml(damping=1, rank=2):5,unipc-2") == [
        "ddim", "ddim/lml(damping=1, rank=2):5", "unipc-2"
    ]  # fmt: skip


def test_names_and_the_table_need_no_torch():
    code = (
        "import sys, image_exps.samplers.pipeline_sampler as p, image_exps.samplers.baselines\n"
        "assert p.pipeline_sampler('ddim@trailing/lml(rank=2)', 5).options == {'rank': 2}\n"
        "assert not {'torch', 'diffusers', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
