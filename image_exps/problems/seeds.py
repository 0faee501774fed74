"""A generator for each sample: what is drawn for sample ``i`` of seed ``s`` depends on nothing but ``i`` and ``s``."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lml.arguments import check_choice, check_integer

__all__ = ["STREAMS", "sample_generators", "starting_noise"]

#: What draws are for: streams of one sample that are independent of each other.
STREAMS = {"start": 0, "correction": 1, "model": 2}


def sample_generators(seed: int, first: int, count: int, stream: str) -> list[torch.Generator]:
    """Return the generators of samples ``first .. first + count - 1``.

    Args:
        seed: of the run, not negative.
        first: index of the first sample, not negative.
        count: how many samples.
        stream: what is drawn, one of `STREAMS`.

    Raises:
        ValueError: for another stream, or a negative number.

    Source: the hash of (seed, stream, index) is that of `numpy.random.SeedSequence`.
    """
    check_choice(stream, "stream", STREAMS)
    for name, value in (("seed", seed), ("first", first), ("count", count)):
        check_integer(value, name, least=0)
    words = (np.random.SeedSequence((seed, STREAMS[stream], i)) for i in range(first, first + count))
    return [torch.Generator().manual_seed(int(w.generate_state(1, np.uint64)[0] >> 1)) for w in words]


def starting_noise(seed: int, first: int, count: int, shape: tuple[int, ...]) -> Tensor:
    """Return the noises that samples ``first .. first + count - 1`` start from, ``(count, *shape)``, float64."""
    generators = sample_generators(seed, first, count, "start")
    return torch.stack([torch.randn(shape, dtype=torch.float64, generator=g) for g in generators])
