"""Faults of claims D: weights, histories, integrals and last steps of multistep solvers."""

from __future__ import annotations

from functools import partial
from typing import Any

from image_exps.claims.solver_orders import (
    _ADAMS,
    _SECOND,
    _THIRD,
    _UNIPC,
    check_adams_bashforth,
    check_second,
    check_third,
    check_unipc,
)
from theory_checks.ledger.faults import fault

#: One solver each, of those that a fault reaches.
REDUCED = {
    "D1": partial(check_second, solvers=_SECOND[1:2]),
    "D2": partial(check_third, solvers=_THIRD[1:2]),
    "D3": partial(check_unipc, solvers={key: _UNIPC[key] for key in ("UniPC-2, published",)}),
    "D4": partial(check_adams_bashforth, solvers=_ADAMS[3:4]),
}


@fault("lml.samplers.dpm_solver_pp:multistep_sum", "D1")
def history_not_used(original: Any) -> Any:
    """The step is DDIM's, whatever the history."""
    return lambda D, eta, **options: D[0]


@fault("image_exps.claims.solver_steps:exact_integral", "D1", "D2")
def integral_with_the_other_sign(original: Any) -> Any:
    """``e^-s`` for ``e^s``: the integral of the noise in place of that of the data."""
    return lambda power, h, sign: original(power, h, -sign)


@fault("lml.samplers.dpm_solver_pp:multistep_sum", "D2")
def second_difference_with_its_whole_weight(original: Any) -> Any:
    """What is called published has the weight that it lacks."""
    return lambda D, eta, **options: original(D, eta, exact_curvature=True)


@fault("image_exps.claims.solver_orders:unipc", "D3")
def order_kept_to_the_end(original: Any) -> Any:
    """What is called published has a last step of full order."""
    return lambda order, **options: original(order, **{**options, "lower_order_final": False})


@fault("image_exps.claims.solver_orders:second_order", "D3")
def order_of_other_errors(original: Any) -> Any:
    """The second method takes the order of DDIM for that of UniPC."""
    from image_exps.judge.what import find

    return lambda judged, counts: original(find("ddim"), counts)


@fault("lml.samplers.ipndm:adams_bashforth", "D4")
def newest_prediction_alone(original: Any) -> Any:
    """The combination is its first term."""
    return lambda outputs: outputs[0]


@fault("image_exps.claims.solver_steps:_linear", "D4")
def linear_factor_of_the_other_form(original: Any) -> Any:
    """``sigma'/sigma`` for ``alpha'/alpha``: errors of before are taken for what the step adds."""
    return lambda form, now, after: original("data" if form == "noise" else "noise", now, after)
