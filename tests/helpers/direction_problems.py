"""Noises in every relation that a kernel must handle, drawn by Hypothesis."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

_RELATIONS = ("independent", "near", "equal", "opposite", "parallel", "orthogonal", "large", "small")


def related(noise: Tensor, relation: str, generator: torch.Generator) -> Tensor:
    """Return a previous noise (float64) that stands in the named relation to ``noise``."""
    other = torch.randn(noise.shape, dtype=torch.float64, generator=generator)
    e = noise.double()
    return {
        "independent": other,
        "near": e + 1e-4 * other,
        "equal": e,
        "opposite": -e,
        "parallel": 0.75 * e,
        "orthogonal": other - (other * e).sum() / (e * e).sum() * e,
        "large": 1e3 * other,
        "small": 1e-3 * other,
    }[relation]


@st.composite
def problems(draw: st.DrawFn) -> tuple[Tensor, Tensor, float, float]:
    """Draw one sample of noise and previous noise (float64, rounded to the precision later), damping and mixing."""
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    d = draw(st.sampled_from((1, 2, 3, 5, 8)))
    noise = torch.randn((1, d), dtype=torch.float64, generator=generator)
    previous = related(noise, draw(st.sampled_from(_RELATIONS)), generator)
    damping = 10.0 ** draw(st.floats(-9, 6))
    mixing = draw(st.one_of(st.floats(1e-9, 1e-3), st.floats(1e-3, 0.999)))
    return noise, previous, damping, mixing
