r"""What is done to the noise predictions of a pure sampler, by name: LML, its controls, the published code, the tuned.

A builder is ``(setting, **parameters) -> lml.correction.Correction``; the names of its parameters are those that a
sampler's name can give. Other packages add builders through the entry-point group ``lml.corrections``::

    [project.entry-points."lml.corrections"]
    half = "my_package.corrections:half"
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

import torch

from image_exps.pipelines.models import model
from image_exps.problems.seeds import sample_generators
from image_exps.samplers.names import NO_CORRECTION, Value, check_known
from image_exps.samplers.table import Algorithm
from image_exps.utils.plugins import load_functions
from lml.controls import ElementNoise, Extrapolation, MatchedNoise, NormOnly, RandomTurn
from lml.correction import LML, Correction, NoCorrection, ReleasedLML
from lml.profile import Profile
from lml.strength import DEFAULT_DAMPING
from lml.tuned import tuned_profile

__all__ = ["CONTROLS", "CORRECTIONS", "GROUP", "SINGLE_PRECISION", "Setting", "find_corrections", "parameters_of"]

#: The entry-point group of builders.
GROUP = "lml.corrections"

# Besides the evaluations that the paper's Table 6 has a lambda for.
_PAPER_DAMPING_ELSE = 1e-3


@dataclass(frozen=True)
class Setting:
    """What a correction may depend on besides its parameters: base, budget, dimension and the samples of this batch.

    ``count`` samples from ``first`` on, of seed ``seed``.
    """

    base: Algorithm
    evaluations: int
    dim: int
    seed: int
    first: int
    count: int

    @property
    def generators(self) -> list[torch.Generator]:
        """A generator a sample, for corrections that draw."""
        return sample_generators(self.seed, self.first, self.count, "correction")


Builder = Callable[..., Correction]


def _none(setting: Setting) -> NoCorrection:
    return NoCorrection()


def _lml(
    setting: Setting,
    damping: float = DEFAULT_DAMPING,
    mixing: float | None = None,
    damping_mode: str = LML.damping_mode,
    rank: int = LML.rank,
    start: float = LML.start,
    stop: float = LML.stop,
    norm: str = LML.norm,
) -> LML:
    mixing = setting.base.mixing if mixing is None else mixing
    return LML(damping, mixing, damping_mode=damping_mode, rank=rank, start=start, stop=stop, norm=norm)


def _paper_damping(evaluations: int) -> float:
    """Return ``lambda`` of the paper's Table 6."""
    return model("ddpm-ema-cifar10").damping.get(evaluations, _PAPER_DAMPING_ELSE)


def _paper_lml(setting: Setting, damping: float | None = None, mixing: float | None = None) -> LML:
    r"""Absolute damping, ``lambda`` of Table 6 and one ``kappa`` for all budgets.

    The paper's ``kappa`` was lost; where it is not given it has the strength of the default at ``lambda = 1e-3`` and
    ``|e|^2 = d``: ``kappa = eta0 * 1e-3/d``.
    """
    if damping is None:
        damping = _paper_damping(setting.evaluations)
    if mixing is None:
        mixing = setting.base.mixing / setting.dim
    return LML(damping, mixing, damping_mode="absolute")


def _released(setting: Setting, damping: float | None = None, mixing: float = 0.0) -> ReleasedLML:
    return ReleasedLML(_paper_damping(setting.evaluations) if damping is None else damping, mixing)


def _of_lml(control: Callable[..., Correction], *, draws: bool) -> Builder:
    """Return the builder of a control, with the parameters of the LML that it shadows."""

    def build(setting: Setting, **parameters: Value) -> Correction:
        lml = _lml(setting, **parameters)  # type: ignore[arg-type]
        return control(lml, setting.generators) if draws else control(lml)

    build.__signature__ = inspect.signature(_lml)  # type: ignore[attr-defined]
    return build


def _element_noise(setting: Setting, size: float = 0.2) -> ElementNoise:
    return ElementNoise(size, setting.generators)


def _tuned(setting: Setting, restored: float | None = None) -> Profile:
    """The learned weights, which belong to the levels ``@tuned``; see `lml.tuned`."""
    if setting.base.name != "ddim":
        raise ValueError(
            f"base must be ddim with tuned, got {setting.base.name}: its weights are those of a whole method on it"
        )
    return tuned_profile(setting.evaluations, restored=restored)


def _tuned_noise(setting: Setting) -> MatchedNoise:
    return MatchedNoise(_tuned(setting), setting.generators)


#: The builders by name. ``noise`` is element noise of the size of LML's own change, ``tuned-noise`` of that of tuned.
CORRECTIONS: Mapping[str, Builder] = MappingProxyType(
    {
        NO_CORRECTION: _none,
        "lml": _lml,
        "lml-paper": _paper_lml,
        "extrapolation": _of_lml(Extrapolation, draws=False),
        "norm-only": _of_lml(NormOnly, draws=False),
        "random-turn": _of_lml(RandomTurn, draws=True),
        "noise": _of_lml(MatchedNoise, draws=True),
        "element-noise": _element_noise,
        "released": _released,
        "released-float32": _released,
        "float32": _none,
        "tuned": _tuned,
        "tuned-noise": _tuned_noise,
    }
)

#: The controls that stand beside LML on every base.
CONTROLS = ("extrapolation", "norm-only", "noise", "released-float32")

#: Those with which everything outside of the network is computed in float32.
SINGLE_PRECISION = ("released-float32", "float32")


@cache
def find_corrections() -> Mapping[str, Builder]:
    """Return the builders by name: ours, then those of every installed package.

    Raises:
        ValueError: if a plug-in cannot be loaded, is no function, or takes a name that is taken.
    """
    return MappingProxyType({**CORRECTIONS, **load_functions(GROUP, taken=CORRECTIONS)})


def parameters_of(correction: str) -> tuple[str, ...]:
    """Return the names of the parameters of a correction.

    Raises:
        ValueError: for a correction that does not exist.
    """
    known = find_corrections()
    check_known("correction", correction, known)
    return tuple(inspect.signature(known[correction]).parameters)[1:]
