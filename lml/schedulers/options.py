"""The options that every LML scheduler adds to those of its base, and the correction that they describe."""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from lml.arguments import check_choice
from lml.correction import LML, Correction, ReleasedLML

__all__ = ["DEFAULTS", "VARIANTS", "correction_of", "parameters_of"]

#: What is corrected: Algorithm 1, or what the paper's published code does (claim K5).
VARIANTS: tuple[str, ...] = ("algorithm1", "released")

#: The options by name, with their defaults: the ones of `lml.correction.LML`. A class may have its own ``mixing``.
DEFAULTS: dict[str, Any] = {
    "damping": LML.damping,
    "mixing": LML.mixing,
    "damping_mode": LML.damping_mode,
    "rank": LML.rank,
    "variant": VARIANTS[0],
    "start": LML.start,
    "stop": LML.stop,
    "norm": LML.norm,
}

# What the published code has no choice of. Its DDIM has a ``start``, which it calls ``freeze``.
_FIXED_IF_RELEASED = {"damping_mode": "absolute", "rank": 1, "stop": 1, "norm": "kept"}


def parameters_of(defaults: Mapping[str, Any]) -> list[Parameter]:
    """Return the options as parameters of a constructor, keyword only."""
    return [Parameter(name, Parameter.KEYWORD_ONLY, default=x, annotation=type(x)) for name, x in defaults.items()]


def correction_of(options: Mapping[str, Any]) -> Correction:
    """Return the correction that a scheduler's config describes.

    Raises:
        ValueError: for an option out of range, naming it, its value and what is allowed.
    """
    chosen = {name: options[name] for name in DEFAULTS}
    variant = chosen.pop("variant")
    check_choice(variant, "variant", VARIANTS)
    lml = LML(**chosen)
    if variant == "algorithm1":
        return lml
    for name, only in _FIXED_IF_RELEASED.items():
        if chosen[name] != only:
            raise ValueError(f"{name} must be {only!r} with variant='released', got {chosen[name]!r}")
    return ReleasedLML(lml.damping, lml.mixing)
