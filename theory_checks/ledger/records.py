"""Findings on disk: one JSON and one array file a claim, written atomically, so that an interrupted run can go on."""

from __future__ import annotations

import hashlib
import io
import json
import math
import platform
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
from theory_checks.ledger.code_version import code_version, imported_files
from theory_checks.ledger.family import find_families

__all__ = ["Kept", "Record", "examine", "fingerprint", "load", "normalised", "packed", "save", "unfinished"]


@dataclass(frozen=True)
class Record:
    """A claim with what its check found, or the traceback of a check that did not finish."""

    claim: Claim
    finding: Finding
    seconds: float
    error: str = ""

    @property
    def as_expected(self) -> bool:
        """Whether the check finished with the verdict that its claim expects."""
        return not self.error and self.finding.verdict is self.claim.expected

    def row(self, settings: Settings) -> dict[str, object]:
        """Return the row of ``ledger.json``: null stands for a figure that is not finite."""
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


def unfinished(claim: Claim, error: str, seconds: float = 0.0) -> Record:
    """Return the record of a check that did not finish: it is OPEN, and carries the reason."""
    return Record(claim, Finding(Verdict.OPEN, (), reading="the check did not finish"), seconds, error)


def normalised(finding: object) -> Finding:
    """Return a finding as it comes back from disk: numbers, texts and arrays, whatever types the check used.

    Raises:
        TypeError: for what is no finding, a verdict that is none, or a figure that is no number.
        ValueError: for arrays that are ragged or hold objects.
    """
    if not isinstance(finding, Finding):
        raise TypeError(f"a check must return a Finding, this one returned {_described(finding)}")
    if not isinstance(finding.verdict, Verdict):
        raise TypeError(f"verdict of a finding must be a Verdict, got {_described(finding.verdict)}")
    counterexample = _plain(finding.counterexample)
    assert isinstance(counterexample, dict)
    return replace(
        finding,
        reading=str(finding.reading),
        assumption=str(finding.assumption),
        remark=str(finding.remark),
        figures=tuple(_measured(figure) for figure in finding.figures),
        methods=tuple(str(method) for method in finding.methods),
        counterexample=counterexample,
        data={str(name): _array(str(name), values) for name, values in finding.data.items()},
    )


def fingerprint(claim: Claim, settings: Settings) -> str:
    """Return a digest of all that a finding depends on: settings, the code that its check runs, library versions.

    It is empty for a check whose code has no file: what it found is never taken for what it would find again.
    """
    module = claim.check_name.partition(":")[0]
    try:
        modules = [module]
        if any(file.parts[-2:] == ("ledger", "proofs.py") for file in imported_files(module)):
            # A check with symbolic proofs finds them by its claim's id, not by an import.
            modules += [name for family in find_families() for name in family.proofs]
        code = code_version(modules)
    except (ValueError, SyntaxError, OSError, RecursionError):
        return ""
    parts = (claim.id, claim.check_name, settings.profile, str(settings.seed), platform.python_version(), code)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def save(record: Record, settings: Settings, folder: Path, code: str | None = None) -> None:
    """Write a record below ``folder``: the arrays first, so that a record that exists is complete.

    Args:
        record: what to write.
        settings: under which it was found.
        folder: of records, made where it is missing.
        code: the `fingerprint` from before the check ran; by default that of now.
    """
    from toy.atomic import atomic

    folder.mkdir(parents=True, exist_ok=True)
    arrays = packed(record.finding)
    with atomic(folder / f"{record.claim.id}.npz") as path:
        path.write_bytes(arrays)
    content = {
        "fingerprint": fingerprint(record.claim, settings) if code is None else code,
        **record.row(settings),
        "figures": [_exact(asdict(figure)) for figure in record.finding.figures],
    }
    content = {"digest": _digest(content, arrays), **content}
    with atomic(folder / f"{record.claim.id}.json") as path:
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def packed(finding: Finding) -> bytes:
    """Return the arrays of a finding as a compressed NumPy archive: the same bytes for the same arrays.

    `numpy.savez_compressed` does as much, but for arrays whose names are those of its own arguments.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in finding.data.items():
            entry = zipfile.ZipInfo(f"{name}.npy")  # of no time
            entry.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(entry, "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
    return buffer.getvalue()


class Kept(NamedTuple):
    """What a folder holds of a claim.

    Attributes:
        record: that the present code would repeat, or ``None``.
        reason: why what is there does not count; empty if it does, or if nothing is there.
    """

    record: Record | None
    reason: str = ""


def load(claim: Claim, settings: Settings, folder: Path) -> Record | None:
    """Return the finished record of a claim, or ``None`` if there is none that the present code would repeat."""
    return examine(claim, settings, folder).record


def examine(claim: Claim, settings: Settings, folder: Path) -> Kept:
    """Return what a folder holds of a claim: its bytes must be those that were written, its code the present one."""
    file = folder / f"{claim.id}.json"
    if not file.exists():
        return Kept(None)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        arrays = (folder / f"{claim.id}.npz").read_bytes()
        if content.pop("digest") != _digest(content, arrays):
            return Kept(None, "its record was damaged or changed")
        if content["error"]:
            return Kept(None, "its check did not finish")
        if not content["fingerprint"] or content["fingerprint"] != fingerprint(claim, settings):
            return Kept(None, "its code or its settings have changed")
        with np.load(io.BytesIO(arrays), allow_pickle=False) as opened:
            data = dict(opened)
        finding = Finding(
            verdict=Verdict(content["verdict"]),
            figures=tuple(Measured(**{k: _number(v, k) for k, v in f.items()}) for f in content["figures"]),
            reading=content["reading"],
            methods=tuple(content["methods"]),
            assumption=content["assumption"],
            remark=content["remark"],
            counterexample=content["counterexample"],
            data=data,
        )
        return Kept(Record(claim, finding, float(content["seconds"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile, zlib.error,
            RecursionError):  # fmt: skip
        return Kept(None, "its record is damaged, or of another version")


def _digest(content: Mapping[str, object], arrays: bytes) -> str:
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode() + hashlib.sha256(arrays).digest()).hexdigest()


_NUMBERS = ("value", "limit", "low", "high")


def _measured(figure: object) -> Measured:
    if not isinstance(figure, Measured):
        raise TypeError(f"figures of a finding must be Measured, got {_described(figure)}")
    value, limit, low, high = (_as_number(figure, name) for name in _NUMBERS)
    if value is None:
        raise TypeError(f"value of the figure {figure.name!r} must be a number, got None")
    return Measured(str(figure.name), value, limit, low, high, str(figure.unit), str(figure.basis))


def _as_number(figure: Measured, name: str) -> float | None:
    number = getattr(figure, name)
    number = number.item() if hasattr(number, "item") else number  # of NumPy, of torch
    if number is not None and not isinstance(number, (int, float)):
        raise TypeError(f"{name} of the figure {figure.name!r} must be a number, got {_described(number)}")
    return number


def _array(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ValueError(f"data {name!r} of a finding must be an array: {error}") from error
    if array.dtype.hasobject:
        raise ValueError(f"data {name!r} of a finding must be an array of numbers or texts, got one of objects")
    return array


def _described(value: object) -> str:
    text = repr(value)
    kind = type(value).__name__
    return "None" if value is None else f"{kind}: {text if len(text) <= 60 else f'{text[:60]}...'}"


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


def _exact(figure: dict[str, object]) -> dict[str, object]:
    """Return a figure as JSON knows it, numbers that are not finite as text."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in figure.items()}


def _number(value: object, name: str) -> Any:
    return float(value) if name in _NUMBERS and isinstance(value, str) else value
