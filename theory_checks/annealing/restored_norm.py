r"""Claim A5: which norm leaves LML on DDIM of second order (ours).

In ``u = x/alpha`` and ``r = sigma/alpha`` the flow is ``du/dr = eps``, and a step of DDIM is Euler's. Let ``p`` past
noises be combined by the Adams-Bashforth weights ``b_j`` of the levels at hand (`theory_checks.annealing.multistep`)
and the sum be given the norm that the same weights make of the norms::

    n sum_j b_j |eps_j|,    n = sum_j b_j eps_j / |sum_j b_j eps_j|.

*Claim.* Where ``eps`` is smooth and not zero along the flow, and the quotients of neighbouring steps are bounded, this
is of order ``min(p, 2)``: for ``p = 2``, where ``b = (1 + eta, -eta)`` and ``eta = h_i/(2 h_{i-1})``, LML's turn with
the norm ``|eps| + eta (|eps| - |eps_prev|)`` has the order of the extrapolation itself.

*Proof.* Write ``<f>`` for the mean of f over the step, of length h in r. For a smooth f, ``sum_j b_j f_j = <f> +
O(h^p)``, for ``f = eps`` and for ``f = |eps|``. About the middle of the step, with ``eps'`` the derivative in r,

    ``<|eps|> - |<eps>| = (h^2/24) |P eps'|^2/|eps| + O(h^3)``,    ``P = I - eps eps^T/|eps|^2``,                    (1)

since ``<eps> = eps_mid + h^2 eps''/24`` and ``|eps|'' = <eps, eps''>/|eps| + |P eps'|^2/|eps|``. So the vector that is
used is ``<eps> + O(h^p) + O(h^2)``, which leaves an error of ``O(h^{1 + min(p, 2)})`` a step. The vector is a Lipschitz
function of the last p samples near the flow, as ``|eps|`` is bounded from below there, so that by Gronwall's lemma the
errors of the steps add up to one order less. The first step of p = 2 is DDIM's, with an error of ``O(h^2)``, once.

*It stops at two.* For ``p >= 3`` what is left is (1): every step is longer than it should be by
``(theta^2/24)|eps|``, ``theta = h |P eps'|/|eps|`` the angle by which the noise turns. With the factor
``1 - theta^2/24`` (``bent``) the order is ``min(p, 3)``.

*Another strength.* On equal steps of the half-log-SNR a fixed ``eta`` leaves the first-order error ``h delta`` of claim
A3 with the source ``(eta - 1/2) eps'``: the whole of it, where LML keeps the part along eps whatever eta is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

import toy
from lml.controls import Extrapolation
from lml.correction import LML, Correction, NoCorrection
from lml.samplers import SAMPLERS, Level, NoiseModel, sample
from theory_checks.annealing.multistep import Norm, multistep
from theory_checks.annealing.order import (
    LOG_SNR,
    Order,
    across,
    errors_of,
    first_order_constant,
    first_order_error,
    forced_error,
    observed_order,
)
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from toy import ExactTarget

__all__ = ["bent_source", "check_restored_norm", "draw_restored_norm", "uneven_levels"]

_DAMPING = 1e-3
_SAMPLES = 15


def _lml(eta: float, norm: str = "kept") -> LML:
    return LML(damping=_DAMPING, mixing=eta * _DAMPING, norm=norm)


def uneven_levels(steps: int) -> list[Level]:
    """Return levels whose steps in log-SNR are long and short in turn, two to one; ``steps`` is even."""
    schedule = toy.noise_schedule("vp-linear")
    thirds = toy.noise_levels(schedule, 3 * steps // 2, log_snr=LOG_SNR)
    return [level for k, level in enumerate(thirds) if k % 3 != 1]


def bent_source(noise: Tensor, change: Tensor) -> tuple[Tensor]:
    """Return ``(1/24) |P eps'|^2/|eps|^2 eps``: by how much a step is too long, over ``h^2``; equation (1)."""
    turn = across(noise, change)
    return ((turn * turn).sum(1, keepdim=True) / (noise * noise).sum(1, keepdim=True) / 24 * noise,)


class _Problem(NamedTuple):
    """A target with samples at the first level and where the flow takes them."""

    target: ExactTarget
    model: NoiseModel
    x: Tensor
    exact: Tensor
    ends: tuple[Level, Level]


def _problem(name: str, settings: Settings) -> _Problem:
    target = toy.target(name)
    start, end = toy.noise_levels(toy.noise_schedule("vp-linear"), 1, log_snr=LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(_SAMPLES, generator=settings.generator())
    return _Problem(target, toy.noise_model(target), x, toy.probability_flow(target, x, start, end), (start, end))


def _errors(problem: _Problem, counts: Sequence[int], correction: Correction) -> list[Tensor]:
    """Return the errors of DDIM with a correction on equal steps, (B, d) each."""
    return errors_of(SAMPLERS["ddim"], problem.model, problem.x, problem.exact, tuple(counts), correction)[0]


def _multistep_errors(problem: _Problem, counts: Sequence[int], order: int, norm: Norm) -> list[Tensor]:
    """Return the errors of `multistep` on equal steps from an exact history, (B, d) each."""
    errors = []
    for count in counts:
        levels = toy.noise_levels(toy.noise_schedule("vp-linear"), count, log_snr=LOG_SNR)
        later = [toy.probability_flow(problem.target, problem.x, levels[0], level) for level in levels[1:order]]
        errors.append(multistep(problem.model, [problem.x, *later], levels, norm) - problem.exact)
    return errors


def _uneven_errors(problem: _Problem, counts: Sequence[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the errors on uneven levels with ``eta = h_i/(2 h_{i-1})`` and with ``eta = 1/2``."""
    weighted, fixed = [], []
    for count in counts:
        levels = uneven_levels(count)
        # A first step of DDIM costs no order: it is of the size of one step, and there is one of it.
        first = sample(SAMPLERS["ddim"], problem.model, problem.x, levels[:2])
        weighted.append(multistep(problem.model, [problem.x, first], levels, "extrapolated") - problem.exact)
        plain = sample(SAMPLERS["ddim"], problem.model, problem.x, levels, _lml(0.5, "extrapolated"))
        fixed.append(plain - problem.exact)
    return weighted, fixed


def _distance(order: Order, stated: int) -> float:
    return abs(order.limit - stated) / order.error


def _median_ratio(a: Tensor, b: Tensor) -> float:
    return float((a.norm(dim=1) / b.norm(dim=1)).median())


def _measure(problem: _Problem, counts: Sequence[int], worst: MaxError, data: dict[str, np.ndarray]) -> None:
    """See orders and first-order constants on equal and on uneven steps."""
    half, quarter = _lml(0.5, "extrapolated"), _lml(0.25, "extrapolated")
    runs: dict[str, Correction] = {
        "ddim": NoCorrection(), "lml": _lml(0.5), "extrapolation": Extrapolation(_lml(0.5)), "extrapolated norm": half,
    }  # fmt: skip
    for label, correction in runs.items():
        errors = _errors(problem, counts, correction)
        order = observed_order(errors)
        worst.update(label, _distance(order, 1 if label in ("ddim", "lml") else 2))
        worst.update("resolved", order.error)
        data[label] = np.array([float(e.norm()) for e in errors])
    _, change = first_order_error(problem.target, problem.x, *problem.ends)
    steps = [(LOG_SNR[1] - LOG_SNR[0]) / 2 / count for count in counts]
    constant, error = first_order_constant(_errors(problem, counts, quarter), steps)
    worst.update("constant", _median_ratio(constant - (0.25 - 0.5) * change, error))
    worst.update("constant is seen", _median_ratio(error, constant))
    weighted, fixed = (observed_order(errors) for errors in _uneven_errors(problem, counts))
    worst.update("uneven", _distance(weighted, 2))
    worst.update("uneven fixed", _distance(fixed, 1))
    worst.update("resolved", max(weighted.error, fixed.error))


def _measure_third(problem: _Problem, counts: Sequence[int], worst: MaxError, data: dict[str, np.ndarray]) -> float:
    """See what three past noises leave; return the share of that which the factor of the angle leaves."""
    (expected,) = forced_error(problem.target, problem.x, *problem.ends, bent_source)
    squares = [((LOG_SNR[1] - LOG_SNR[0]) / 2 / count) ** 2 for count in counts]
    found: dict[Norm, list[Tensor]] = {
        norm: _multistep_errors(problem, counts, 3, norm) for norm in ("free", "extrapolated", "bent")
    }
    constant, error = first_order_constant(found["extrapolated"], squares)
    worst.update("third", _median_ratio(constant - expected, error))
    worst.update("constant is seen", _median_ratio(error, expected))
    for norm in ("free", "bent"):
        order = observed_order(found[norm])
        worst.update(f"third {norm}", _distance(order, 3))
        worst.update("resolved", order.error)
    data["third steps"] = np.array(counts)
    for norm, errors in found.items():
        data[f"third {norm}"] = np.array([float(e.norm()) for e in errors])
    return _median_ratio(first_order_constant(found["bent"], squares)[0], expected)


@with_proofs("A5")
def check_restored_norm(settings: Settings, names: Sequence[str] | None = None) -> Finding:
    """A5: with the norm extrapolated by ``h_i/(2 h_{i-1})`` as the direction is, DDIM with LML is of second order.

    Args:
        settings: profile and seed.
        names: of targets; those of the profile by default. The last one has three past noises as well.
    """
    counts = settings.pick((16, 32, 64, 128), (16, 32, 64, 128, 256, 512))
    names = names or settings.pick(("cross-2d", "random-8d"), ("cross-2d", "ring-2d", "random-64d", "random-8d"))
    worst, left = MaxError(), math.nan
    data: dict[str, np.ndarray] = {"steps": np.array(counts)}
    for name in track(names, "orders"):
        problem = _problem(name, settings)
        _measure(problem, counts, worst, data)
        if name == names[-1]:
            left = _measure_third(problem, [2 * count for count in counts], worst, data)
    gain, of_free = (float(data["extrapolated norm"][-1] / data[key][-1]) for key in ("lml", "extrapolation"))
    figures = (
        *worst.figures(
            ("extrapolated norm", "distance of the order from 2, equal steps, over the refinement error",
             "change of the order as the step halves"),
            ("uneven", "the same on uneven steps, eta = h_i/(2 h_(i-1))", "the same"),
            ("constant", "first-order error at eta = 1/4 against (eta - 1/2) eps', over its error",
             "what the last halving changed in the extrapolated limit"),
            ("third", "three noises: error over h^2 against theta^2/24, over its error", "the same"),
            ("third bent", "three noises, factor 1 - theta^2/24: distance of the order from 3, over its error",
             "change of the order as the step halves"),
            ("extrapolation", "norm left free: distance of the order from 2, over its error", "the same"),
            ("third free", "three noises, norm left free: distance of the order from 3, over its error", "the same"),
            ("ddim", "DDIM: distance of the order from 1, over its error", "the same"),
            ("lml", "LML's norm (control): distance of the order from 1, over its error", "the same"),
            ("uneven fixed", "eta = 1/2 on uneven steps (control): distance of the order from 1, over its error",
             "the same"),
        ),
        Measured("refinement error of an order, largest", worst["resolved"], limit=0.5,
                 basis="integers are told apart"),
        Measured("refinement error of a constant over it, largest", worst["constant is seen"], limit=0.5,
                 basis="zero is told apart"),
        Measured("share of theta^2/24 that is left under the factor 1 - theta^2/24 (control)", left, limit=0.1,
                 basis="none in the limit: the third order's own error, over the step"),
        Measured(f"error over that with LML's norm at {counts[-1]} steps, {names[-1]}", gain),
        Measured(f"error over that with the norm left free at {counts[-1]} steps, {names[-1]}", of_free),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"DDIM with LML, eta0 = 1/2 (relative damping {_DAMPING:g}), {', '.join(names)}; log-SNR "
        f"{LOG_SNR[0]:g} to {LOG_SNR[1]:g} in {counts[0]} to {counts[-1]} steps, equal or two to one in turn",
        methods=(
            "orders over dyadic steps against DOP853 at 1e-12: lml's sampler, and a multistep loop of its own",
            "first- and second-order terms from their own differential equations",
        ),
        assumption="eps is smooth and not zero along the flow; sigma stays above zero; quotients of steps are bounded.",
        remark="The repair costs nothing, but neither does leaving the norm free, which has the same order: by the "
        "triangle inequality the rule is the shorter of the two, and that is all that it adds. More than two past "
        "noises under the same rule stay at second order, whatever their weights: the mean of the norms is longer than "
        "the norm of the mean. The first step has no past and is DDIM's. What is gained in few steps is not said here.",
        data=data,
    )


def draw_restored_norm(finding: Finding) -> Figure:
    """Draw errors against steps: with one past noise, and with two."""
    figure, (left, right) = panels(2, width=3.6, height=3.0, sharey=True)
    data = finding.data
    styles = (("ddim", "target", "DDIM"), ("lml", "lml", "LML"), ("extrapolation", "control", "norm left free"),
              ("extrapolated norm", "corrected", "norm extrapolated"))  # fmt: skip
    for key, colour, label in styles:
        left.loglog(data["steps"], data[key], "o-", ms=3, lw=1.4, color=COLOURS[colour], label=label)
    for key, colour, label in (("free", "control", "norm left free"), ("extrapolated", "corrected", "extrapolated"),
                               ("bent", "bound", r"times $1-\theta^2/24$")):  # fmt: skip
        right.loglog(data["third steps"], data[f"third {key}"], "o-", ms=3, lw=1.4, color=COLOURS[colour], label=label)
    for axis, steps, key, order in ((left, "steps", "extrapolated norm", 2), (right, "third steps", "third bent", 3)):
        n, e = data[steps], data[key]
        axis.loglog(n, e[0] * (n[0] / n) ** order, ":", lw=1, color=COLOURS["limit"], label=f"order {order}")
        axis.set_xticks(n, [str(k) for k in n])
        axis.minorticks_off()
        axis.set_xlabel("steps")
        axis.legend(loc="lower left")
    left.set_ylabel("error")
    left.set_title("two noises", loc="left")
    right.set_title("three noises", loc="left")
    return figure
