r"""The names of samplers: ``base@spacing/correction(parameter=value, ...)``, all but the base optional.

For example ``ddim``, ``unipc-3@time``, ``ddim/lml``, ``dpm-solver-3m@karras/lml(damping=0.01, rank=2)``. The bases are
those of `image_exps.samplers.table`; which spacings and corrections there are depends on what runs the sampler:
`image_exps.samplers.arms` on exact scores and networks, `image_exps.samplers.pipeline_sampler` in pipelines.

A value is a number, True, False, or a word. Nothing here imports torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["NO_CORRECTION", "SamplerName", "Value", "check_known", "parse_call", "parse_name", "split_names"]

#: The value of a parameter.
Value = float | int | str | bool

#: The correction of a name that has none.
NO_CORRECTION = "none"


class SamplerName(NamedTuple):
    """The parts of a name; ``None`` for a spacing that was not given."""

    base: str
    spacing: str | None = None
    correction: str = NO_CORRECTION
    parameters: Mapping[str, Value] = MappingProxyType({})

    def __str__(self) -> str:
        place = self.base if self.spacing is None else f"{self.base}@{self.spacing}"
        inside = ", ".join(f"{key}={value}" for key, value in self.parameters.items())
        return (
            place if self.correction == NO_CORRECTION else f"{place}/{self.correction}" + (f"({inside})" * bool(inside))
        )


_NAME = re.compile(r"(?P<base>[^@/(]+)(@(?P<spacing>[^/(]+))?(/(?P<correction>.+))?")
_CALL = re.compile(r"(?P<name>[^(]+)(\((?P<inside>.*)\))?")


def parse_name(text: str) -> SamplerName:
    """Return the parts of a name; whether they exist is not asked.

    Raises:
        ValueError: for a text of another form.
    """
    found = _NAME.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"sampler must have the form base@spacing/correction(parameter=value, ...), got {text!r}")
    correction, parameters = parse_call(found["correction"] or NO_CORRECTION)
    spacing = found["spacing"]
    return SamplerName(found["base"].strip(), spacing.strip() if spacing else None, correction, parameters)


def parse_call(text: str) -> tuple[str, dict[str, Value]]:
    """Return the name and the parameters of ``name(parameter=value, ...)``.

    Raises:
        ValueError: for a text of another form.
    """
    found = _CALL.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"a name must have the form name(parameter=value, ...), got {text!r}")
    parameters: dict[str, Value] = {}
    for part in filter(None, (p.strip() for p in (found["inside"] or "").split(","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        if not equals or not key or not value or key in parameters:
            raise ValueError(f"parameters must have the form name=value, once each, got {part!r} in {text!r}")
        parameters[key] = _value(value)
    return found["name"].strip(), parameters


def split_names(text: str) -> list[str]:
    """Return the names of a list with commas; commas between brackets belong to a name."""
    return [name.strip() for name in re.split(r",(?![^(]*\))", text)]


def check_known(what: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises:
        ValueError: listing those that are.
    """
    known = tuple(known)
    if name not in known:
        raise ValueError(f"{what} must be one of {', '.join(known) or '(none)'}, got {name!r}")


def _value(text: str) -> Value:
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text  # a word, as in damping_mode=absolute
    if not isinstance(value, (bool, int, float, str)):
        raise ValueError(f"parameters must be numbers or words, got {text!r}")
    return value
