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

from image_exps.problems.endpoints import Endpoints, flow_endpoints
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import SamplingProblem
from image_exps.problems.targets import TIMES, levels
from toy.fit_cache import cached_in

__all__ = ["BLOCK", "cached_endpoints"]

#: Samples are made in blocks of this size, whatever their number: a sample's block never changes.
BLOCK = 256

# Steps of the reference; what its endpoints are worth is kept with them. From 784 dimensions on a step is dear.
_STEPS, _STEPS_OF_PICTURES, _PICTURES_FROM = 160, 60, 784


def cached_endpoints(made: SamplingProblem, seed: int, block: int, folder: Path) -> Endpoints:
    """Return where the flow ends from the noises of a block, shape ``(BLOCK, *shape)``, in the model's dtype.

    Args:
        made: the target and its reference flow.
        seed: of the noises.
        block: samples ``BLOCK * block .. BLOCK * (block + 1) - 1`` of the seed.
        folder: where endpoints are kept; created where it is missing.
    """
    x = starting_noise(seed, BLOCK * block, BLOCK, made.shape).to(made.dtype)
    steps = _STEPS_OF_PICTURES if made.dim >= _PICTURES_FROM else _STEPS
    middle = levels(2)[1]
    digest = hashlib.sha256(repr((made.name, made.shape, str(made.dtype), steps, TIMES, torch.__version__)).encode())
    # Six digits of the answers: enough to tell two fits, and blind to the order of a sum.
    digest.update(np.char.mod("%.5e", made.flow(x[:2], middle).double().numpy()).tobytes())
    key = f"{digest.hexdigest()}-{seed}-{block}"

    def compute() -> dict[str, Tensor]:
        ends = flow_endpoints(made.flow, x, steps)
        return {name: tensor.contiguous() for name, tensor in ends._asdict().items()}

    file = folder / f"{made.name}-{digest.hexdigest()[:16]}-{seed}-{block}.safetensors"
    kept = cached_in(file, key, compute)
    return Endpoints(kept["exact"], kept["refinement"])
