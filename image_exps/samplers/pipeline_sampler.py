"""A sampler as pipelines run it: a name of the grammar, a number of evaluations, and what was set of LML and spacing.

The correction is ``lml``, whose parameters are the options of `lml.schedulers.LMLSchedulerMixin`. The spacings are
those of diffusers. `make_scheduler` of `image_exps.samplers.schedulers` makes the scheduler.

Nothing here imports torch or diffusers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from image_exps.pipelines.models import Model
from image_exps.samplers.names import NO_CORRECTION, SamplerName, check_known, parse_name
from image_exps.samplers.table import ALGORITHMS, SchedulerOf

__all__ = [
    "LML_OPTIONS",
    "PIPELINE_BASES",
    "PIPELINE_CORRECTIONS",
    "TIMESTEP_SPACINGS",
    "PipelineSampler",
    "paper_options",
    "pipeline_sampler",
]

#: What can be set of LML: the options of `lml.schedulers.LMLSchedulerMixin`.
LML_OPTIONS: tuple[str, ...] = ("damping", "mixing", "damping_mode", "rank", "variant", "start", "stop", "norm")

#: How diffusers places timesteps; a model's own config says which, or the scheduler's class, unless it is given.
TIMESTEP_SPACINGS: tuple[str, ...] = ("leading", "linspace", "trailing")

#: The corrections of pipelines.
PIPELINE_CORRECTIONS: tuple[str, ...] = (NO_CORRECTION, "lml")

#: The bases of pipelines, with their schedulers: the algorithms of the table that diffusers has.
PIPELINE_BASES: Mapping[str, SchedulerOf] = MappingProxyType(
    {name: each.scheduler for name, each in ALGORITHMS.items() if each.scheduler is not None}
)

# The learned setting of `lml.tuned`, as spacing and as correction: it ran in pipelines once, and is not recommended.
_LEARNED = "tuned"


@dataclass(frozen=True)
class PipelineSampler:
    """A sampler of pipelines with its settings; `pipeline_sampler` makes it of a name.

    Args:
        base: one of `PIPELINE_BASES`.
        evaluations: of the network, a picture.
        correction: one of `PIPELINE_CORRECTIONS`.
        options: of LML, from `LML_OPTIONS`; what is absent is the default of the scheduler's class.
        spacing: one of `TIMESTEP_SPACINGS`; ``None`` leaves it as the model's config has it, or the scheduler's class
            where that says nothing.

    Raises:
        ValueError: for an unknown name, a budget that it cannot spend, or an option that it does not have.
    """

    base: str
    evaluations: int
    correction: str = NO_CORRECTION
    options: Mapping[str, Any] = field(default_factory=dict)
    spacing: str | None = None

    def __post_init__(self) -> None:
        check_known("base", self.base, PIPELINE_BASES)
        check_known("correction", self.correction, PIPELINE_CORRECTIONS)
        form = self.scheduler
        if not form.spends(self.evaluations):
            raise ValueError(f"evaluations must be {form.budget} with {self.name}, got {self.evaluations}")
        if self.steps > 1000:
            raise ValueError(f"evaluations must be at most 1000, got {self.evaluations}")
        for option in self.options:
            check_known("option of lml", option, LML_OPTIONS)
        if self.options and self.correction != "lml":
            raise ValueError(
                f"{', '.join(self.options)}: only of LML; use {self.base}/lml, or leave out, got sampler {self.name}"
            )
        if self.spacing is not None:
            check_known("spacing", self.spacing, TIMESTEP_SPACINGS)
            if not form.spaced:
                raise ValueError(f"spacing cannot be chosen with {self.name}, got {self.spacing!r}")

    @property
    def name(self) -> str:
        """Base and correction, without spacing and options: the name of a row or a run."""
        return str(SamplerName(self.base, None, self.correction))

    @property
    def scheduler(self) -> SchedulerOf:
        """How diffusers runs it."""
        return PIPELINE_BASES[self.base]

    @property
    def steps(self) -> int:
        """The ``num_inference_steps`` of diffusers."""
        return self.scheduler.steps(self.evaluations)


def pipeline_sampler(
    name: str, evaluations: int, options: Mapping[str, Any] | None = None, spacing: str | None = None
) -> PipelineSampler:
    """Return the sampler of a name, ``base@spacing/correction(parameter=value, ...)``, all but the base optional.

    Args:
        name: by the grammar of `image_exps.samplers.names`.
        evaluations: of the network, a picture.
        options: of LML, beside those in the name.
        spacing: of the timesteps, if it is not in the name.

    Raises:
        ValueError: for a name of another form, what `PipelineSampler` refuses, and what is given twice.
    """
    parts, options = parse_name(name), dict(options or {})
    if _LEARNED in (parts.spacing, parts.correction):
        raise ValueError(
            f"sampler must be one that pipelines run, such as dpm-solver-3m/lml, got {name!r}: the learned "
            "setting no longer runs in pipelines, and is not recommended"
        )
    twice = [key for key in parts.parameters if key in options]
    if twice or (spacing is not None and parts.spacing is not None):
        raise ValueError(f"{', '.join(twice) or 'spacing'} must be given once, got one beside that of {name!r}")
    spacing = parts.spacing if spacing is None else spacing
    return PipelineSampler(parts.base, evaluations, parts.correction, {**parts.parameters, **options}, spacing)


def paper_options(known: Model, evaluations: int, mixing: float | None) -> dict[str, Any]:
    """Return the paper's absolute ``lambda`` for a model and a budget, with a ``kappa`` that has to be given.

    Raises:
        ValueError: if the paper gives no ``lambda`` there, or ``mixing`` is missing, whose value the paper's text lost.
    """
    if evaluations not in known.damping:
        numbers = ", ".join(str(n) for n in known.damping) or "none"
        raise ValueError(
            f"damping 'paper': the paper gives no lambda for {known.name} at {evaluations} evaluations "
            f"(it has {numbers}); give a number"
        )
    if mixing is None:
        raise ValueError("damping 'paper' needs mixing, whose value is not in the paper's text that we have; got none")
    return {"damping": known.damping[evaluations], "damping_mode": "absolute", "mixing": mixing}
