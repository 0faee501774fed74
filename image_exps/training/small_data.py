r"""Pictures that are drawn by formulas, for training the small networks of `lml.solver.networks`.

They differ in what data of networks differ in: scale, sparsity, tails, smoothness, number of modes.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["POINT_SPREAD", "SMALL_DATA", "point_centres"]

#: The standard deviation of each cluster of "points".
POINT_SPREAD = 0.15

_SIDE = 16


def _rand(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.rand(shape, generator=generator)


def _randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, generator=generator)


def _sky(gain: float, spread: float) -> Callable[[int, torch.Generator], Tensor]:
    """A galaxy in the middle and up to two beside it: ``gain log(1 + flux)``, lognormal flux, over faint noise."""

    def draw(count: int, g: torch.Generator) -> Tensor:
        line = torch.arange(_SIDE) - (_SIDE - 1) / 2
        flux = torch.zeros(count, _SIDE, _SIDE)
        for k in range(3):
            place = _randn(g, count, 2) * (0.5 if k == 0 else 5.0)
            size = 0.8 + 1.6 * _rand(g, count, 1, 1)
            turn, thin = 3.1416 * _rand(g, count, 1, 1), 0.4 + 0.6 * _rand(g, count, 1, 1)
            dx, dy = line[None, None, :] - place[:, :1, None], line[None, :, None] - place[:, 1:, None]
            u, v = turn.cos() * dx + turn.sin() * dy, (turn.cos() * dy - turn.sin() * dx) / thin
            there = 1.0 if k == 0 else (_rand(g, count, 1, 1) < 0.4).float()
            flux += there * torch.exp(spread * _randn(g, count, 1, 1) + 0.5) * torch.exp(-(u**2 + v**2).sqrt() / size)
        return (gain * (torch.log1p(flux) + 0.03 * _randn(g, count, _SIDE, _SIDE)))[:, None]

    return draw


def _texture(count: int, g: torch.Generator) -> Tensor:
    """Random fields of spectrum ``f^-a``, a in [0.8, 2] a picture, of standard deviation 0.5."""
    f = torch.fft.fftfreq(_SIDE)
    f = (f[:, None] ** 2 + f[None] ** 2 + 0.5 / _SIDE**2).sqrt()
    power = 0.8 + 1.2 * _rand(g, count, 1, 1)
    made: Tensor = torch.fft.ifft2(torch.fft.fft2(_randn(g, count, _SIDE, _SIDE)) * f**-power).real
    made = 0.5 * made / made.std((1, 2), keepdim=True)
    return made[:, None]


def _binary(count: int, g: torch.Generator) -> Tensor:
    """Fields cut at zero, -1 and 1."""
    return 2 * (_texture(count, g) > 0).float() - 1


def _shapes(count: int, g: torch.Generator) -> Tensor:
    """A disc and a box of plain colour on a plain ground, in [-1, 1]."""
    line = torch.arange(_SIDE)[None] / _SIDE
    picture = (2 * _rand(g, count, 3, 1, 1) - 1).expand(-1, -1, _SIDE, _SIDE).clone()
    x, y = line[:, None, :], line[:, :, None]
    place, size = _rand(g, count, 2, 2, 1, 1), 0.1 + 0.3 * _rand(g, count, 2, 1, 1)
    disc = (x - place[:, 0, 0]) ** 2 + (y - place[:, 0, 1]) ** 2 < size[:, 0] ** 2
    box = ((x - place[:, 1, 0]).abs() < size[:, 1]) & ((y - place[:, 1, 1]).abs() < size[:, 1])
    for part in (disc, box):
        colour = 2 * _rand(g, count, 3, 1, 1) - 1
        picture = torch.where(part[:, None], colour, picture)
    return picture


def _strokes(count: int, g: torch.Generator) -> Tensor:
    """Two or three bright strokes on a black ground, in [-1, 1]."""
    line = torch.arange(_SIDE)[None] / (_SIDE - 1)
    x, y = line[:, None, :], line[:, :, None]
    picture = torch.zeros(count, _SIDE, _SIDE)
    for k in range(3):
        ends = 0.1 + 0.8 * _rand(g, count, 4, 1, 1)
        ax, ay, bx, by = ends.unbind(1)
        along = ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / ((bx - ax) ** 2 + (by - ay) ** 2 + 1e-4)
        t = along.clamp(0, 1)
        apart = ((x - ax - t * (bx - ax)) ** 2 + (y - ay - t * (by - ay)) ** 2).sqrt() * _SIDE
        there = 1.0 if k < 2 else (_rand(g, count, 1, 1) < 0.5).float()
        picture = torch.maximum(picture, there * (1.6 - apart).clamp(0, 1))
    return (2 * picture - 1)[:, None]


def point_centres() -> Tensor:
    """Return the middles of the clusters of "points", (60, 24)."""
    fixed = torch.Generator().manual_seed(77)
    return _randn(fixed, 60, 24) * torch.exp(0.7 * _randn(fixed, 60, 1))


def _points(count: int, g: torch.Generator) -> Tensor:
    """Sixty clusters in dimension 24 of lognormal distances from the middle."""
    centres = point_centres()
    which = torch.randint(len(centres), (count,), generator=g)
    return centres[which] + POINT_SPREAD * _randn(g, count, 24)


#: Pictures by name: a number of them from a generator, (N, ...), float32.
SMALL_DATA: dict[str, Callable[[int, torch.Generator], Tensor]] = {
    "sky": _sky(2.0, 1.0),
    "faint sky": _sky(0.3, 1.0),
    "bright sky": _sky(8.0, 0.7),
    "texture": _texture,
    "binary": _binary,
    "shapes": _shapes,
    "strokes": _strokes,
    "points": _points,
}
