"""The comparison as data, as a picture of samples side by side, and as one self-contained page."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import torch
from PIL import Image

from image_exps.compare.advice import Advice, advise, sentence
from image_exps.compare.measure import OWN, Comparison, Row, plain_base, ratio
from image_exps.compare.paste import lines
from image_exps.images.grid import compose
from image_exps.pipelines.rendering import to_bytes

__all__ = ["content_of", "label_of", "own_name", "page", "sheet"]

# Larger pictures are drawn smaller side by side.
_SIDE = 256

# From this share of the timesteps on a scheduler begins at the noise that it takes its start for.
_BEGINS = 0.98


def own_name(found: Comparison) -> str:
    """Return the class of the pipeline's own scheduler, empty where there is none."""
    return "" if found.made.renderer is None else type(found.made.renderer.pipe.scheduler).__name__


def label_of(found: Comparison, arm: str) -> str:
    """Return how an arm is shown."""
    return f"own: {own_name(found)}" if arm == OWN else arm


def content_of(found: Comparison) -> dict[str, Any]:
    """Return everything that was measured and advised, as plain JSON."""
    flow, made = found.flow, found.made
    state = "" if flow.converged else "; NOT CONVERGED: distances of that size are not to be trusted"
    text = (
        f"The flow is followed in {flow.evaluations} evaluations; from {flow.evaluations // 2} its ends moved by "
        f"{flow.change:.2g}{state}."
    )
    choices = {choice.evaluations: choice for choice in advise(found)}
    latent = made.renderer is not None and made.renderer.kind not in ("DDPMPipeline", "DDIMPipeline")
    return {
        "model": made.name,
        "shape": list(made.shape),
        "unit": "numbers of a latent" if latent else "pixels",
        "count": found.count,
        "seed": found.seed,
        "base": plain_base(made),
        "own": own_name(found),
        "seconds": {"evaluation": found.seconds[0], "whole": found.seconds[1]},
        "reference": {
            "evaluations": flow.evaluations,
            "change": flow.change,
            "converged": flow.converged,
            "text": text,
        },
        "cells": [_cell(found, n, choices.get(n)) for n in found.evaluations],
    }


def _cell(found: Comparison, n: int, choice: Advice | None) -> dict[str, Any]:
    rows = sorted((row for row in found.rows if row.evaluations == n), key=lambda row: (bool(row.reason), row.mean))
    base = found.row(plain_base(found.made), n)
    return {
        "evaluations": n,
        "arm": choice.arm if choice else None,
        "advice": sentence(choice, own_name(found)) if choice else f"{n} evaluations: nothing could be measured.",
        "gain": list(choice.gain) if choice else None,
        "lines": lines(found.made, choice.arm, n) if choice and choice.differs else [],
        "notes": _notes(found, rows),
        "rows": [_as_json(found, row, base) for row in rows],
    }


def _notes(found: Comparison, rows: list[Row]) -> list[str]:
    """Say where the pipeline's own scheduler begins, if that is not at the last timestep."""
    last = len(found.made.schedule.discrete().alpha) - 1
    return [
        f"{own_name(found)} begins at timestep {row.first:.0f} of {last} as if pure noise were there, which is a part "
        "of its distance; timestep_spacing='trailing' begins at the last."
        for row in rows
        if row.first is not None and not found.made.flow and row.first < _BEGINS * last
    ]


def _as_json(found: Comparison, row: Row, base: Row) -> dict[str, Any]:
    label = label_of(found, row.arm)
    if row.distances is None:
        return {"arm": row.arm, "label": label, "reason": row.reason}
    other = base.distances
    compared = other is not None and row.arm != base.arm
    return {
        "arm": row.arm,
        "label": label,
        "reason": "",
        "mean": row.mean,
        "rms": row.rms,
        "nearer": float((row.distances < other).mean()) if compared else None,
        "ratio": list(ratio(row.distances, other)) if compared and other is not None else None,
        "distances": [float(value) for value in row.distances],
    }


def _shown(found: Comparison, n: int) -> list[str]:
    """Return the arms whose samples are shown: own scheduler, DDIM, the best without LML, and the best with it."""
    rows = sorted((r for r in found.rows if r.evaluations == n and r.distances is not None), key=lambda r: r.mean)
    best = {lml: next((r.arm for r in rows if ("/lml" in r.arm) == lml), None) for lml in (False, True)}
    wanted = (OWN, plain_base(found.made), best[False], best[True])
    there = {row.arm for row in rows}
    return [arm for arm in dict.fromkeys(wanted) if arm in there]


def sheet(found: Comparison, n: int, columns: int) -> tuple[Image.Image, list[str]]:
    """Return the first samples at a number of evaluations side by side below the flow's ends, and the arms shown."""
    arms = _shown(found, n)
    chosen = [found.row(arm, n).ends for arm in arms]
    ends = torch.cat([found.flow.x[:columns], *(end[:columns] for end in chosen if end is not None)])
    rows = np.split(found.made.pictures(ends), len(arms) + 1) if len(ends) else []
    heads = [f"seed {found.seed + i}" for i in range(min(columns, found.count))]
    labels = ["its own flow", *(f"{label_of(found, arm)}, {n}" for arm in arms)]
    return compose([[_small(to_bytes(picture)) for picture in row] for row in rows], labels, heads), arms


def _small(pixels: np.ndarray[Any, Any] | None) -> np.ndarray[Any, Any] | None:
    if pixels is None or max(pixels.shape[:2]) <= _SIDE:
        return pixels
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    picture.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    small = np.asarray(picture)
    return small if small.ndim == 3 else small[..., None]


def page(content: dict[str, Any], sheets: dict[int, tuple[Image.Image, list[str]]]) -> str:
    """Return the page as HTML, the pictures embedded.

    Args:
        content: of `content_of`.
        sheets: of `sheet` by number of evaluations.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    cells = []
    for cell in content["cells"]:
        drawn = sheets.get(cell["evaluations"])
        shown = [] if drawn is None else drawn[1]
        cells.append({**cell, "picture": "" if drawn is None else _png(drawn[0]), "shown": shown})
    return environment.get_template("page.html.jinja").render(content={**content, "cells": cells})


def _png(picture: Image.Image) -> str:
    held = io.BytesIO()
    picture.save(held, format="PNG", optimize=True)
    return base64.b64encode(held.getvalue()).decode("ascii")
