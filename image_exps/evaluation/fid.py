r"""FID with local Inception weights, else ``FD-EffNetLite0``, which is never called FID.

Both are Frechet distances of features: FID of the 2048 features of the Inception network of the original code, whose
weights cannot be had offline and are not shipped. Where their file is given, `image_exps.evaluation.inception` computes
the features; the distance, of means and covariances divided by ``n - 1``, and its interval are those of
`image_exps.distances`. Of other weights than the published ones the distance has another name.

Source: Heusel et al. 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.base import centred_interval, resamples
from image_exps.distances.features import picture_features
from image_exps.distances.frechet import frechet_statistic, sample_moments
from image_exps.evaluation.folder import Generated, Progress
from image_exps.evaluation.inception import SHA256, load_inception
from image_exps.images.pixels import pixels

__all__ = ["FeatureNetwork", "FrechetResult", "efficientnet_network", "frechet", "inception_network"]

#: From pictures (n, 3, height, width) in [-1, 1] to features (n, k), float64.
Features = Callable[[Tensor], Tensor]


class FeatureNetwork(NamedTuple):
    """Features of pictures, with the name of the distance that they give."""

    distance: str
    features: Features


class FrechetResult(NamedTuple):
    """A Frechet distance between two folders, with an interval from resamples of the generated pictures."""

    value: float
    low: float
    high: float
    remark: str


def efficientnet_network() -> FeatureNetwork:
    """Return the network that is always there."""
    return FeatureNetwork("FD-EffNetLite0", picture_features)


def inception_network(weights: Path, device: str = "cpu") -> FeatureNetwork:
    """Return the Inception network of FID, or of ``FD-Inception-`` and a part of their SHA-256 for other weights.

    Args:
        weights: the file of `image_exps.evaluation.inception.URL`.
        device: where it runs.

    Raises:
        ValueError: if the file is not there or is something else, saying what to fetch.
    """
    network, digest = load_inception(weights)
    network.to(device)

    def features(pictures: Tensor) -> Tensor:
        # TF32 keeps ten bits of a float32 number; `enabled` is False where it is not given.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found: Tensor = network(pixels(pictures).to(device))
        return found.double().cpu()

    return FeatureNetwork("FID" if digest == SHA256 else f"FD-Inception-{digest[:8]}", features)


def features_of(
    generated: Generated, network: FeatureNetwork, *, batch: int = 32, progress: Progress | None = None
) -> Tensor:
    """Return the features of every picture of a folder, shape (n, k), float64; ``progress`` is called after a batch."""
    return torch.cat([network.features(pictures) for pictures, _ in generated.batches(batch, progress)])


def frechet(
    samples: Tensor, real: Tensor, *, repeats: int = 1000, seed: int = 0, level: float = 0.95, floor: bool = True
) -> FrechetResult:
    """Return the Frechet distance of features (n, k) to those of real pictures (m, k), with its interval.

    The interval is that of `image_exps.distances.base`: for the distance that n such samples have on average. The floor
    in the remark is the distance of one half of the real pictures to the other, in sets of at most n.

    Raises:
        ValueError: for fewer than two pictures on either side, or features of different widths.
    """
    if samples.ndim != 2 or real.ndim != 2 or samples.shape[1] != real.shape[1]:
        raise ValueError(f"samples and real must be features of one width, got {samples.shape} and {real.shape}")
    for name, x in (("samples", samples), ("real", real)):
        if len(x) < 2:
            raise ValueError(f"{name} must be at least 2 pictures, got {len(x)}")
    n, k = samples.shape
    statistic = frechet_statistic(samples, sample_moments(real))
    value = statistic(torch.ones(n, dtype=torch.float64))
    generator = torch.Generator().manual_seed(seed)
    draws = np.array([statistic(w) for w in resamples(n, repeats, generator)])
    interval = centred_interval(value, draws, level)
    remarks = [f"{n} pictures against {len(real)}"]
    for name, few in (("generated", n), ("real", len(real))):
        if few <= k:
            remarks.append(f"no more {name} pictures than the {k} features: biased, compare at equal numbers")
    size = min(n, len(real) // 2)
    if floor and size >= 2:
        remarks.append(_of_halves(real, size, generator))
    return FrechetResult(interval.value, max(interval.low, 0.0), interval.high, "; ".join(remarks))


def _of_halves(real: Tensor, size: int, generator: torch.Generator) -> str:
    """Return what is said of the distance between two sets of this size of the real pictures."""
    try:
        order = torch.randperm(len(real), generator=generator)
        half, other = real[order[size : 2 * size]], real[order[:size]]
        exact = frechet_statistic(other, sample_moments(half))(torch.ones(size, dtype=torch.float64))
    except Exception as error:  # whatever it is: the distance itself is not lost for it
        return f"real against real at {size} failed: {error}"
    return f"real against real at {size}: {exact:.4g}"
