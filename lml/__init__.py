"""Levenberg-Marquardt-Langevin (LML) diffusion sampling: the method itself, on PyTorch alone."""

from lml.geometry import DampedOuterProduct
from lml.kernel import lml_direction, lml_direction_rank, lml_direction_textbook

__all__ = ["DampedOuterProduct", "lml_direction", "lml_direction_rank", "lml_direction_textbook"]
__version__ = "0.1.0"
