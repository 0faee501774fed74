"""Findings on disk: one JSON and one array file a claim, written atomically, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
import sys
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
from toy.atomic import atomic

__all__ = ["Record", "fingerprint", "load", "packed", "save"]

_LIBRARIES = ("torch", "numpy", "scipy", "mpmath", "sympy", "python-flint", "scikit-fem", "pot")
_PACKAGES = ("lml", "toy", "theory_checks")


@dataclass(frozen=True)
class Record:
    """A claim with what its check found, or the traceback of a check that did not finish."""

    claim: Claim
    finding: Finding
    seconds: float
    error: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether the verdict is the one that the repository stands for."""
        return not self.error and self.finding.verdict is self.claim.expected

    def row(self, settings: Settings) -> dict[str, object]:
        """Return the row of ``ledger.json``."""
        finding = self.finding
        return {
            "claim": self.claim.id,
            "statement": self.claim.statement,
            "source": self.claim.source,
            "reading": finding.reading,
            "verdict": str(finding.verdict),
            "expected": str(self.claim.expected),
            "figures": [_plain(asdict(figure)) for figure in finding.figures],
            "methods": list(finding.methods),
            "assumption": finding.assumption,
            "remark": finding.remark,
            "counterexample": _plain(finding.counterexample),
            "seconds": round(self.seconds, 3),
            "profile": settings.profile,
            "seed": settings.seed,
            "check": self.claim.check_name,
            "error": self.error,
        }


def fingerprint(claim: Claim, settings: Settings) -> str:
    """Return a digest of all that a finding depends on: settings, our code, the check's own file, library versions."""
    digest = hashlib.sha256()
    parts = [claim.id, settings.profile, str(settings.seed), platform.python_version()]
    parts += [f"{name}={version(name)}" for name in _LIBRARIES]
    files = set()
    own = claim.check_name.partition(":")[0].partition(".")[0]  # the package of a user's plug-in, with its helpers
    for package in {*_PACKAGES, own}:
        files.update(_sources(package))
    for file in sorted(files):
        parts.append(f"{file.name}={hashlib.sha256(file.read_bytes()).hexdigest()}")
    digest.update("\n".join(parts).encode())
    return digest.hexdigest()


def _sources(package: str) -> list[Path]:
    """Return the files that a package, or a module that stands alone, is made of."""
    module = sys.modules.get(package)
    spec = getattr(module, "__spec__", None) if module is not None else find_spec(package)
    if spec is None:  # a notebook or a script
        file = getattr(module, "__file__", None)
        return [Path(file)] if file else []
    if not spec.submodule_search_locations:
        return [Path(spec.origin)] if spec.has_location and spec.origin else []
    folders = [Path(folder) for folder in spec.submodule_search_locations]
    return [f for folder in folders for f in folder.rglob("*") if f.suffix in {".py", ".png", ".json"}]


def save(record: Record, settings: Settings, folder: Path) -> None:
    """Write a record below ``folder``: the arrays first, so that a record that exists is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / f"{record.claim.id}.npz") as path:
        path.write_bytes(packed(record.finding))
    content = {"fingerprint": fingerprint(record.claim, settings), **record.row(settings)}
    with atomic(folder / f"{record.claim.id}.json") as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def packed(finding: Finding) -> bytes:
    """Return the arrays of a finding as a compressed NumPy archive."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in finding.data.items()}
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def load(claim: Claim, settings: Settings, folder: Path) -> Record | None:
    """Return the finished record of a claim, or ``None`` if there is none that the present code would repeat.

    Files that are damaged, or that another version wrote, count as none.
    """
    try:
        content = json.loads((folder / f"{claim.id}.json").read_text(encoding="utf-8"))
        if content["fingerprint"] != fingerprint(claim, settings) or content["error"]:
            return None
        # Opened here: NumPy leaves the file open when what it holds is no archive.
        with (folder / f"{claim.id}.npz").open("rb") as file, np.load(file) as arrays:
            data = dict(arrays)
        finding = Finding(
            verdict=Verdict(content["verdict"]),
            figures=tuple(Measured(**{**f, "value": _number(f["value"])}) for f in content["figures"]),
            reading=content["reading"],
            methods=tuple(content["methods"]),
            assumption=content["assumption"],
            remark=content["remark"],
            counterexample=content["counterexample"],
            data=data,
        )
        return Record(claim, finding, float(content["seconds"]))
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def _plain(value: object) -> object:
    """Return a value as JSON knows it: arrays as lists, null for what is not finite, text for everything else."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if hasattr(value, "tolist"):  # arrays and scalars of NumPy, tensors
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
