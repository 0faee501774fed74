"""The choices that ship, for the noise levels of common models: ``python -m lml.solver.shipping`` makes them again."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from lml.solver.choice import EVALUATIONS, VERSION, chosen, key_of
from lml.solver.schedule import Schedule
from lml.solver.storage import write_atomically

__all__ = ["SHIPPED", "main"]


def _linear(start: float, stop: float, power: int) -> Schedule:
    ramp = torch.linspace(start ** (1 / power), stop ** (1 / power), 1000, dtype=torch.float32) ** power
    return Schedule.of_betas(ramp.tolist())


def _cosine() -> Schedule:
    """Betas of Nichol & Dhariwal 2021, capped at 0.999 as diffusers does."""
    angle = (torch.linspace(0, 1, 1001, dtype=torch.float64) + 0.008) / 1.008 * torch.pi / 2
    squared = angle.cos() ** 2
    return Schedule.of_betas((1 - squared[1:] / squared[:-1]).clamp_max(0.999).tolist())


#: Schedules by the models that have them.
SHIPPED: dict[str, Callable[[], Schedule]] = {
    "scaled linear betas (Stable Diffusion 1.5, SDXL)": lambda: _linear(0.00085, 0.012, 2),
    "linear betas (DDPM, PixArt, DiT)": lambda: _linear(1e-4, 0.02, 1),
    "flow matching, shift 3 (Stable Diffusion 3)": lambda: Schedule.flow(shift=3.0),
    "flow matching": Schedule.flow,
    "EDM": Schedule.edm,
    "latent diffusion (LDM)": lambda: _linear(0.0015, 0.0195, 2),
    "cosine betas": _cosine,
}


def main() -> None:
    """Compute every choice, and write them beside this file, schedule by schedule."""
    torch.set_num_threads(1)
    table: dict[str, Any] = {}
    for name, make in SHIPPED.items():
        schedule = make()
        table[key_of(schedule)] = {
            "name": name,
            "choices": {str(n): list(chosen(schedule, n, kept=False)) for n in EVALUATIONS},
        }
        text = json.dumps({"version": VERSION, "schedules": table}, indent=1)
        write_atomically(Path(str(files("lml.solver") / "choices.json")), text + "\n")


if __name__ == "__main__":
    main()
