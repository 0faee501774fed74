"""The data of figures on disk: an array file for each figure, version of the code, settings and parameters."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from paper_figures.figure import Data, PaperFigure
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.code_version import code_version
from toy.atomic import atomic

__all__ = ["data_of", "key"]

_LOG = logging.getLogger(__name__)

# The name of the array with the digest of the others.
_DIGEST = "sha256"

# What a figure's data do not depend on: how figures look, and of its own file what draws and what captions say.
_LOOKS = ("paper_figures.style", "paper_figures.layout", "paper_figures.log_axis", "paper_figures.figure")
_SHOWN_BY = ("draw", "facts", "missing", "FIGURE")


def key(figure: PaperFigure, settings: Settings, parameters: Mapping[str, object]) -> str:
    """Return a digest of all that the data of a figure depend on."""
    digest = hashlib.sha256()
    chosen = ", ".join(f"{name}={parameters[name]!r}" for name in sorted(parameters))
    code = code_version(figure.compute.__module__, looks=_LOOKS, shown_by=_SHOWN_BY)
    for part in (figure.name, settings.profile, str(settings.seed), chosen, code):
        digest.update(f"{part}\n".encode())
    for path in figure.inputs():
        digest.update(f"{path.name}={hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def data_of(
    figure: PaperFigure,
    settings: Settings,
    folder: Path,
    *,
    recompute: bool = False,
    parameters: Mapping[str, object] | None = None,
) -> tuple[Data, bool]:
    """Return the data of a figure, and whether they came from the cache: whole, by their digest.

    Args:
        figure: whose data.
        settings: profile and seed.
        folder: of the cache; made where it is not there.
        recompute: compute even if the cache has the data.
        parameters: of ``figure.compute``.
    """
    parameters = parameters or {}
    path = folder / f"{figure.name}-{key(figure, settings, parameters)[:16]}.npz"
    if not recompute and (kept := _load(path)) is not None:
        return kept, True
    data = {name: np.asarray(array) for name, array in figure.compute(settings, **parameters).items()}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **{**data, _DIGEST: np.array(_digest(data))})  # type: ignore[arg-type]
    return data, False


def _digest(data: Data) -> str:
    digest = hashlib.sha256()
    for name in sorted(data):
        array = np.asarray(data[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    return digest.hexdigest()


def _load(path: Path) -> Data | None:
    """Return the arrays of a file; none where there is no file, or what is there is damaged, which is said."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            data = dict(arrays)
        if str(data.pop(_DIGEST)) == _digest(data):
            return data
    except Exception:  # what NumPy and the libraries below it raise on a damaged file is not documented
        pass
    _LOG.warning("%s is damaged: its data are computed again", path)
    return None
