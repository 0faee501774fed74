"""Draw lines of the five packages at random, put a fault into each, and see whether the related tests notice.

    python tests/random_faults.py                      # the recorded sample: seed and size stand below
    python tests/random_faults.py --only 3 17          # some of it again
    python tests/random_faults.py --list               # what would be tried

Drawn is a line that has a place for a fault, each line with equal chance, then one of its places and one of its faults:

- an operator: ``+`` for ``-``, ``*`` for ``/``, ``and`` for ``or``, ...
- a comparison: ``<`` for ``<=``, ``==`` for ``!=``, ``is`` for ``is not``, ...
- a constant: one more, or the other sign, or ``True`` for ``False``
- a condition, negated
- a statement without a value (a call, ``raise``, ``assert``, ``+=``, an attribute or item that is set), dropped

A fault is put into a copy of the tree, never in place. Related are the tests that import the module, or stand where its
tests would in the mirrored layout; the claims of the ledger that it checks; the tests that import what imports it; and
the quickest claims that rest on it. They run in that order until one fails, or the time is over.
"""

from __future__ import annotations

import argparse
import ast
import copy
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

#: Of the recorded sample.
SEED, COUNT, SECONDS = 20261128, 40, 150.0

ROOT = Path(__file__).parents[1]
PACKAGES = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")

_OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
_COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_CONDITIONS = (ast.If, ast.While, ast.IfExp, ast.Assert)
_DROPPED = (ast.AugAssign, ast.Raise, ast.Assert, ast.Delete, ast.Break, ast.Continue)
# Not run, or run where no test can be: what is for type checkers, and what starts a program.
_NOT_RUN = re.compile(r"TYPE_CHECKING|__name__ ==")


@dataclass(frozen=True)
class Fault:
    """A part of a file, and what is put in its place."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}  {' '.join(self.old.split())[:70]}  ->  {' '.join(self.new.split())[:70]}"


def faults_of(file: str) -> list[Fault]:
    """Return the faults that one file could have, in the order of its lines."""
    source = (ROOT / file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []

    def add(node: ast.expr | ast.stmt, new: str) -> None:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start, end = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        found.append(Fault(file, node.lineno, start, end, source[start:end].decode(), new))

    for node in _run(ast.parse(source)):
        if isinstance(node, ast.stmt):
            if _is_dropped(node):
                add(node, "pass")
        elif isinstance(node, ast.expr):
            for other in _others(node):
                add(node, f"({ast.unparse(other)})")
        if isinstance(node, _CONDITIONS):
            add(node.test, f"(not ({ast.unparse(node.test)}))")
        if isinstance(node, ast.comprehension):
            for test in node.ifs:
                add(test, f"(not ({ast.unparse(test)}))")
    return sorted(found, key=lambda fault: (fault.start, fault.end, fault.new))


def _run(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that are run: no annotation, docstring, or part of an f-string, which has no place of its own."""
    yield node
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
                continue
            if isinstance(child, ast.If) and _NOT_RUN.search(ast.unparse(child.test)):
                continue
            if isinstance(child, ast.Assign) and ast.unparse(child.targets[0]) == "__all__":
                continue
            yield from _run(child)


def _is_dropped(node: ast.stmt) -> bool:
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Assign):
        return isinstance(node.targets[0], (ast.Attribute, ast.Subscript))
    return isinstance(node, _DROPPED)


def _others(node: ast.expr) -> list[ast.expr]:
    """Return what an expression could be by mistake."""

    def changed(**parts: object) -> ast.expr:
        other = copy.copy(node)
        for name, value in parts.items():
            setattr(other, name, value)
        return other

    if isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in _OPERATORS:
        return [changed(op=_OPERATORS[type(node.op)]())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        return [node.operand]
    if isinstance(node, ast.Compare):
        return [
            changed(ops=[*node.ops[:i], _COMPARISONS[type(op)](), *node.ops[i + 1 :]]) for i, op in enumerate(node.ops)
        ]
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return [changed(value=not node.value)]
        if isinstance(node.value, (int, float)):
            return [changed(value=node.value + 1), *([changed(value=-node.value)] if node.value else [])]
    return []


def sample(seed: int) -> Iterator[Fault]:
    """Yield faults on different lines, in the order in which they are drawn."""
    lines: dict[tuple[str, int], list[Fault]] = {}
    for file in sorted(_listed(*(f"{package}/*.py" for package in PACKAGES))):
        for fault in faults_of(file):
            lines.setdefault((fault.file, fault.line), []).append(fault)
    random_ = random.Random(seed)
    places = sorted(lines)
    random_.shuffle(places)
    for place in places:
        yield random_.choice(lines[place])


def _listed(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


@cache
def _modules() -> dict[str, str]:
    """Return the file of each module of the packages, of each helper of the tests, and of each test, by name."""
    found = {}
    for file in _listed("*.py"):
        first = file.partition("/")[0]
        if first in PACKAGES or first == "tests":
            name = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            found[name.removeprefix("tests.helpers.")] = file
    return found


@cache
def _importers() -> dict[str, set[str]]:
    """Return the modules that mention each module: by an import, or as a text that is its name."""
    modules = _modules()
    found: dict[str, set[str]] = {name: set() for name in modules}
    for name, file in modules.items():
        for node in ast.walk(ast.parse((ROOT / file).read_bytes())):
            mentioned = set()
            if isinstance(node, ast.Import):
                mentioned = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                mentioned = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                mentioned = {node.value.partition(":")[0]}
            for other in mentioned & modules.keys() - {name}:
                found[other].add(name)
    return found


def related(module: str) -> list[list[str]]:
    """Return files of tests by their distance from a module, nearest first: those that import it, and so on, twice."""
    package, *_, own = module.split(".")
    layers, seen, edge = [], {module}, {module}
    mirrored = f"tests/{module.rpartition('.')[0].replace('.', '/')}/"
    for _ in range(2):
        edge = {name for each in edge for name in _importers()[each]} - seen
        seen |= edge
        tests = {_modules()[name] for name in edge if name.startswith("tests.")}
        if not layers:
            # A command is called by its name.
            tests |= {file for file in _listed("tests/*test_*.py") if file.startswith(mirrored) and own in file}
            if ".commands." in module:
                tests |= {f for f in _listed("tests/*test_*.py") if f'"{own}"' in (ROOT / f).read_text("utf-8")}
            # What is found by its name, as figures are, is imported by no one: the tests of its folder.
            tests = tests or {file for file in _listed("tests/*test_*.py") if file.startswith(mirrored)}
        new = tests - {file for layer in layers for file in layer}
        if new:
            layers.append(sorted(new, key=lambda f: (not f.startswith(mirrored), f"tests/{package}/" not in f, f)))
        edge = {name for name in edge if not name.startswith("tests.")}
    return layers


def claims_on(module: str) -> tuple[list[str], list[str]]:
    """Return the ids of the claims that a module checks, and of those that rest on it otherwise; the quickest first."""
    from theory_checks.ledger.family import find_claims

    above, edge = {module}, {module}
    while edge:
        edge = {name for each in edge for name in _importers()[each] if name.partition(".")[0] in PACKAGES} - above
        above |= edge
    claims = [claim for claim in find_claims() if claim.check_name.partition(":")[0] in above and not claim.needs]
    claims.sort(key=lambda claim: claim.seconds)
    own = [claim.id for claim in claims if claim.check_name.startswith(f"{module}:")]
    return own, [claim.id for claim in claims if claim.id not in own]


@dataclass(frozen=True)
class Outcome:
    """What became of a fault: ``killed by ...``, ``alive``, or ``alive when time was over``."""

    text: str
    seconds: float


def judge(fault: Fault, tree: Path, limit: float) -> Outcome:
    """Put a fault into the copy of the tree, run what is related until something fails, and take it out again."""
    _put_fits(tree)
    path = tree / fault.file
    right = path.read_bytes()
    path.write_bytes(right[: fault.start] + fault.new.encode() + right[fault.end :])
    began = time.monotonic()
    try:
        module = fault.file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        near, *further = ([["-m", "not slow", *files] for files in related(module)] + [[]])[:3]
        own, others = claims_on(module)
        claims = [["--claims", "-m", " or ".join(ids), "tests/test_layers.py"] for ids in (own, others[:5]) if ids]
        runs = [near, *claims[: bool(own)], *further, *claims[bool(own) :]]
        for words in filter(None, runs):
            left = limit - (time.monotonic() - began)
            if left <= 0 or (said := _pytest(words, tree, left)) is None:
                return Outcome("alive when time was over", time.monotonic() - began)
            if said:
                return Outcome(f"killed by {said}", time.monotonic() - began)
        return Outcome("alive", time.monotonic() - began)
    finally:
        path.write_bytes(right)


def _pytest(words: list[str], tree: Path, limit: float) -> str | None:
    """Run tests in the tree; return which failed, an empty text if none did, ``None`` if time was over."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        command, cwd=tree, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    ) as running:  # fmt: skip
        try:
            output, _ = running.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            return None
    if running.returncode in (0, 5):
        return ""
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", output, re.M)
    return failed[0] if failed else f"pytest, exit status {running.returncode}: {output.strip()[-200:]!r}"


def copy_of_the_tree(tree: Path) -> None:
    """Copy what git lists."""
    for file in _listed():
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, tree / file)


def _put_fits(tree: Path) -> None:
    """Give the tree the fits of this repository, which take a minute; what a fault made of them goes."""
    fits, kept = tree / "out/cache/fits", tree.parent / "fits"
    if not kept.exists():
        kept.mkdir()
        for file in (ROOT / "out/cache/fits").glob("*"):
            shutil.copy2(file, kept)
    shutil.rmtree(fits, ignore_errors=True)
    shutil.copytree(kept, fits)


def main() -> None:
    """Run a sample, and print a JSON object a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--count", type=int, default=COUNT, help="how many are drawn")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for the tests of one fault")
    parser.add_argument("--only", type=int, nargs="*", help="numbers, from 1 on, of the sample")
    parser.add_argument("--list", action="store_true", help="show the faults, and try none")
    asked = parser.parse_args()
    drawn = [fault for fault, _ in zip(sample(asked.seed), range(asked.count), strict=False)]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        if not asked.list:
            copy_of_the_tree(tree)
        for number, fault in enumerate(drawn, 1):
            if asked.only and number not in asked.only:
                continue
            if asked.list:
                print(number, fault)  # noqa: T201
                continue
            outcome = judge(fault, tree, asked.seconds)
            row = {"number": number, "fault": str(fault), "outcome": outcome.text, "seconds": round(outcome.seconds)}
            print(json.dumps(row), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
