r"""Training the small networks of `lml.solver.networks`: ``python -m image_exps.training.small NAME --steps N``.

With ``a^2 + s^2 = 1`` and ``log(a/s)`` uniform on the range, ``x = a y + s z``, by Adam, the mean square error of what
the network predicts: the noise, the picture, or the velocity ``a z - s y``. What is kept is the moving average of the
weights, in half precision. A number of steps gives the same bits on the same machine, on one thread; the digests of
what ships are beside it, in ``SHA256SUMS``.
"""

from __future__ import annotations

import time
from pathlib import Path

import click
import torch
from safetensors.torch import save_file
from torch import Tensor

from image_exps.training.small_data import SMALL_DATA
from lml.solver.networks import LAMBDAS, SMALL_NETWORKS, build
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["EXAMPLES", "STEPS", "main", "train"]

#: Steps of each network that ships: two to nine minutes of one core each.
STEPS: dict[str, int] = {
    "sky-mixer": 6000,
    "faint-convolutions": 4000,
    "strokes-convolutions": 4000,
    "shapes-transformer": 8000,
    "texture-transformer": 8000,
    "binary-convolutions": 4000,
    "points-perceptron": 30_000,
    "bright-mixer": 6000,
}

#: Pictures that a network sees.
EXAMPLES = 20_000

_BATCH, _RATE, _DECAY = 64, 2e-3, 0.998


def train(name: str, steps: int, seed: int = 0, report: float = 30.0) -> dict[str, Tensor]:
    """Return the weights of a network in half precision.

    Args:
        name: of `SMALL_NETWORKS`.
        steps: of the optimiser.
        seed: of the pictures, the weights and the noise.
        report: seconds between two lines of progress.
    """
    network = SMALL_NETWORKS[name]
    generator = torch.Generator().manual_seed(seed)
    pictures = SMALL_DATA[network.data](EXAMPLES, generator)
    with torch.random.fork_rng(devices=[]):  # layers draw their first weights from the global generator
        torch.manual_seed(seed)
        module = build(network)
    optimiser = torch.optim.Adam(module.parameters(), lr=_RATE)
    # A short rise, then along a cosine to nearly zero.
    rise = min(100, steps // 10 + 1)
    up = torch.optim.lr_scheduler.LinearLR(optimiser, 0.01, total_iters=rise)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    rate = torch.optim.lr_scheduler.SequentialLR(optimiser, [up, down], [rise])
    average = {key: value.clone() for key, value in module.state_dict().items()}
    began = reported = time.monotonic()
    total = 0.0
    for step in range(steps):
        y = pictures[torch.randint(EXAMPLES, (_BATCH,), generator=generator)]
        z = torch.randn(y.shape, generator=generator)
        lam = LAMBDAS[0] + (LAMBDAS[1] - LAMBDAS[0]) * torch.rand(_BATCH, generator=generator)
        each = (-1, *[1] * (y.ndim - 1))
        a, s = torch.sigmoid(2 * lam).sqrt().view(each), torch.sigmoid(-2 * lam).sqrt().view(each)
        wanted = {"epsilon": z, "sample": y, "velocity": a * z - s * y}[network.prediction]
        loss = (module(a * y + s * z, lam) - wanted).square().mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        rate.step()
        decay = min(_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for key, value in module.state_dict().items():
                average[key].lerp_(value, 1 - decay)
        total += float(loss.detach())
        now = time.monotonic()
        if now - reported > report or step + 1 == steps:
            left = (now - began) / (step + 1) * (steps - step - 1)
            mean = total / (step + 1)
            click.echo(f"{name}: step {step + 1} of {steps}, mean loss {mean:.4f}, {left / 60:.1f} min left")
            reported = now
    return {key: value.half() for key, value in average.items()}


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(tuple(SMALL_NETWORKS)))
@click.option("--steps", type=click.IntRange(1), help="Of the optimiser; those of the shipped network if left out.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the weights.")
@plain_errors
def main(name: str, steps: int | None, out: Path) -> None:
    """Train one of the small networks."""
    check_output_folder(out)
    torch.set_num_threads(1)
    weights = train(name, steps or STEPS[name])
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / f"{name}.safetensors") as part:
        save_file(weights, part)


if __name__ == "__main__":
    main()
