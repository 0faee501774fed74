"""Levenberg-Marquardt-Langevin (LML) diffusion sampling: the method itself, on PyTorch alone.

What is imported from here is public and stable; it is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from lml._lazy import lazy

if TYPE_CHECKING:
    from lml.correction import LML, NoCorrection, ReleasedLML
    from lml.geometry import DampedOuterProduct
    from lml.kernel import lml_direction, lml_direction_rank
    from lml.samplers import SAMPLERS, Level, sample, sampler, trajectory

__version__ = "0.2.0"
__all__ = [
    "LML",
    "SAMPLERS",
    "DampedOuterProduct",
    "Level",
    "NoCorrection",
    "ReleasedLML",
    "lml_direction",
    "lml_direction_rank",
    "sample",
    "sampler",
    "trajectory",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "lml.correction": ("LML", "NoCorrection", "ReleasedLML"),
            "lml.geometry": ("DampedOuterProduct",),
            "lml.kernel": ("lml_direction", "lml_direction_rank"),
            "lml.samplers": ("SAMPLERS", "Level", "sample", "sampler", "trajectory"),
        },
    )
