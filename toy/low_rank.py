r"""A mixture of low-rank Gaussians fitted to data: an exact target with new samples, where a data set's are copies.

``p = sum_k w_k N(m_k, c_k I + U_k diag(l_k) U_k^T)``. The fit starts from k-means; in each cluster the maximum of the
likelihood is closed: with the eigenvalues ``e_1 >= ... >= e_d`` of the cluster's covariance, of eigenvectors ``u_i``,

    U = (u_1 ... u_r),    c = (e_{r+1} + ... + e_d)/(d - r),    l_i = e_i - c.

Steps of EM, in which every point counts in each component by its responsibility, then raise the likelihood of all. The
maximum is taken over ``c >= smoothing^2``: where the eigenvalues left are smaller, ``c`` is that and ``l`` has no part
below it. Few points span few directions, and what is left of their covariance would be none.

Source: Tipping & Bishop 1999, Mixtures of Probabilistic Principal Component Analyzers, Eqs. 12-15 and Appendix C.
"""

from __future__ import annotations

import hashlib
from dataclasses import astuple, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from scipy.linalg import eigh
from torch import Tensor

from lml.arguments import check_integer, check_number, check_positive
from toy.exact_target import check_finite
from toy.fit_cache import cached, checksum
from toy.mixture import GaussianMixture
from toy.spiked import LowRankPlusIsotropic
from toy.threads import single_thread

__all__ = ["LowRankFit", "held_out", "low_rank_mixture"]

# Responsibilities below this do not change a weighted mean in float64.
_NEGLIGIBLE = 1e-16


@dataclass(frozen=True)
class LowRankFit:
    """What is fitted.

    Attributes:
        components: K.
        rank: r, below the dimension.
        steps: of EM after k-means, 0 for none.
        smoothing: the least standard deviation in any direction.
        seed: of k-means.
    """

    components: int
    rank: int
    steps: int = 0
    smoothing: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("components", 1), ("rank", 1), ("steps", 0), ("seed", 0)):
            value = getattr(self, name)
            check_integer(value, name, least=least)
        check_positive(self.smoothing, "smoothing")


def low_rank_mixture(
    data: Tensor, fit: LowRankFit, *, name: str = "low-rank", dtype: torch.dtype = torch.float64
) -> GaussianMixture:
    """Return the mixture fitted to points, from the cache where it has it.

    Args:
        data: shape (N, ...); a point is all dimensions but the first.
        fit: what is fitted.
        name: what the cached file's name begins with.
        dtype: of the mixture's results; the fit itself is in float64.

    Raises:
        ValueError: if the data are not finite, or too few or too small for the fit.
    """
    X = _points(data, fit)
    key = checksum(X, astuple(fit), _code())
    return _mixture(cached(name, key, lambda: _fit(X, fit)), dtype)


def held_out(data: Tensor, fit: LowRankFit, *, share: float = 0.2, seed: int = 0) -> float:
    """Return the mean log-likelihood of a random ``share`` of the points under the fit to the others, a dimension.

    Raises:
        ValueError: as `low_rank_mixture`; for a share outside of (0, 1).
    """
    check_number(share, "share", above=0, below=1)
    X = _points(data, fit)
    order = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
    cut = max(1, round(share * len(X)))
    mixture = _mixture(_fit(_points(X[order[cut:]], fit), fit), torch.float64)
    return float(mixture.log_density(X[order[:cut]]).mean()) / mixture.dim


def _points(data: Tensor, fit: LowRankFit) -> Tensor:
    if not isinstance(data, Tensor) or data.ndim < 2:
        got = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise ValueError(f"data must be a tensor of shape (N, ...) with at least two dimensions, got {got}")
    check_finite(data, "data")
    X = data.detach().cpu().flatten(1).to(torch.float64)
    if fit.rank >= X.shape[1]:
        raise ValueError(f"rank must be below the dimension {X.shape[1]}, got {fit.rank}")
    if len(X) < 2 * fit.components:
        raise ValueError(f"components must be at most half of the {len(X)} points, got {fit.components}")
    return X


def _code() -> tuple[str, ...]:
    """Return what a fit depends on besides data and parameters: this file and the libraries that compute."""
    source = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
    return source, *(version(library) for library in ("numpy", "scipy", "scikit-learn", "torch"))


def _mixture(tensors: dict[str, Tensor], dtype: torch.dtype) -> GaussianMixture:
    covariance = LowRankPlusIsotropic(tensors["vectors"], tensors["excess"], tensors["floor"])
    return GaussianMixture(tensors["weights"], tensors["means"], covariance, dtype=dtype)


def _fit(X: Tensor, fit: LowRankFit) -> dict[str, Tensor]:
    from sklearn.cluster import KMeans

    with single_thread():  # the threads of k-means add their parts in the order in which they finish
        clusters = KMeans(fit.components, n_init=2, random_state=fit.seed).fit_predict(X.numpy())
        r = torch.nn.functional.one_hot(torch.from_numpy(clusters).long(), fit.components).to(torch.float64)
        parameters = _maximise(X, r, fit)
        for _ in range(fit.steps):
            r = _mixture(parameters, torch.float64).responsibilities(X)
            parameters = _maximise(X, r, fit)
    return parameters


def _maximise(X: Tensor, r: Tensor, fit: LowRankFit) -> dict[str, Tensor]:
    """Return the parameters of largest likelihood for responsibilities (N, K); a component keeps its number."""
    weights = r.mean(0)
    parts = [_component(X[active], r[active, k], fit) for k, active in enumerate((r > _NEGLIGIBLE).mT)]
    means, vectors, excess, floor = (torch.stack(part) for part in zip(*parts, strict=True))
    return {"weights": weights, "means": means, "vectors": vectors, "excess": excess, "floor": floor}


def _component(X: Tensor, r: Tensor, fit: LowRankFit) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mean (d,), vectors (d, rank), excess (rank,) and floor () of one component, from its points (n, d)."""
    least = fit.smoothing**2
    share = r / r.sum()
    mean = share @ X
    Z = ((X - mean) * share.sqrt()[:, None]).numpy()
    n, d = Z.shape
    small = Z @ Z.T if n < d else Z.T @ Z
    # The leading eigenpairs of Z^T Z; from Z Z^T they are mapped by Z^T, and made orthonormal again.
    top = min(fit.rank, len(small))
    values, basis = eigh(small, subset_by_index=(len(small) - top, len(small) - 1))
    values, basis = values[::-1].clip(0), basis[:, ::-1]
    leading = np.zeros((d, fit.rank))
    leading[:, :top] = Z.T @ basis if n < d else basis
    vectors, _ = np.linalg.qr(_completed(leading))
    eigenvalues = np.zeros(fit.rank)
    eigenvalues[:top] = values
    rest = max(float(np.trace(small)) - float(eigenvalues.sum()), 0.0) / (d - fit.rank)
    floor = max(rest, least)
    excess = (eigenvalues - floor).clip(0)
    return mean, torch.from_numpy(vectors), torch.from_numpy(excess), torch.tensor(floor, dtype=torch.float64)


def _completed(leading: np.ndarray) -> np.ndarray:
    """Replace columns of no length by fixed directions: they get no excess, and `qr` makes them orthogonal."""
    norms = np.linalg.norm(leading, axis=0)
    empty = norms <= 1e-10 * max(norms.max(), 1e-300)
    leading[:, empty] = np.random.default_rng(0).standard_normal((len(leading), int(empty.sum())))
    leading[:, ~empty] /= norms[~empty]
    return leading
