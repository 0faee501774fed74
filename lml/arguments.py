"""Check arguments: a ValueError names the argument, what is allowed and the value, in one wording everywhere.

Every check returns the value. Nothing heavy is imported, so that commands can check before they load anything; tensors
are checked by `lml.tensor_arguments`.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable
from typing import TypeVar

__all__ = ["check_choice", "check_integer", "check_number", "check_positive", "shown"]

T = TypeVar("T")


def check_integer(value: object, name: str, *, least: int = 1, below: int | None = None) -> int:
    """Return an integer of at least ``least``, and below ``below`` if that is given.

    Raises:
        ValueError: for anything else, a boolean and a float without a fraction too.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least or (below is not None and value >= below):
        allowed = "a positive integer" if least == 1 else f"an integer of at least {least}"
        if below is not None:
            allowed = f"an integer in [{least}, {shown(below)})"
        raise ValueError(f"{name} must be {allowed}, got {shown(value)}")
    return value


def check_number(
    value: object,
    name: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> float:
    """Return a finite number as a float, within the bounds that are given.

    Args:
        value: a Python number; a boolean is none.
        name: of the argument.
        least: the lower end of the range, if it belongs to it.
        above: the lower end, if it does not.
        most: the upper end, if it belongs to the range.
        below: the upper end, if it does not.

    Raises:
        ValueError: for anything else.
    """
    number = _finite(value)
    if (
        number is None
        or (least is not None and number < least)
        or (above is not None and number <= above)
        or (most is not None and number > most)
        or (below is not None and number >= below)
    ):
        raise ValueError(f"{name} must {_allowed(least, above, most, below)}, got {shown(value)}")
    return number


def check_positive(value: object, name: str) -> float:
    """Return a finite positive number as a float.

    Raises:
        ValueError: for anything else.
    """
    return check_number(value, name, above=0)


def check_choice(value: T, name: str, choices: Iterable[T]) -> T:
    """Return a value that is one of ``choices``: names, or numbers.

    Raises:
        ValueError: for anything else, with the choices.
    """
    choices = tuple(choices)
    if not any(_same(value, choice) for choice in choices):
        raise ValueError(f"{name} must be one of {', '.join(map(str, choices))}, got {shown(value)}")
    return value


def shown(value: object) -> str:
    """Return a value as it stands in an error: long ones are cut, of arrays only the shape is given."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return f"{type(value).__name__} of shape {tuple(shape)}"
    if isinstance(value, int) and value.bit_length() > 128:  # printing these can itself be refused
        return f"an integer of {value.bit_length()} bits"
    return _BRIEF.repr(value)


_BRIEF = reprlib.Repr()
_BRIEF.maxstring = _BRIEF.maxother = 200


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if -math.inf < number < math.inf else None  # isfinite would end a graph of torch.compile


def _allowed(least: float | None, above: float | None, most: float | None, below: float | None) -> str:
    low, high = least if above is None else above, most if below is None else below
    if low is not None and high is not None:
        return f"lie in {'[' if above is None else '('}{low:g}, {high:g}{']' if below is None else ')'}"
    if low is not None:
        positive = "be a finite positive number" if above == 0 else f"be a finite number above {low:g}"
        return f"be a finite number of at least {low:g}" if above is None else positive
    if high is not None:
        return f"be a finite number {'of at most' if below is None else 'below'} {high:g}"
    return "be a finite number"


def _same(value: object, choice: object) -> bool:
    kinds = isinstance(value, type(choice)) and isinstance(value, bool) == isinstance(choice, bool)
    return kinds and value == choice
