r"""The noise levels that a config of diffusers describes, and the picture and the noise in what its network returns.

A config is of one of four families, told apart by what it states::

    betas        beta_start .. or trained_betas         x = alpha x0 + sigma eps, asked at training timesteps
    flow         shift, or use_flow_sigmas=True         x = (1 - sigma) x0 + sigma eps, at 1000 sigma
    edm          sigma_data, sigma_min, sigma_max       x = x0 + sigma eps, preconditioned, at log(sigma)/4
    continuous   timestep_type="continuous"             as betas in scale, at log(sigma/alpha)/4

What is returned (``m``), with ``alpha``, ``sigma`` of the level::

    epsilon          eps = m                 sample           x0 = m
    v_prediction     x0 = alpha x - sigma m,  eps = sigma x + alpha m     on alpha^2 + sigma^2 = 1
    flow_prediction  x0 = x - sigma m,        eps = x + alpha m           on alpha + sigma = 1
    edm              x0 = c_skip x + c_out m

Sources: Salimans & Ho 2022 (v), Karras et al. 2022 (EDM, Table 1), Lipman et al. 2023 and Esser et al. 2024 (flow).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diffusers import DDIMScheduler
from torch import Tensor

from lml.arguments import check_choice, check_integer, check_number, check_positive, shown
from lml.samplers import Level
from lml.schedulers.families import check_betas
from lml.solver import Schedule

__all__ = ["BETAS", "FAMILIES", "check_prediction", "family_of", "given_levels", "picture_and_noise", "table_of"]

#: The families of configs.
FAMILIES: tuple[str, ...] = ("betas", "flow", "edm", "continuous")

#: What of a config of betas decides its levels.
BETAS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
)  # fmt: skip

_PREDICTIONS = {
    "betas": ("epsilon", "v_prediction", "sample"),
    "flow": ("flow_prediction",),
    "edm": ("epsilon", "v_prediction"),
    "continuous": ("epsilon", "v_prediction", "sample"),
}


def family_of(name: str, config: Mapping[str, Any]) -> str:
    """Return the family of a config.

    Args:
        name: of the scheduler, for messages.
        config: of diffusers; one that was resolved before says its ``family``.

    Raises:
        ValueError: for a config of none, or with an option that gives it other levels than are known here.
    """
    if config.get("family") is not None:
        return check_choice(str(config["family"]), "family", FAMILIES)
    if config.get("invert_sigmas"):
        raise ValueError(f"invert_sigmas must be False for {name}, got {config['invert_sigmas']!r}")
    betas = "beta_start" in config or config.get("trained_betas") is not None
    if config.get("use_flow_sigmas") or ("shift" in config and not betas):
        return "flow"
    if config.get("sigma_data") is not None:
        return "edm"
    if config.get("timestep_type") == "continuous":
        return "continuous"
    check_betas(name, config)
    return "betas"


def check_prediction(family: str, prediction: str) -> None:
    """Refuse a prediction type that a family does not have.

    Raises:
        ValueError: with those that it has.
    """
    check_choice(prediction, "prediction_type", _PREDICTIONS[family])


def table_of(config: Mapping[str, Any], mu: float | None = None) -> Schedule:
    """Return the noise levels of a config of `LMLSolverScheduler`.

    Args:
        config: as its constructor takes it.
        mu: the shift of a flow whose shift depends on the size of the picture.

    Raises:
        ValueError: for values that do not make a table, or a shift that is needed and not given.
    """
    family = config["family"]
    if family == "betas":
        stock: Any = DDIMScheduler
        return Schedule.of_betas(stock(**{name: config[name] for name in BETAS}).betas.double().tolist())
    if family == "flow":
        return _flow(config, mu)
    low, high = config["sigma_min"], config["sigma_max"]
    if low is None or high is None:
        raise ValueError(f"sigma_min and sigma_max must be given for the family {family}, got {low!r} and {high!r}")
    return Schedule.edm(sigma_min=low, sigma_max=high, kind="exploding" if family == "edm" else "preserving")


def _flow(config: Mapping[str, Any], mu: float | None) -> Schedule:
    steps = check_integer(config["num_train_timesteps"], "num_train_timesteps", least=2)
    return Schedule.flow(steps=steps, warp=_warp(config, mu))


def _warp(config: Mapping[str, Any], mu: float | None) -> Callable[[float], float]:
    """Return the shift of a flow, a map of ``sigma`` in (0, 1]."""
    if config["use_dynamic_shifting"]:
        if mu is None:
            raise ValueError("mu must be given where use_dynamic_shifting is set: set_timesteps(n, mu=...)")
        kind = check_choice(config["time_shift_type"], "time_shift_type", ("exponential", "linear"))
        scale = math.exp(mu) if kind == "exponential" else float(mu)
    else:
        scale = check_positive(config["shift"], "shift")

    def shifted(s: float) -> float:
        return scale * s / (1 + (scale - 1) * s)

    terminal = config["shift_terminal"]
    if not terminal:
        return shifted
    check_number(terminal, "shift_terminal", above=0, below=1)
    stretch = (1 - shifted(1 / config["num_train_timesteps"])) / (1 - terminal)
    return lambda s: 1 - (1 - shifted(s)) / stretch


def given_levels(
    table: Schedule,
    config: Mapping[str, Any],
    timesteps: Sequence[float] | None,
    sigmas: Sequence[float] | None,
    mu: float | None = None,
) -> tuple[Level, ...]:
    """Return the levels of timesteps or sigmas that a user gives, and where a trajectory ends after them.

    Args:
        table: of the config.
        config: as `table_of` takes it.
        timesteps: where the network is asked; with ``sigmas`` beside them they are not looked at.
        sigmas: of a flow, before its shift; else ``sigma/alpha``. A last one of zero is left out.
        mu: of a flow whose shift depends on the size of the picture.

    Raises:
        ValueError: for numbers out of range or out of order.
    """
    if timesteps is not None and sigmas is not None and len(timesteps) != len(sigmas):
        raise ValueError(f"timesteps and sigmas must be as many, got {len(timesteps)} and {len(sigmas)}")
    if sigmas is not None:
        name, given = "sigmas", [float(s) for s in sigmas]
        given = given[:-1] if given and given[-1] == 0 else given
    else:
        name, given = "timesteps", [float(t) for t in timesteps or ()]
    if any(a <= b for a, b in itertools.pairwise(given)):
        raise ValueError(f"{name} must fall, got {shown(given)}")
    if sigmas is None:
        levels = [table.at(t) for t in given]
    elif table.kind == "flow":
        levels = [_flow_level(table, config, _warp(config, mu), s) for s in given]
    else:
        levels = [table.level(-math.log(check_positive(s, "sigmas"))) for s in given]
    last = table.level(table.range[1])
    ended = not levels or levels[-1].half_log_snr >= last.half_log_snr - 1e-9
    return (*levels, Level(1.0, 0.0, 0.0) if ended else last)


def _flow_level(table: Schedule, config: Mapping[str, Any], warp: Callable[[float], float], s: float) -> Level:
    sigma = warp(check_number(s, "sigmas", above=0, most=1))
    if sigma >= table.level(table.range[0]).sigma:
        return table.level(table.range[0])
    return Level(1 - sigma, sigma, config["num_train_timesteps"] * sigma)


def picture_and_noise(config: Mapping[str, Any], level: Level, m: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``x0`` and ``eps`` in the output ``m`` of the network at the sample ``x``, both (B, ...)."""
    alpha, sigma, _ = level
    kind = config["prediction_type"]
    if config["family"] == "edm":
        data = config["sigma_data"]
        total = sigma**2 + data**2
        c_out = sigma * data / total**0.5
        x0 = data**2 / total * x + (c_out if kind == "epsilon" else -c_out) * m
        return x0, (x - x0) / sigma
    if kind == "epsilon":
        return (x - sigma * m) / alpha, m
    if kind == "sample":
        return m, (x - alpha * m) / sigma
    if kind == "v_prediction":
        return alpha * x - sigma * m, sigma * x + alpha * m
    return x - sigma * m, x + alpha * m
