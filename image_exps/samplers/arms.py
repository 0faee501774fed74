r"""What is compared, by name: a base solver with its published spacing, and what is done to its noise predictions.

A name is ``base``, ``base@spacing``, ``base/correction`` or ``base/correction(parameter=value, ...)``; for example
``ddim``, ``dpm-solver++@time``, ``ddim/lml(damping=0.01)``. `BASES` and `CORRECTIONS` are open: another module may add
to them, and a sweep imports the modules that its grid names.

"Evaluations" are evaluations of the network. PNDM starts with one more than it has steps, and takes one step fewer;
the singlestep DPM-Solver spends 3 + 3 + ... + the rest.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch

from image_exps.problems.seeds import sample_generators
from image_exps.problems.targets import level_of, levels
from lml.controls import ElementNoise, Extrapolation, MatchedNoise, NormOnly, RandomTurn
from lml.correction import LML, Correction, NoCorrection, ReleasedLML
from lml.samplers import SAMPLERS, Level, Sampler
from lml.samplers.dpm_solver_singlestep import dpm_solver_singlestep, singlestep_orders
from toy.levels import SPACINGS, Spacing

__all__ = [
    "BASES",
    "CONTROLS",
    "CORRECTIONS",
    "TABLE_BASES",
    "Arm",
    "Base",
    "Plan",
    "Setting",
    "Value",
    "arm",
    "parse_call",
]

Value = float | int | str | bool

# lambda of the paper's Table 6, by evaluations.
_PAPER_DAMPING = {5: 8e-4, 6: 8e-4, 10: 8e-4, 20: 5e-4, 30: 3e-4, 50: 1e-4, 100: 5e-5}
_PAPER_DAMPING_ELSE = 1e-3


@dataclass(frozen=True)
class Base:
    """A base solver as it is compared.

    Attributes:
        sampler: the algorithm that spends a number of evaluations, and its number of steps.
        spacing: of its levels, as published.
        mixing: default ``kappa`` of LML on it, at ``lambda = 1e-3 |e|^2``, as in `lml.schedulers`.
    """

    sampler: Callable[[int], tuple[Sampler, int]]
    spacing: Spacing
    mixing: float


@dataclass(frozen=True)
class Setting:
    """What a correction may depend on, besides its parameters: base, budget, dimension and the samples of this batch.

    ``count`` samples from ``first`` on, of seed ``seed``.
    """

    base: Base
    evaluations: int
    dim: int
    seed: int
    first: int
    count: int

    @property
    def generators(self) -> list[torch.Generator]:
        """A generator a sample, for corrections that draw."""
        return sample_generators(self.seed, self.first, self.count, "correction")


class Plan(NamedTuple):
    """An arm for one batch: arguments of `lml.samplers.sample`, and the dtype outside of the network, if not its."""

    sampler: Sampler
    levels: list[Level]
    correction: Correction
    dtype: torch.dtype | None


def _inner(now: Level, after: Level, share: float) -> Level:
    return level_of(now.half_log_snr + share * (after.half_log_snr - now.half_log_snr))


def _plain(name: str, evaluations: int) -> tuple[Sampler, int]:
    """Return the sampler and how many of its steps cost exactly this."""
    sampler = SAMPLERS[name]
    for steps in range(1, evaluations + 1):
        if sampler.evaluations(steps) == evaluations:
            return sampler, steps
    raise ValueError(f"evaluations must be a number that {name} can spend, got {evaluations}")


def _singlestep(evaluations: int) -> tuple[Sampler, int]:
    orders = singlestep_orders(evaluations)
    return dpm_solver_singlestep(orders, _inner), len(orders)


# The schedulers' defaults: eta0 = 1/2 where the base is of first order, 1/10 where it extrapolates by itself.
_FIRST, _HIGHER = 5e-4, 1e-4


def _base(name: str, spacing: Spacing = "log-snr", mixing: float = _HIGHER) -> Base:
    return Base(partial(_plain, name), spacing, mixing)


#: The bases by name: those of the paper's Table 1 first, then every sampler of `lml.samplers` for this schedule.
BASES: dict[str, Base] = {
    "ddim": _base("ddim", "time", _FIRST),
    "pndm": _base("pndm", "time"),
    "dpm-solver-3": Base(_singlestep, "log-snr", _HIGHER),
    "dpm-solver++": _base("dpm-solver++-3m"),
    "unipc": _base("unipc-3"),
    "dpm-solver-3m": _base("dpm-solver-3"),
    **{name: _base(name) for name in SAMPLERS
       if not name.endswith("-flow") and name not in ("ddim", "pndm", "dpm-solver-1", "dpm-solver-3")},
}  # fmt: skip

#: The five baselines of the paper's Table 1, by six names: DPM-Solver-3 was published as a singlestep and as a
#: multistep solver, and the better one at a budget is the one to beat.
TABLE_BASES = ("ddim", "pndm", "dpm-solver-3", "dpm-solver-3m", "dpm-solver++", "unipc")


def _lml(setting: Setting, damping: float = 1e-3, mixing: float | None = None, damping_mode: str = "relative",
         rank: int = 1, start: float = 0.0, stop: float = 1.0) -> LML:  # fmt: skip
    mixing = setting.base.mixing if mixing is None else mixing
    return LML(damping, mixing, damping_mode=damping_mode, rank=rank, start=start, stop=stop)


def _paper_lml(setting: Setting, damping: float | None = None, mixing: float | None = None) -> LML:
    r"""Absolute damping, ``lambda`` of Table 6 and one ``kappa`` for all budgets.

    The paper's ``kappa`` was lost; where it is not given it has the strength of the default at ``lambda = 1e-3`` and
    ``|e|^2 = d``: ``kappa = eta0 * 1e-3/d``.
    """
    if damping is None:
        damping = _PAPER_DAMPING.get(setting.evaluations, _PAPER_DAMPING_ELSE)
    if mixing is None:
        mixing = setting.base.mixing / setting.dim
    return LML(damping, mixing, damping_mode="absolute")


def _released(setting: Setting, damping: float | None = None, mixing: float = 0.0) -> ReleasedLML:
    if damping is None:
        damping = _PAPER_DAMPING.get(setting.evaluations, _PAPER_DAMPING_ELSE)
    return ReleasedLML(damping, mixing)


def _of_lml(control: Callable[..., Correction], *, draws: bool) -> Callable[..., Correction]:
    """Return the builder of a control, with the parameters of the LML that it shadows."""

    def build(setting: Setting, **parameters: Value) -> Correction:
        lml = _lml(setting, **parameters)  # type: ignore[arg-type]
        return control(lml, setting.generators) if draws else control(lml)

    build.__signature__ = inspect.signature(_lml)  # type: ignore[attr-defined]
    return build


def _element_noise(setting: Setting, size: float = 0.2) -> ElementNoise:
    return ElementNoise(size, setting.generators)


#: Builders by name: ``(setting, **parameters) -> Correction``. The names of parameters are those of the builder.
CORRECTIONS: dict[str, Callable[..., Correction]] = {
    "none": lambda setting: NoCorrection(),
    "lml": _lml,
    "lml-paper": _paper_lml,
    "extrapolation": _of_lml(Extrapolation, draws=False),
    "norm-only": _of_lml(NormOnly, draws=False),
    "random-turn": _of_lml(RandomTurn, draws=True),
    "noise": _of_lml(MatchedNoise, draws=True),
    "element-noise": _element_noise,
    "released": _released,
    "released-float32": _released,
    "float32": lambda setting: NoCorrection(),
}

#: The controls that stand beside LML on every base: ``noise`` is element noise of the size of LML's own change.
CONTROLS = ("extrapolation", "norm-only", "noise", "released-float32")

_FLOAT32 = ("released-float32", "float32")


@dataclass(frozen=True)
class Arm:
    """A base, its spacing, and a correction with parameters; see `arm` for the names.

    Raises:
        ValueError: for a base, spacing, correction or parameter that does not exist; the message lists those that do.
    """

    base: str
    spacing: Spacing
    correction: str = "none"
    parameters: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        _known("base", self.base, BASES)
        _known("spacing", self.spacing, SPACINGS)
        _known("correction", self.correction, CORRECTIONS)
        allowed = list(inspect.signature(CORRECTIONS[self.correction]).parameters)[1:]
        for name, _ in self.parameters:
            _known(f"parameter of {self.correction}", name, allowed)

    @property
    def name(self) -> str:
        """The name from which `arm` makes this again."""
        place = self.base if self.spacing == BASES[self.base].spacing else f"{self.base}@{self.spacing}"
        inside = ", ".join(f"{key}={value}" for key, value in self.parameters)
        correction = self.correction + (f"({inside})" if inside else "")
        return place if correction == "none" else f"{place}/{correction}"

    def build(self, evaluations: int, dim: int, *, seed: int, count: int, first: int = 0) -> Plan:
        """Return what samples ``first .. first + count - 1`` of a seed are made with, for this many evaluations.

        Args:
            evaluations: of the network.
            dim: the dimension of a sample.
            seed: of the run.
            count: samples of the batch: a correction that draws has a generator for each.
            first: index of the first of them.

        Raises:
            ValueError: for a number of evaluations that the base cannot spend, or a parameter out of range.
        """
        base = BASES[self.base]
        sampler, steps = base.sampler(evaluations)
        setting = Setting(base, evaluations, dim, seed, first, count)
        correction = CORRECTIONS[self.correction](setting, **dict(self.parameters))
        dtype = torch.float32 if self.correction in _FLOAT32 else None
        return Plan(sampler, levels(steps, self.spacing), correction, dtype)


_NAME = re.compile(r"(?P<base>[^@/(]+)(@(?P<spacing>[^/(]+))?(/(?P<correction>.+))?")
_CALL = re.compile(r"(?P<name>[^(]+)(\((?P<inside>.*)\))?")


def arm(name: str) -> Arm:
    """Return the arm of a name, ``base@spacing/correction(parameter=value, ...)``, all but the base optional.

    Raises:
        ValueError: for a name of another form, and for what `Arm` refuses.
    """
    found = _NAME.fullmatch(name.strip()) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"arm must have the form base@spacing/correction(parameter=value, ...), got {name!r}")
    base = found["base"].strip()
    _known("base", base, BASES)
    spacing = (found["spacing"] or BASES[base].spacing).strip()
    correction, parameters = parse_call(found["correction"] or "none")
    return Arm(base, spacing, correction, tuple(parameters.items()))  # type: ignore[arg-type]


def parse_call(text: str) -> tuple[str, dict[str, Value]]:
    """Return the name and the parameters of ``name(parameter=value, ...)``.

    Raises:
        ValueError: for a text of another form.
    """
    found = _CALL.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"a name must have the form name(parameter=value, ...), got {text!r}")
    parameters = {}
    for part in filter(None, (p.strip() for p in (found["inside"] or "").split(","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals or not key or not value or key in parameters:
            raise ValueError(f"parameters must have the form name=value, once each, got {part!r} in {text!r}")
        parameters[key] = _value(value)
    return found["name"].strip(), parameters


def _value(text: str) -> Value:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text  # a word, as in damping_mode=absolute
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"parameters must be numbers or words, got {text!r}")
    return value


def _known(what: str, name: str, known: Mapping[str, object] | tuple[str, ...] | list[str]) -> None:
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known) or '(none: it has no parameters)'}, got {name!r}")
