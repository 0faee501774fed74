r"""What the small networks of `lml.solver.networks` have learned: ``python -m image_exps.training.small_table``.

With ``x = a y + s z``, ``a^2 + s^2 = 1``, on pictures ``y`` that were not seen, the mean square error
``E|e(x) - z|^2/d`` of a noise prediction: that of predicting zero is one. Beside each network stands the denoiser that
is best where the pictures are Gaussian, and best of all affine ones whatever they are: with the mean ``m`` and the
covariance ``C`` of the pictures of the training::

    e = s (a^2 C + s^2 I)^{-1} (x - a m)

It prints the tables of docs/reference/small-networks.md; a test compares them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import click
import torch
from torch import Tensor

from image_exps.training.small import EXAMPLES, STEPS
from image_exps.training.small_data import POINT_SPREAD, SMALL_DATA, point_centres
from lml.samplers import Level, NoiseModel
from lml.solver.networks import SMALL_NETWORKS, small_model
from theory_checks.command_line.plain_errors import plain_errors
from toy import DataMixture, noise_model

__all__ = ["TABLE_LAMBDAS", "Errors", "errors", "exact_points", "facts", "gaussian", "main", "table"]

#: ``log(a/s)`` of the table.
TABLE_LAMBDAS = (-4.0, -2.0, 0.0, 2.0, 4.0)

# The training's pictures are of seed 0.
_SEED, _FRESH = 1, 500


class Errors(NamedTuple):
    """Mean square errors at one level.

    Attributes:
        network: of the network.
        gaussian: of the best affine denoiser.
        exact: of the exact one, which none can beat; NaN for pictures without one.
    """

    network: float
    gaussian: float
    exact: float


def gaussian(pictures: Tensor) -> NoiseModel:
    """Return the noise prediction of the Gaussian that has the mean and covariance of pictures, (N, ...)."""
    flat = pictures.flatten(1).double()
    m = flat.mean(0)
    c, V = torch.linalg.eigh(torch.cov(flat.mT))

    def predict(x: Tensor, level: Level) -> Tensor:
        a, s, _ = level
        made: Tensor = s * ((x.flatten(1).double() - a * m) @ V / (a**2 * c.clamp_min(0) + s**2)) @ V.mT
        return made.view(x.shape).to(x)

    return predict


def exact_points() -> NoiseModel:
    """Return the exact noise prediction of the data "points"."""
    return noise_model(DataMixture(point_centres(), POINT_SPREAD))


def errors(name: str, lambdas: tuple[float, ...] = TABLE_LAMBDAS, count: int = _FRESH) -> list[Errors]:
    """Return the errors of a network of `SMALL_NETWORKS` on fresh pictures, a value of ``lambda`` each.

    Args:
        name: of the network.
        lambdas: ``log(a/s)``.
        count: of pictures.
    """
    draw = SMALL_DATA[SMALL_NETWORKS[name].data]
    affine = gaussian(draw(EXAMPLES, torch.Generator().manual_seed(0)))
    generator = torch.Generator().manual_seed(_SEED)
    y = draw(count, generator).double()
    z = torch.randn(y.shape, generator=generator, dtype=y.dtype)
    models: list[NoiseModel] = [small_model(name), affine]
    if SMALL_NETWORKS[name].data == "points":
        models.append(exact_points())
    found = []
    for lam in lambdas:
        level = Level(math.sqrt(_share(lam)), math.sqrt(_share(-lam)))
        x = level.alpha * y + level.sigma * z
        each = [float((model(x, level) - z).square().mean()) for model in models]
        found.append(Errors(each[0], each[1], each[2] if len(each) > 2 else math.nan))
    return found


def _share(lam: float) -> float:
    """Return ``a^2 = 1/(1 + e^{-2 lambda})``."""
    return 1 / (1 + math.exp(-2 * lam))


def facts() -> str:
    """Return what each network is, as a table of Markdown."""
    lines = [
        "| network | data | architecture | predicts | sample | parameters | steps |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, network in SMALL_NETWORKS.items():
        size = sum(p.numel() for p in small_model(name).module.parameters())
        shape = "x".join(map(str, network.shape))
        lines.append(
            f"| `{name}` | {network.data} | {network.architecture} | {network.prediction} | {shape} | {size:,} "
            f"| {STEPS[name]:,} |"
        )
    return "\n".join(lines)


def table() -> str:
    """Return the errors of all networks as a table of Markdown: network, best affine denoiser, exact one."""
    heads = " | ".join(f"λ = {lam:.0f}" for lam in TABLE_LAMBDAS)
    lines = [f"| network | {heads} |", "| --- |" + " --- |" * len(TABLE_LAMBDAS)]
    for name in SMALL_NETWORKS:
        cells = [" / ".join(f"{e:.2g}" for e in row if not math.isnan(e)) for row in errors(name)]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


@click.command(help=__doc__)
@plain_errors
def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    click.echo(f"{facts()}\n\n{table()}")


if __name__ == "__main__":
    main()
