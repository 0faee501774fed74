"""Findings on disk: one JSON and one array file a claim, written atomically, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from theory_checks.ledger import Claim, Finding, Measured, Settings, Verdict

__all__ = ["Record", "atomic", "fingerprint", "load", "save"]

_LIBRARIES = ("torch", "numpy", "scipy", "mpmath")
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
            "figures": [_finite(asdict(figure)) for figure in finding.figures],
            "methods": list(finding.methods),
            "assumption": finding.assumption,
            "remark": finding.remark,
            "counterexample": _finite(dict(finding.counterexample)),
            "seconds": round(self.seconds, 3),
            "profile": settings.profile,
            "seed": settings.seed,
            "check": f"{self.claim.check.__module__}:{self.claim.check.__qualname__}",
            "error": self.error,
        }


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces ``path`` only once everything is on disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def fingerprint(claim: Claim, settings: Settings) -> str:
    """Return a digest of all that a finding depends on: settings, our code, the check's own file, library versions."""
    digest = hashlib.sha256()
    parts = [claim.id, settings.profile, str(settings.seed), platform.python_version()]
    parts += [f"{name}={version(name)}" for name in _LIBRARIES]
    files = {Path(inspect.getfile(claim.check))}
    for package in _PACKAGES:
        spec = find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            files.update(f for f in Path(folder).rglob("*") if f.suffix in {".py", ".png", ".json"})
    for file in sorted(files):
        parts.append(f"{file.name}={hashlib.sha256(file.read_bytes()).hexdigest()}")
    digest.update("\n".join(parts).encode())
    return digest.hexdigest()


def save(record: Record, settings: Settings, folder: Path) -> None:
    """Write a record below ``folder``: the arrays first, so that a record that exists is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / f"{record.claim.id}.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, **{name: np.asarray(array) for name, array in record.finding.data.items()})
    content = {"fingerprint": fingerprint(record.claim, settings), **record.row(settings)}
    with atomic(folder / f"{record.claim.id}.json") as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load(claim: Claim, settings: Settings, folder: Path) -> Record | None:
    """Return the finished record of a claim, or ``None`` if there is none that the present code would repeat."""
    try:
        content = json.loads((folder / f"{claim.id}.json").read_text())
        if content["fingerprint"] != fingerprint(claim, settings) or content["error"]:
            return None
        with np.load(folder / f"{claim.id}.npz") as arrays:
            data = dict(arrays)
    except (OSError, ValueError, KeyError):
        return None
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
    return Record(claim, finding, content["seconds"])


def _finite(values: Mapping[str, object]) -> dict[str, object]:
    """Replace what JSON has no word for."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
