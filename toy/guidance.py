r"""Classifier-free guidance on exact noise predictions.

``eps = eps_u + w (eps_c - eps_u)``, with ``eps_u`` that of the whole mixture and ``eps_c`` that of the asked class. By
Bayes' rule ``eps_c - eps_u = -sigma grad log p(c|x)``, so that

    ``eps = -sigma grad [log q(x) + w log p(c|x)]``:

at ``w = 0`` the class is not asked for, at ``w = 1`` samplers approximate the flow of the class itself.

For other ``w`` there is no right answer. With ``alpha = 1`` and ``v = sigma^2`` densities obey ``dq/dv = (1/2) Lap q``,
hence ``phi = log q + w log p(c|.)`` misses the equation of a diffused log density by

    ``d phi/dv - (1/2)(Lap phi + |grad phi|^2) = (1/2) w (1 - w) |grad log p(c|x)|^2``,

and its gradient is the score of the diffusion of some law only if the right side does not depend on ``x``. The flow of
the guided field, which samplers approach as their steps shrink, ends neither at ``q(x) p(c|x)^w`` nor at any other law
that is given in closed form: it can only be computed, and is the reference here.

Source: Ho & Salimans 2022, Classifier-Free Diffusion Guidance, Eq. 6 (their ``w`` is ``w - 1`` here). That guidance
does not sample the tilted law: Bradley & Nakkiran 2024; Chidambaram et al. 2024.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from lml.arguments import check_number
from lml.samplers import Level
from toy.classes import ClassMixture

__all__ = ["ClassifierFreeGuidance"]

# Levels that are kept: those of a fine trajectory.
_KEPT = 512


class ClassifierFreeGuidance:
    """The guided noise prediction ``eps_u + w (eps_c - eps_u)``, a noise model for `lml.samplers.sample`.

    Args:
        mixture: the classes, at ``alpha = 1, sigma = 0``.
        labels: the class that each sample is asked to be of, shape (B,).
        guidance: ``w``; 0 asks for no class, 1 for the class as it is, more exaggerates it.

    Raises:
        ValueError: for a guidance that is not finite.
    """

    def __init__(self, mixture: ClassMixture, labels: Tensor, guidance: float) -> None:
        self.mixture, self.labels, self.guidance = mixture, labels, check_number(guidance, "guidance")
        self._at = lru_cache(maxsize=_KEPT)(mixture.diffuse)

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the guided noise of samples of any shape (B, ...) that has d numbers.

        Raises:
            ValueError: for a batch of another size than the labels.
        """
        at, flat = self._at(level.alpha, level.sigma), x.flatten(1)
        plain = at.whole.noise(flat)
        told = at.class_noise(flat, self.labels)
        return torch.lerp(plain, told, self.guidance).to(x.dtype).view(x.shape)
