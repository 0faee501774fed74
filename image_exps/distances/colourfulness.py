r"""Colourfulness of pictures.

With ``rg = R - G`` and ``yb = (R + G)/2 - B`` of the pixels of one picture, in [0, 255]::

    M = (var rg + var yb)^{1/2} + 0.3 (mean(rg)^2 + mean(yb)^2)^{1/2}

It is no distance: the figure of real pictures, reported as the floor, is what exact samples have.

Source: Hasler & Suesstrunk 2003, Measuring Colourfulness in Natural Images, Eq. 5-8.
"""

from __future__ import annotations

from torch import Tensor

from image_exps.distances.base import Distance, Statistic
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget, Pictures

__all__ = ["Colourfulness", "colourfulness"]


def colourfulness(pictures: Tensor) -> Tensor:
    """Return ``M`` of pictures (n, 3, height, width) in [-1, 1], shape (n,); pixels outside are clamped.

    Raises:
        ValueError: for another shape.
    """
    if pictures.ndim != 4 or pictures.shape[1] != 3:
        raise ValueError(f"pictures must have shape (n, 3, height, width), got {tuple(pictures.shape)}")
    red, green, blue = ((pictures.double().clamp(-1, 1) + 1) * 127.5).flatten(2).unbind(1)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = (rg.var(1, correction=0) + yb.var(1, correction=0)).sqrt()
    return spread + 0.3 * (rg.mean(1).square() + yb.mean(1).square()).sqrt()


class Colourfulness(Distance):
    """The mean ``M`` of pictures. That more is better is the claim of who asks; the real pictures have their own."""

    name = "colourfulness"
    higher_is_better = True
    least = 1

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference) -> None:
        super().__init__(reference_of(target))
        if len(self.reference.shape) != 3 or self.reference.shape[0] != 3:
            raise ValueError(f"target must have colour pictures, samples of {self.reference.name} are "
                             f"{self.reference.shape}")  # fmt: skip

    def _prepare(self, x: Tensor) -> Statistic:
        each = colourfulness(x.view(-1, *self.reference.shape))
        return lambda w: float(w @ each / w.sum())

    def remark(self, count: int) -> str:
        return "the floor is what exact samples have"
