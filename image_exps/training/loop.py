r"""Training of a network, as Ho et al. 2020 do: ``min E |f_theta(a_t y + s_t z, t) - u|^2``.

The target ``u`` is the recipe's prediction: the noise ``z``, or the velocity ``a_t z - s_t y`` (Salimans & Ho 2022).

The table of ``a_t`` and ``s_t`` is theirs too: 1000 steps, ``beta`` linear from 1e-4 to 0.02 (``vp-linear``).
Timesteps are stratified over a batch (Kingma et al. 2021), the learning rate rises linearly over the first steps and
falls along a half cosine to zero at the end of the budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import DDPMScheduler
from torch import Tensor
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from image_exps.training import checkpoint
from image_exps.training.checkpoint import Origin, Run, load, save
from image_exps.training.recipes import Recipe, start
from theory_checks.command_line.run_lock import only_run
from toy import Pictures

__all__ = ["CHECKPOINT", "Budget", "Draw", "draw", "learning_rate", "resumed", "train"]

#: The file of a run, inside its folder.
CHECKPOINT = "checkpoint.pt"

_WARM_UP = 200
_CLIP = 1.0
_WEIGHT_DECAY = 0.01


@dataclass(frozen=True)
class Budget:
    """How long to train: a number of steps, or minutes. Only the first is reproducible to the bit.

    Raises:
        ValueError: unless exactly one is given, and positive.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError(f"exactly one of minutes and steps must be given, got {self.minutes} and {self.steps}")
        for name, value in (("minutes", self.minutes), ("steps", self.steps)):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise ValueError(f"{name} must be positive, got {value}")

    def spent(self, run: Run) -> float:
        """Return the part of the budget that a run has spent, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, run.step / self.steps)
        assert self.minutes is not None
        return min(1.0, run.seconds / (60 * self.minutes))


class Draw(NamedTuple):
    """The randomness of a step: which pictures, at which timesteps, with which noise, and whose label is withheld."""

    which: Tensor
    timestep: Tensor
    noise: Tensor
    withheld: Tensor


def draw(made: Recipe, pictures: Tensor, seed: int, step: int) -> Draw:
    """Return the randomness of a step, a function of the seed and its number alone.

    Args:
        made: its ``batch`` and ``null_rate`` count.
        pictures: shape (N, C, H, W).
        seed: of the run, below 4096.
        step: from 0, below 2^20.

    Raises:
        ValueError: for a seed or step out of its range.
    """
    if not (0 <= seed < 1 << 12 and 0 <= step < 1 << 20):
        raise ValueError(f"seed must lie in [0, 4096) and step in [0, 1048576), got {seed} and {step}")
    # The Mersenne Twister of torch takes 32 bits of its seed and drops the others.
    generator = torch.Generator().manual_seed((seed << 20) + step)
    batch = made.batch
    which = torch.randint(len(pictures), (batch,), generator=generator)
    strata = (torch.arange(batch) + torch.rand((), generator=generator)) / batch
    timestep = (1000 * strata).long().clamp_max(999)
    noise = torch.randn(batch, *pictures.shape[1:], generator=generator)
    return Draw(which, timestep, noise, torch.rand(batch, generator=generator) < made.null_rate)


def learning_rate(made: Recipe, run: Run, budget: Budget) -> float:
    """Return ``peak * min(1, (step + 1)/200) * (1 + cos(pi spent))/2``."""
    warm = min(1.0, (run.step + 1) / _WARM_UP)
    return made.learning_rate * warm * (1 + math.cos(math.pi * budget.spent(run))) / 2


def train(
    made: Recipe,
    pictures: Pictures,
    budget: Budget,
    folder: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    begin: Path | None = None,
    bfloat16: bool = False,
    save_every: float = 180.0,
    log_every: int = 100,
    report: Callable[[str], None] = lambda line: None,
) -> Run:
    """Train the network of a recipe, or go on with it; the last checkpoint in ``folder`` is where the run ended.

    Args:
        made: the recipe.
        pictures: the training data.
        budget: when to stop. It may grow between a run and its resumption.
        folder: for ``checkpoint.pt``.
        seed: of weights and draws, below 4096.
        resume: go on from the checkpoint, if there is one.
        begin: folder of another run of the same network, whose averaged weights this one begins with.
        bfloat16: multiply matrices in bfloat16; weights and moments stay in float32.
        save_every: seconds between checkpoints.
        log_every: steps between entries of the loss curve.
        report: called with progress.

    Raises:
        ValueError: if the folder holds a checkpoint and ``resume`` is not set, or one of another run, or another run
            writes it.
    """
    if _there(folder) and not resume:
        raise ValueError(f"folder must hold no checkpoint unless resume is set, {str(folder / CHECKPOINT)!r} is one")
    with only_run(folder):
        return _train(
            made,
            pictures,
            budget,
            folder,
            seed=seed,
            begin=begin,
            bfloat16=bfloat16,
            save_every=save_every,
            log_every=log_every,
            report=report,
        )


def _there(folder: Path) -> bool:
    path = folder / CHECKPOINT
    return path.exists() or checkpoint.before(path).exists()


def _train(
    made: Recipe,
    pictures: Pictures,
    budget: Budget,
    folder: Path,
    *,
    seed: int,
    begin: Path | None,
    bfloat16: bool,
    save_every: float,
    log_every: int,
    report: Callable[[str], None],
) -> Run:
    path, origin = folder / CHECKPOINT, Origin(made.name, seed, made.prediction)
    run = _begun(made, pictures, seed)
    if _there(folder):
        load(run, origin, path, report)
        report(f"resumed at step {run.step}, after {run.seconds:.0f} s")
    elif begin is not None:
        checkpoint.begin(run, origin, begin / CHECKPOINT)
    run.net.train()
    step = _step(made, pictures, seed, bfloat16)
    before = saved = time.monotonic()
    while budget.spent(run) < 1:
        run.pending.append(step(run, learning_rate(made, run, budget)))
        now = time.monotonic()
        run.seconds, before = run.seconds + now - before, now
        if run.step % log_every == 0:
            run.losses.append((run.step, sum(run.pending) / len(run.pending)))
            run.pending = []
            report(_progress(run, budget))
        if now - saved > save_every:
            save(run, origin, path)
            saved = now
    save(run, origin, path)
    return run


def resumed(made: Recipe, pictures: Pictures, folder: Path, seed: int = 0) -> Run:
    """Return the run whose checkpoint is in a folder.

    Raises:
        ValueError: if there is none, or it is of another recipe or seed.
    """
    path = folder / CHECKPOINT
    if not _there(folder):
        raise ValueError(f"folder must hold {CHECKPOINT} of a training run, {str(folder)!r} does not")
    run = _begun(made, pictures, seed)
    load(run, Origin(made.name, seed, made.prediction), path)
    return run


def _begun(made: Recipe, pictures: Pictures, seed: int) -> Run:
    net = start(made, pictures, seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=made.learning_rate, weight_decay=_WEIGHT_DECAY, fused=True)
    return Run(net, [p.detach().clone() for p in net.parameters()], optimizer)


def _step(made: Recipe, pictures: Pictures, seed: int, bfloat16: bool) -> Callable[[Run, float], float]:
    """Return one step of training, which returns its loss."""
    alpha, sigma = (v.sqrt()[:, None, None, None] for v in _variances())
    classes = made.classes(pictures)
    numbers = torch.tensor([classes.index(label) for label in pictures.labels]) if classes else None

    def step(run: Run, rate: float) -> float:
        drawn = draw(made, pictures.images, seed, run.step)
        x = alpha[drawn.timestep] * pictures.images[drawn.which] + sigma[drawn.timestep] * drawn.noise
        target = drawn.noise
        if made.prediction == "v_prediction":
            target = alpha[drawn.timestep] * drawn.noise - sigma[drawn.timestep] * pictures.images[drawn.which]
        labels = None if numbers is None else numbers[drawn.which].masked_fill(drawn.withheld, len(classes))
        for group in run.optimizer.param_groups:
            group["lr"] = rate
        # Over the few places of the lowest resolution plain products are faster than the fused kernel and its gradient.
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16), sdpa_kernel(SDPBackend.MATH):
            predicted = run.net(x, drawn.timestep, labels).sample
        loss = functional.mse_loss(predicted.float(), target)
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(run.net.parameters(), _CLIP)
        run.optimizer.step()
        run.step += 1
        # A young average forgets faster, lest it remember the untrained weights.
        decay = min(made.decay, run.step / (run.step + 10))
        torch._foreach_lerp_(run.average, [p.detach() for p in run.net.parameters()], 1 - decay)
        return float(loss.detach())

    return step


def _variances() -> tuple[Tensor, Tensor]:
    """Return ``alpha^2`` and ``sigma^2`` at the 1000 timesteps."""
    kind: Any = DDPMScheduler
    signal: Tensor = kind().alphas_cumprod
    return signal, 1 - signal


def _progress(run: Run, budget: Budget) -> str:
    spent = budget.spent(run)
    left = run.seconds * (1 - spent) / spent / 60
    return f"step {run.step}  loss {run.losses[-1][1]:.4f}  {run.seconds / 60:.1f} min  {left:.1f} min left"
