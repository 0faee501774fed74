"""A verdict on anybody's sampler: is it right, good, robust, well-behaved, cheap, the same as another?

``image_exps.judge(what)`` asks everything; for tests of one's own code there is one call for one question::

    from image_exps import judge

    judge.assert_order("my_package:MyScheduler", 2)
    judge.assert_consistent(my_function)
    judge.observed_order("diffusers:DDIMScheduler").value

What can be judged, and by which text, is in `image_exps.judge.what`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from image_exps.judge.order import Order
    from image_exps.judge.right import Right
    from image_exps.judge.verdict import Verdict

__all__ = ["assert_consistent", "assert_order", "assert_same", "judge", "observed_order"]

# Steps of a test: seconds, and errors that fall by a factor of eight to the power of the order.
_COUNTS = (24, 48, 96, 192)


def judge(what: object, **settings: Any) -> Verdict:
    """Return the verdict on a sampler; arguments and errors are those of `image_exps.judge.run.judge`."""
    from image_exps.judge.run import judge as ask

    return ask(what, **settings)


def observed_order(what: object, counts: Sequence[int] = _COUNTS, *, seed: int = 0, **options: Any) -> Order:
    """Return the order at which a deterministic sampler converges, with its interval.

    Args:
        what: as of `judge`.
        counts: numbers of steps, rising, at least four.
        seed: of the samples.
        options: of the sampler.

    Raises:
        CannotRunError: for what cannot be judged.
        ValueError: for a sampler that draws, which has no path to converge.
    """
    return _right(what, counts, seed, options).order


def _right(what: object, counts: Sequence[int], seed: int, options: dict[str, Any]) -> Right:
    from image_exps.judge.right import chance, judge_right
    from image_exps.judge.what import find

    judged = find(what, **options)
    if chance(judged):
        raise ValueError(f"what must be deterministic to have an order, {judged.name} draws")
    return judge_right(judged, counts, seed=seed)


def assert_order(what: object, order: float, counts: Sequence[int] = _COUNTS, *, seed: int = 0, **options: Any) -> None:
    """Fail unless a sampler tends to the exact flow with an observed order whose interval holds ``order``.

    Raises:
        AssertionError: with what was observed, and the symptoms.
    """
    found = _right(what, counts, seed, options)
    observed = found.order
    symptoms = [each for each in found.symptoms if not each.startswith("order lower")]
    told = f"; symptom: {'; '.join(symptoms)}" if symptoms else ""
    if not found.consistent:
        raise AssertionError(f"order {order:g} expected, but it does not tend to the exact flow{told}")
    if observed.reason:
        raise AssertionError(f"order {order:g} expected, but none was observed: {observed.reason}{told}")
    if not observed.agrees(order):
        interval = f"{observed.value:.2f} [{observed.low:.2f}, {observed.high:.2f}]"
        raise AssertionError(f"order {order:g} expected, {interval} observed{told}")


def assert_consistent(what: object, counts: Sequence[int] = _COUNTS, *, seed: int = 0, **options: Any) -> None:
    """Fail unless a sampler tends to the exact flow as its steps shrink, or in law to the exact one if it draws.

    Raises:
        AssertionError: with what was found.
    """
    from image_exps.judge.law import judge_law
    from image_exps.judge.right import TARGETS, chance
    from image_exps.judge.what import find

    judged = find(what, **options)
    if chance(judged):
        for each in judge_law(judged, targets=TARGETS, seed=seed):
            if not each.consistent:
                raise AssertionError(
                    f"it draws, and in {each.counts[-1]} steps its ends are not those of {each.target}: Frechet "
                    f"distance {each.frechet[-1]:.2g}, of exact samples at most {each.frechet_limit:.2g}"
                )
        return
    found = _right(judged, counts, seed, {})
    if not found.consistent or found.symptoms:
        symptoms = [each for each in found.symptoms if not each.startswith("order lower")]
        if symptoms or not found.consistent:
            raise AssertionError(f"it does not tend to the exact flow; {'; '.join(symptoms) or 'no symptom by name'}")


def assert_same(what: object, other: object, *, seed: int = 0) -> None:
    """Fail unless two samplers are one algorithm, path by path in float64.

    Raises:
        AssertionError: with where they part.
    """
    from image_exps.judge.same import judge_same
    from image_exps.judge.what import find

    found = judge_same(find(what), find(other), seed=seed)
    if not found.same:
        raise AssertionError(found.sentence)


class _Callable(ModuleType):
    """This module, which can be called: ``image_exps.judge(what)``."""

    def __call__(self, what: object, **settings: Any) -> Verdict:
        return judge(what, **settings)


sys.modules[__name__].__class__ = _Callable
