r"""Claim A6: LML tends to the probability flow if and only if its strength grows more slowly than the number of steps.

Let DDIM with LML take n equal steps ``h = O(1/n)`` of the half-log-SNR at the strength ``eta_n`` (`eta0` of claim K3).
In ``u = x/alpha``, ``r = sigma/alpha``, with ``eps`` continuously differentiable and not zero near the flow,

    ``u_{i+1} = u_i + (r_{i+1} - r_i) f_i``,    ``f_i = |eps_i| (eps_i + g_i)/|eps_i + g_i|``,
    ``g_i = eta_n P_i (eps_i - eps_{i-1})``,    ``P = I - eps eps^T/|eps|^2``.

*Claim.* The path tends to the flow, uniformly, if ``eta_n/n -> 0``, and then with an error of ``O((1 + eta_n)/n)``. If
the noise turns along the flow (``P eps' != 0`` on a set of positive measure), only if.

*Proof, if.* ``|f_i| = |eps_i|``: whatever eta, the samples stay in a compact set, move by ``O(1/n)`` a step, and so
does ``eps_i``. As ``g_i`` is orthogonal to ``eps_i``, ``|f_i - eps_i| <= |g_i| = O(eta_n/n)``. This is Euler's method
with slopes that are off by ``O(eta_n/n)``: by Gronwall's lemma the error is ``O((1 + eta_n)/n)``.

*Proof, only if.* Let ``h eta_n -> tau in (0, infinity]`` along some n, and let the paths tend to the flow uniformly.
Read ``f^n`` as a step function of r. Its integrals tend to those of ``eps``, since they are differences of the path: so
``f^n -> eps`` weakly in L2. Its norm tends to that of ``eps``, since ``|f_i| = |eps_i|``: so it does strongly. Then
``(eps_i - eps_{i-1})/h``, which is the derivative of ``eps`` in the direction of ``f_{i-1}`` up to ``o(1)``, tends to
``eps'`` in L2, and almost everywhere along a further subsequence; and ``f^n`` to

    ``f = |eps| (eps + tau P eps')/|eps + tau P eps'|``    (``|eps| P eps'/|P eps'|`` for ``tau = infinity``)

wherever ``P eps' != 0``. There ``f != eps``: a contradiction.

What DDIM with LML tends to at a fixed ``tau = h eta``, if to anything smooth, is the flow along ``f`` itself, with
``eps'`` the derivative along that flow: an equation that is implicit in f, solved here by iteration.

At fixed kappa ``eta_n = kappa |eps|^2/lambda_n``. Table 6 of the paper has ``n lambda_n`` between 0.004 and 0.015 for n
from 5 to 100: the strength grows like n there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from torch import Tensor

import toy
from lml.correction import LML
from lml.samplers import SAMPLERS, Level, Sampler, sample
from theory_checks.annealing.order import LOG_SNR, across, first_order_error, observed_order
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from toy import ExactTarget

__all__ = ["TABLE_6", "check_consistency", "draw_consistency", "turned_flow"]

#: Steps and lambda of the paper's Table 6 (CIFAR-10).
TABLE_6 = ((5, 8e-4), (6, 8e-4), (7, 1e-3), (8, 1e-3), (9, 1e-3), (10, 8e-4), (12, 1e-3), (15, 1e-3), (20, 5e-4),
           (30, 3e-4), (50, 1e-4), (100, 5e-5))  # fmt: skip

#: So small that kappa <e,D> and kappa^2 w of claim K3 are below rounding, and the strength is eta0 itself.
_DAMPING = 1e-12
_SAMPLES = 12
_TAU = 0.04


def turned_flow(target: ExactTarget, x: Tensor, start: Level, end: Level, tau: float) -> Tensor:
    """Return where the flow along ``f`` takes samples, shape (B, d); for ``tau = 0`` it is the probability flow.

    In ``w = x/sqrt(alpha^2 + sigma^2)``, ``dw/dl = sin(theta)^2 w - sin(theta) f``. The equation for f is iterated to
    rounding: it contracts where ``tau`` times the slope of eps is small.

    Args:
        target: the data distribution.
        x: samples at ``start``, shape (B, d).
        start: level of ``x``.
        end: level of the result.
        tau: step in half-log-SNR times strength.

    Raises:
        RuntimeError: where the iteration does not converge.
    """

    def slope(half_log_snr: float, state: np.ndarray) -> np.ndarray:
        w = torch.from_numpy(state).view(x.shape)
        theta = math.atan(math.exp(-half_log_snr))
        q, sine = target.diffuse(math.cos(theta), math.sin(theta)), math.sin(theta)
        eps = q.noise(w)
        # The derivative in l at fixed w, to fourth order; that in w is a product with the Hessian.
        t = 1e-3
        near = {}
        for k in (-2, -1, 1, 2):
            angle = math.atan(math.exp(-half_log_snr - k * t))
            near[k] = target.diffuse(math.cos(angle), math.sin(angle)).noise(w)
        partial = (8 * (near[1] - near[-1]) - (near[2] - near[-2])) / (12 * t)
        f = eps
        for _ in range(200):
            change = partial - sine * q.hessian_vector(w, sine**2 * w - sine * f)
            turned = eps + tau * across(eps, change)
            after = eps.norm(dim=1, keepdim=True) * turned / turned.norm(dim=1, keepdim=True)
            moved = float((after - f).abs().max() / eps.abs().max())
            f = after
            if moved < 1e-13:
                break
        else:
            raise RuntimeError(f"the direction does not converge: tau = {tau} is too large here, it moves by {moved}")
        result: np.ndarray = (sine**2 * w - sine * f).flatten().numpy()
        return result

    w = (x / math.hypot(start.alpha, start.sigma)).flatten().numpy()
    span = (start.half_log_snr, end.half_log_snr)
    found = solve_ivp(slope, span, w, method="DOP853", rtol=1e-9, atol=1e-10)
    return torch.from_numpy(found.y[:, -1].copy()).view(x.shape) * math.hypot(end.alpha, end.sigma)


def _ends(
    base: Sampler, target: ExactTarget, x: Tensor, counts: Sequence[int], strengths: Sequence[float]
) -> list[Tensor]:
    """Return where the sampler ends for each number of steps and its strength, (B, d) each."""
    schedule, model = toy.noise_schedule("vp-linear"), toy.noise_model(target)
    ends = []
    for count, eta in zip(counts, strengths, strict=True):
        levels = toy.noise_levels(schedule, count, log_snr=LOG_SNR)
        ends.append(sample(base, model, x, levels, LML(damping=_DAMPING, mixing=eta * _DAMPING)))
    return ends


def _first_order_excess(errors: Sequence[Tensor], predicted: Sequence[Tensor]) -> tuple[float, float]:
    """Return the limit of ``(error - predicted)/|predicted|`` over its error, and the last deviation itself.

    At ``eta ~ n^{1/2}`` the deviation is a series in ``n^{-1/2}``: with n doubled, Richardson's scheme removes its
    first term with ``sqrt(2)`` and the second with 2. The error is what the last doubling changes after the first.
    """
    last = [(e - p) / p.norm(dim=1, keepdim=True) for e, p in zip(errors, predicted, strict=True)][-3:]
    root = math.sqrt(2)
    limits = [(root * b - a) / (root - 1) for a, b in itertools.pairwise(last)]
    limit, error = (v.norm(dim=1) for v in (2 * limits[1] - limits[0], limits[1] - limits[0]))
    return float((limit / error).median()), float(last[-1].norm(dim=1).median())


def check_consistency(settings: Settings, names: Sequence[str] | None = None) -> Finding:
    """A6: DDIM with LML tends to the probability flow if and only if ``eta_n/n -> 0``.

    Args:
        settings: profile and seed.
        names: of targets; those of the profile by default.
    """
    counts = settings.pick((16, 32, 64, 128), (16, 32, 64, 128, 256, 512))
    names = names or settings.pick(("random-8d",), ("cross-2d", "random-64d", "random-8d"))
    width = (LOG_SNR[1] - LOG_SNR[0]) / 2
    worst, left = MaxError(), math.inf
    data: dict[str, np.ndarray] = {"steps": np.array(counts)}
    for name in track(names, "strengths that grow"):
        target = toy.target(name)
        start, end = toy.noise_levels(toy.noise_schedule("vp-linear"), 1, log_snr=LOG_SNR)
        x = target.diffuse(start.alpha, start.sigma).sample(_SAMPLES, generator=settings.generator())
        flow, turned = (turned_flow(target, x, start, end, tau) for tau in (0.0, _TAU))
        exact = toy.probability_flow(target, x, start, end)
        worst.update("flow", float((flow - exact).norm() / exact.norm()) / 1e-7)
        grown = {
            "0": [1.0 for _ in counts],
            "1/2": [math.sqrt(n / counts[0]) for n in counts],
            "1": [_TAU * n / width for n in counts],
        }
        ends = {key: _ends(SAMPLERS["ddim"], target, x, counts, strengths) for key, strengths in grown.items()}
        errors = {key: [e - exact for e in reached] for key, reached in ends.items()}
        data.update({key: np.array([float(e.norm()) for e in found]) for key, found in errors.items()})
        order = observed_order(errors["0"])
        worst.update("fixed", abs(order.limit - 1) / order.error)
        worst.update("resolved", order.error)
        turn, change = first_order_error(target, x, start, end)
        predicted = [width / n * (eta * turn - 0.5 * change) for n, eta in zip(counts, grown["1/2"], strict=True)]
        excess, deviation = _first_order_excess(errors["1/2"], predicted)
        worst.update("root", excess)
        worst.update("deviation", deviation)
        for label, base in (("turned", "ddim"), ("other", "pndm")):
            reached = ends["1"] if base == "ddim" else _ends(SAMPLERS[base], target, x, counts, grown["1"])
            to_turned = [e - turned for e in reached]
            order = observed_order(to_turned)
            worst.update(label, abs(order.limit - 1) / order.error)
            worst.update("resolved", order.error)
            # What the last error still hides of the limit's distance to the flow.
            left = min(left, float(((turned - exact).norm(dim=1) / to_turned[-1].norm(dim=1)).median()))
            data[label] = np.array([float(e.norm()) for e in to_turned])
        data["limit"] = np.array(float((turned - exact).norm()))
    products = [n * lam for n, lam in TABLE_6]
    figures = (
        *worst.figures(
            ("turned", "eta ~ n: distance from 1 of the order to the turned flow, over the refinement error",
             "change of the order as the step halves"),
            ("other", "the same with PNDM for DDIM", "the same"),
            ("fixed", "eta = 1: distance from 1 of the order to the probability flow, over the refinement error",
             "the same"),
            ("root", "eta ~ n^(1/2): limit of error over h (eta delta_turn - delta_change/2), minus 1, over its error",
             "what the last doubling of n changes in the extrapolated limit"),
        ),
        Measured(f"deviation of the two at {counts[-1]} steps, before the limit", worst["deviation"],
                 basis="falls like h eta"),
        Measured("refinement error of an order, largest", worst["resolved"], limit=0.5,
                 basis="integers are told apart"),
        Measured("tau = 0 against the probability flow, relative, over 1e-7", worst["flow"], limit=1,
                 basis="DOP853 at 1e-9 against 1e-12"),
        Measured(f"turned flow to probability flow, over the distance to the turned flow at {counts[-1]} steps, least",
                 left, low=left, high=math.inf, basis="above 1: the sampler has gone elsewhere, and goes on"),
        Measured("n lambda of the paper's Table 6, n = 5 to 100", float(np.median(products)), low=min(products),
                 high=max(products), basis="median and range: lambda ~ 1/n, so eta0 ~ n at its fixed kappa"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures) if left > 3 else Verdict.OPEN,
        figures=figures,
        reading=f"DDIM with LML on {counts[0]} to {counts[-1]} equal steps of log-SNR, {LOG_SNR[0]:g} to "
        f"{LOG_SNR[1]:g}, eta = 1, ~ n^(1/2), and {_TAU / width:g} n; {', '.join(names)}",
        methods=(
            "the sampler over dyadic steps",
            "the implicit equation of the limit, solved by DOP853, which knows no steps",
        ),
        assumption="eps is continuously differentiable and not zero near the flow, sigma stays above zero, and the "
        "noise turns along the flow: in one dimension, or for one isotropic Gaussian, LML is its base at any strength.",
        remark="The proof is for DDIM and for the path as a whole; PNDM is measured. At a fixed number of steps "
        "this forbids nothing: it says that a damping that is tuned down like 1/n at a fixed kappa, as in Table 6, "
        "leads away from the probability flow, and that any gain from it is one of few steps. The table ends at n = "
        "100.",
        data=data,
    )


def draw_consistency(finding: Finding) -> Figure:
    """Draw the error against the number of steps for the three ways in which the strength may grow."""
    figure, (axis,) = panels(1, width=5.4, height=3.2)
    data = finding.data
    steps = data["steps"]
    for key, colour, label in (("0", "lml", r"$\eta_0$ fixed"), ("1/2", "control", r"$\eta_0 \sim \sqrt{n}$"),
                               ("1", "literal", r"$\eta_0 \sim n$")):  # fmt: skip
        axis.loglog(steps, data[key], "o-", ms=4, color=COLOURS[colour], label=f"{label}, to the probability flow")
    axis.loglog(steps, data["turned"], "o--", ms=4, mfc="none", color=COLOURS["literal"],
                label=r"$\eta_0 \sim n$, to the turned flow")  # fmt: skip
    axis.axhline(float(data["limit"]), color=COLOURS["limit"], lw=0.8, ls=":")
    axis.set_xticks(steps, [str(n) for n in steps])
    axis.minorticks_off()
    axis.set(xlabel="steps n", ylabel="distance of the ends")
    axis.set_title("DDIM with LML: at a strength that grows like n it goes elsewhere", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
