"""Endpoints of the exact probability flow, computed once for a block of noises and kept on disk.

They cost more than most of what is compared with them. A file is named after a digest of what the endpoints depend on,
with the model's answers at a probe among it: another fit of a target has other files.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import toy
from image_exps.endpoints import reference
from image_exps.seeds import starting_noise
from image_exps.targets import TIMES, Target
from theory_checks.records import atomic

__all__ = ["BLOCK", "flow_ends"]

#: Samples are made in blocks of this size, whatever their number: a sample's block never changes.
BLOCK = 256

# Steps of the reference. Below 784 dimensions half as many differ by 1e-3 of what samplers differ in (claim Q1).
_STEPS, _STEPS_OF_PICTURES, _PICTURES_FROM = 160, 60, 784


def flow_ends(made: Target, seed: int, block: int, folder: Path) -> Tensor:
    """Return where the flow ends from the noises of a block, shape (BLOCK, *shape), in the target's dtype.

    Args:
        made: the target.
        seed: of the noises.
        block: samples ``BLOCK * block .. BLOCK * (block + 1) - 1`` of the seed.
        folder: where endpoints are kept; created where it is missing.
    """
    x = starting_noise(seed, BLOCK * block, BLOCK, made.shape).to(made.dtype)
    steps = _STEPS_OF_PICTURES if made.dim >= _PICTURES_FROM else _STEPS
    model = made.model()
    middle = toy.noise_levels(toy.noise_schedule("vp-linear"), 2, times=TIMES)[1]
    digest = hashlib.sha256(repr((made.name, made.shape, str(made.dtype), steps, TIMES, torch.__version__)).encode())
    # Eight digits of the answers: enough to tell two fits, and blind to the order of a sum.
    digest.update(np.char.mod("%.5e", model(x[:2], middle).double().numpy()).tobytes())
    file = folder / f"{made.name}-{digest.hexdigest()[:16]}-{seed}-{block}.npy"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        ends = reference(model, x, steps).numpy()
        with atomic(file) as path, path.open("wb") as stream:
            np.save(stream, ends)
    return torch.from_numpy(np.load(file))
