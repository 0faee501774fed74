"""Low-rank mixtures: the covariance they are made of, their fit, and the cache of fits."""

from __future__ import annotations

import errno
import itertools
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from references import U, relative

import toy
from toy import LowRankFit, LowRankPlusIsotropic, fit_cache, low_rank, low_rank_mixture
from toy.low_rank import held_out


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LML_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _parts(dim: int = 40, rank: int = 6, count: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    vectors = torch.linalg.qr(_draw(count, dim, rank))[0]
    return vectors, 1 + _draw(count, rank, seed=1).abs(), 0.1 + _draw(count, seed=2).abs()


@pytest.mark.parametrize("sigma", [0.0, 1e-2, 1.0, 100.0])
def test_mixture_is_that_of_the_low_rank_plus_diagonal_form(sigma: float) -> None:
    vectors, excess, floor = _parts()
    weights, means = torch.softmax(_draw(4, seed=3), 0), _draw(4, 40, seed=4)
    diagonal = floor[:, None].expand(4, 40)
    one = toy.GaussianMixture(weights, means, LowRankPlusIsotropic(vectors, excess, floor)).diffuse(0.8, sigma)
    factor = vectors * excess.sqrt()[:, None]
    other = toy.GaussianMixture(weights, means, toy.LowRankPlusDiagonal(factor, diagonal)).diffuse(0.8, sigma)
    x = other.sample(9, generator=torch.Generator().manual_seed(5))
    # Logits of size d (1 + |m|^2/c), here below 1e4, carry their rounding into every weight.
    for method in ("log_density", "score", "responsibilities", "posterior_mean"):
        assert relative(getattr(one, method)(x)[:, None], getattr(other, method)(x)[:, None]) <= 1e4 * 10 * U
    assert relative(one.covariance()[None], other.covariance()[None]) <= 100 * U


def test_levels_share_eigenvectors_in_every_dtype() -> None:
    covariance = LowRankPlusIsotropic(*_parts())
    q = toy.GaussianMixture(torch.full((4,), 0.25), _draw(4, 40), covariance, dtype=torch.float32)
    first, second = (q.diffuse(0.8, sigma).component_covariances for sigma in (0.1, 0.6))
    assert isinstance(first, LowRankPlusIsotropic)
    assert isinstance(second, LowRankPlusIsotropic)
    assert first.vectors is second.vectors
    assert first.vectors.dtype is torch.float32
    assert q.diffuse(0.8, 0.1).means is q.means


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ((torch.eye(3)[None], torch.ones(1, 2), torch.ones(1)), "vectors must have shape (K, d, r)"),
        ((torch.eye(3)[None], torch.ones(1, 3), torch.zeros(1)), "floor must be finite and positive"),
        ((torch.eye(3)[None], -torch.ones(1, 3), torch.ones(1)), "excess must be finite and not negative"),
        ((torch.ones(1, 3, 3), torch.ones(1, 3), torch.ones(1)), "vectors must be orthonormal"),
        ((torch.full((1, 3, 3), math.nan), torch.ones(1, 3), torch.ones(1)), "vectors must be orthonormal"),
    ],
)
def test_bad_parts_are_refused(parts: tuple[torch.Tensor, ...], message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        LowRankPlusIsotropic(*parts)
    assert message in str(caught.value)


def test_one_component_is_the_closed_form_of_its_eigenvalues() -> None:
    X = _draw(200, 5) * torch.tensor([3.0, 2.0, 1.0, 0.5, 0.3])
    q = low_rank_mixture(X, LowRankFit(1, 2, smoothing=1e-3))
    e, vectors = torch.linalg.eigh(torch.cov(X.mT, correction=0))
    rest = e[:3].mean()
    expected = rest * torch.eye(5, dtype=torch.float64) + (vectors[:, 3:] * (e[3:] - rest)) @ vectors[:, 3:].mT
    assert relative(q.mean()[None], X.mean(0)[None]) <= 1e3 * U
    # Eigenvectors are off by u times the ratio of eigenvalues to their gaps, a few tens here.
    assert relative(q.covariance()[None], expected[None]) <= 1e3 * U
    # The maximum of the likelihood keeps the trace, and no other rank-2 mixture of this family near it has more.
    assert float(q.covariance().trace()) == pytest.approx(float(e.sum()), rel=1e3 * U)
    covariance = q.component_covariances
    assert isinstance(covariance, LowRankPlusIsotropic)
    best = float(q.log_density(X).mean())
    for scale in (0.95, 1.05):
        for change in ((scale, 1.0), (1.0, scale)):
            other = LowRankPlusIsotropic(
                covariance.vectors, covariance.excess * change[0], covariance.floor * change[1]
            )
            assert float(toy.GaussianMixture(q.weights, q.means, other).log_density(X).mean()) < best


def test_fewer_points_than_dimensions_give_the_same_eigenvectors() -> None:
    X = _draw(12, 30)
    ones = torch.ones(12, dtype=torch.float64)
    fit = LowRankFit(1, 4, smoothing=1e-3)
    mean, vectors, excess, floor = low_rank._component(X, ones, fit)
    e, basis = torch.linalg.eigh(torch.cov(X.mT, correction=0))
    rest = e[:-4].sum() / 26
    assert relative(mean[None], X.mean(0)[None]) <= 100 * U
    assert float(floor) == pytest.approx(float(rest), rel=1e-12)
    assert relative(excess[None], (e[-4:].flip(0) - rest)[None]) <= 1e-12
    assert float(((vectors.mT @ basis[:, -4:].flip(1)).abs() - torch.eye(4)).abs().max()) <= 1e-10


def test_components_of_few_points_keep_the_smoothing_in_every_direction() -> None:
    X = torch.cat([_draw(4, 10), 50 + _draw(40, 10, seed=1)])
    q = low_rank_mixture(X, LowRankFit(2, 6, smoothing=0.3))
    least = torch.linalg.eigvalsh(q.component_covariances.dense()).amin(1)
    assert float(least.min()) == pytest.approx(0.09, rel=1e-12)


def test_identical_points_are_one_narrow_component() -> None:
    q = low_rank_mixture(torch.full((8, 5), 2.0), LowRankFit(1, 3, smoothing=0.5))
    assert relative(q.covariance()[None], 0.25 * torch.eye(5)[None]) <= 10 * U
    assert relative(q.mean()[None], torch.full((1, 5), 2.0)) <= 10 * U


def test_steps_of_em_raise_the_likelihood() -> None:
    X = toy.dataset("digits").images[:600]
    values = [float(low_rank_mixture(X, LowRankFit(8, 6, n)).log_density(X.flatten(1)).mean()) for n in range(4)]
    assert all(b >= a for a, b in itertools.pairwise(values))
    assert values[-1] > values[0]


def test_fit_of_a_mixture_finds_it() -> None:
    truth = toy.GaussianMixture(torch.tensor([0.3, 0.7]), 4 * _draw(2, 40), LowRankPlusIsotropic(*_parts(count=2)))
    X = truth.sample(4000, generator=torch.Generator().manual_seed(1))
    q = low_rank_mixture(X, LowRankFit(2, 6, 3))
    fresh = truth.sample(4000, generator=torch.Generator().manual_seed(2))
    # 2 (40 * 7 + 2) parameters cost half a nat each over 4000 points, in expectation; twice that is allowed.
    assert 0 < float((truth.log_density(fresh) - q.log_density(fresh)).mean()) <= 2 * 564 / (2 * 4000)


def test_held_out_likelihood_tells_a_wrong_rank() -> None:
    truth = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 40), LowRankPlusIsotropic(*_parts(count=1)))
    X = truth.sample(300, generator=torch.Generator().manual_seed(1))
    right = held_out(X, LowRankFit(1, 6))
    assert held_out(X, LowRankFit(1, 2)) < right
    assert held_out(X, LowRankFit(1, 30)) < right
    assert held_out(X, LowRankFit(1, 6)) == right


def test_second_fit_is_read_and_is_the_first_to_the_bit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, fit = _draw(60, 8), LowRankFit(3, 2, 2)
    first = low_rank_mixture(X, fit)
    assert [f.suffix for f in folder.iterdir()] == [".safetensors"]
    monkeypatch.setattr(low_rank, "_fit", lambda *_: pytest.fail("fitted again"))
    again = low_rank_mixture(X, fit)
    assert torch.equal(first.score(X), again.score(X))


def test_fit_is_the_same_on_any_number_of_threads() -> None:
    X, fit = _draw(500, 20), LowRankFit(5, 4, 2)
    threads = torch.get_num_threads()
    try:
        made = []
        for count in (1, 2):
            torch.set_num_threads(count)
            made.append(low_rank._fit(X, fit))
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])


def test_other_data_parameters_and_code_have_other_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X = _draw(60, 8)
    low_rank_mixture(X, LowRankFit(3, 2))
    low_rank_mixture(X, LowRankFit(3, 2, seed=1))
    low_rank_mixture(X + 1e-9, LowRankFit(3, 2))
    monkeypatch.setattr(low_rank, "_code", lambda: ("another",))
    low_rank_mixture(X, LowRankFit(3, 2))
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "foreign", "another's"])
def test_damaged_file_is_fitted_again_replaced_and_named(
    damage: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    X, fit = _draw(60, 8), LowRankFit(3, 2)
    first = low_rank_mixture(X, fit)
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-9] ^= 1  # a bit of a number: the file can be read still
    low_rank_mixture(X + 1, fit)
    (other,) = set(folder.iterdir()) - {file}
    damaged = {
        "flipped": bytes(flipped),
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "foreign": b"not a fit" * 100,
        "another's": other.read_bytes(),
    }
    file.write_bytes(damaged[damage])
    again = low_rank_mixture(X, fit)
    assert torch.equal(first.score(X), again.score(X))
    assert file.read_bytes() == whole
    assert caplog.messages == [f"{file} is damaged, or of something else: it is computed again"]


def test_write_that_fails_leaves_nothing_and_the_fit_is_returned(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fit_cache.os, "replace", full)
    q = low_rank_mixture(_draw(60, 8), LowRankFit(3, 2))
    assert q.components == 3
    (said,) = caplog.messages
    assert "could not be written (No space left on device): the next run computes it again" in said
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("name", ["../../out", "/etc/x", "a\\b", "a\0b", "n" * 400, ""])
def test_a_name_does_not_lead_out_of_the_folder_of_fits(folder: Path, name: str) -> None:
    made = fit_cache.cached(name, "0" * 64, lambda: {"x": torch.ones(2)})
    again = fit_cache.cached(name, "0" * 64, lambda: pytest.fail("was fitted again"))
    assert torch.equal(made["x"], again["x"])
    assert len(list(folder.iterdir())) == 1
    assert list(folder.parent.iterdir()) == [folder]


def test_processes_may_fit_the_same_at_once(folder: Path) -> None:
    code = (
        "import torch; from toy import LowRankFit, low_rank_mixture as f;"
        "X = torch.randn((400, 30), generator=torch.Generator().manual_seed(0), dtype=torch.float64);"
        "print(f(X, LowRankFit(4, 3, 5)).score(X).sum().item().hex())"
    )
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1] != ""
    assert [f.suffix for f in folder.iterdir()] == [".safetensors"]


def test_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LML_OUTSIDE", raising=False)
    monkeypatch.setenv("LML_CACHE", "/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert fit_cache.cache_folder() == Path("/a")
    monkeypatch.delenv("LML_CACHE")
    assert fit_cache.cache_folder() == Path("/b/lml-toolkit")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert fit_cache.cache_folder() == Path.home() / ".cache" / "lml-toolkit"
    monkeypatch.setenv("LML_OUTSIDE", "none")
    assert fit_cache.cache_folder() is None
    assert fit_cache.cached("x", "key", lambda: {"a": torch.ones(1)})["a"] == 1
    monkeypatch.setenv("LML_CACHE", "/a")
    assert fit_cache.cache_folder() == Path("/a")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LowRankFit(0, 1), "components must be a positive integer, got 0"),
        (lambda: LowRankFit(1, 1.5), "rank must be a positive integer, got 1.5"),
        (lambda: LowRankFit(1, 1, -1), "steps must be an integer of at least 0, got -1"),
        (lambda: LowRankFit(1, 1, smoothing=0.0), "smoothing must be a finite positive number, got 0.0"),
        (lambda: low_rank_mixture(torch.zeros(8), LowRankFit(1, 1)), "data must be a tensor of shape (N, ...)"),
        (lambda: low_rank_mixture(torch.full((8, 2), math.nan), LowRankFit(1, 1)), "data must be finite"),
        (lambda: low_rank_mixture(torch.zeros(8, 2), LowRankFit(1, 2)), "rank must be below the dimension 2, got 2"),
        (lambda: low_rank_mixture(torch.zeros(8, 2), LowRankFit(5, 1)), "components must be at most half of the 8"),
        (lambda: held_out(torch.zeros(8, 2), LowRankFit(1, 1), share=1.0), "share must lie in (0, 1), got 1.0"),
    ],
)
def test_bad_fits_are_refused(call, message) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        call()
    assert message in str(caught.value)
