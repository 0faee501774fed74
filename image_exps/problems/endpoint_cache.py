"""Endpoints of the reference flow, computed once for a block of noises and kept on disk.

They cost more than most of what is compared with them. A file is named after a digest of what the endpoints depend on,
with the model's answers at a probe among it: another fit of a target, or another network, has other files. One that is
damaged is computed again, see `toy.fit_cache`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from image_exps.networks.galaxies import GALAXIES
from image_exps.problems.endpoints import Endpoints, flow_endpoints
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import SamplingProblem
from toy.fit_cache import cached_in

__all__ = ["BLOCK", "block_size", "cached_endpoints"]

#: Samples are made in blocks of this size, whatever their number: a sample's block never changes. Those of galaxies
#: are smaller: there a cell may have few samples, each of which is dear.
BLOCK, _BLOCK_OF_GALAXIES = 256, 64

# Steps of the reference; what its endpoints are worth is kept with them. From 784 dimensions on a step is dear.
_STEPS, _STEPS_OF_PICTURES, _PICTURES_FROM = 160, 60, 784


def block_size(target: str) -> int:
    """Return how many samples of a target are made together."""
    return _BLOCK_OF_GALAXIES if target in GALAXIES else BLOCK


def cached_endpoints(made: SamplingProblem, seed: int, block: int, folder: Path) -> Endpoints:
    """Return where the flow ends from the noises of a block, shape ``(size, *shape)``, in the model's dtype.

    Args:
        made: the target and its reference flow.
        seed: of the noises.
        block: samples ``size * block .. size * (block + 1) - 1`` of the seed, with the size of `block_size`.
        folder: where endpoints are kept; created where it is missing.
    """
    size = block_size(made.name)
    x = starting_noise(seed, size * block, size, made.shape).to(made.dtype)
    steps = _STEPS_OF_PICTURES if made.dim >= _PICTURES_FROM else _STEPS
    middle = made.levels(2)[1]
    digest = hashlib.sha256(
        repr((made.name, made.shape, str(made.dtype), steps, made.times, torch.__version__)).encode()
    )
    # Six digits of the answers: enough to tell two fits, and blind to the order of a sum.
    digest.update(np.char.mod("%.5e", made.flow(x[:2], middle).double().numpy()).tobytes())
    key = f"{digest.hexdigest()}-{seed}-{block}"

    def compute() -> dict[str, Tensor]:
        ends = flow_endpoints(made.flow, x, steps, made.levels)
        return {name: tensor.contiguous() for name, tensor in ends._asdict().items()}

    file = folder / f"{made.name}-{digest.hexdigest()[:16]}-{seed}-{block}.safetensors"
    kept = cached_in(file, key, compute)
    return Endpoints(kept["exact"], kept["refinement"])
