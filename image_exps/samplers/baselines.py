"""What "the best baseline" is the best of: every published algorithm at every published spacing of levels."""

from __future__ import annotations

from collections.abc import Iterable

from image_exps.samplers.names import NO_CORRECTION, parse_name
from image_exps.samplers.table import ALGORITHMS, algorithm

__all__ = ["BASELINES", "BASELINE_ARMS", "BASELINE_SPACINGS", "baselines_text", "is_baseline"]

#: The algorithms that are baselines, in the order of the table.
BASELINES: tuple[str, ...] = tuple(name for name, each in ALGORITHMS.items() if each.baseline)

#: The spacings of levels that were published; levels that were learned make another sampler.
BASELINE_SPACINGS: tuple[str, ...] = ("time", "log-snr", "karras")

#: Every baseline at every such spacing, by names with the spacing.
BASELINE_ARMS: tuple[str, ...] = tuple(f"{base}@{spacing}" for base in BASELINES for spacing in BASELINE_SPACINGS)


def is_baseline(name: str) -> bool:
    """Whether an arm is a sampler without a correction, at a published spacing."""
    parts = parse_name(name)
    return parts.correction == NO_CORRECTION and _spacing(name) in BASELINE_SPACINGS


def _spacing(name: str) -> str:
    parts = parse_name(name)
    return parts.spacing or algorithm(parts.base).spacing


def baselines_text(arms: Iterable[str]) -> str:
    """Say which of these arms are baselines, and which published ones are not among them, in two sentences."""
    found = {(parse_name(name).base, _spacing(name)) for name in arms if is_baseline(name)}
    measured = {base: [s for s in BASELINE_SPACINGS if (base, s) in found] for base in ALGORITHMS}
    lacking = {base: [s for s in BASELINE_SPACINGS if (base, s) not in found] for base in BASELINES}
    return f"Baselines: {_listed(measured)}. Not measured: {_listed(lacking)}."


def _listed(spacings: dict[str, list[str]]) -> str:
    """Return bases with their spacings, those with the same ones together."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for base, some in spacings.items():
        if some:
            groups.setdefault(tuple(some), []).append(f"`{base}`")
    return "; ".join(f"{', '.join(bases)} at {', '.join(some)}" for some, bases in groups.items()) or "none"
