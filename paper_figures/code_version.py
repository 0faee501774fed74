"""Which version of the code a figure's data come from: a digest of all that was imported to compute them.

The digest is of syntax trees, without comments, docstrings and layout, and without what only draws or tells, so that
a new colour or a better word does not compute anything again.
"""

from __future__ import annotations

import ast
import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

__all__ = ["code_version", "imported_files"]

_ROOT = Path(__file__).parent.parent
_TOWER = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")
_LIBRARIES = ("torch", "numpy", "scipy", "scikit-fem")

# How names begin, in a figure's own file, of what draws, of the facts of a caption, and of the figure with its texts.
_TOLD = ("draw", "facts", "missing", "FIGURE")

# They hold how things look and how data are kept, not what they are.
_LOOKS = (
    "paper_figures/style.py",
    "paper_figures/layout.py",
    "paper_figures/figure.py",
    "theory_checks/ledger/plotting.py",
)


def code_version(module: str) -> str:
    """Return the digest for the data of ``paper_figures.<name>``, given as the full name of the module."""
    own = _file(module)
    assert own is not None
    digest = hashlib.sha256()
    for library in _LIBRARIES:
        digest.update(f"{library}={version(library)}\n".encode())
    for file in sorted(imported_files(own)):
        digest.update(f"{file.relative_to(_ROOT).as_posix()}={_essence(file, told=file != own)}\n".encode())
    return digest.hexdigest()


def imported_files(own: Path) -> set[Path]:
    """Return a file with all files of the tower that it imports, directly or not, and the data beside them."""
    found: set[Path] = set()
    waiting = [own]
    while waiting:
        file = waiting.pop()
        if file in found or file.relative_to(_ROOT).as_posix() in _LOOKS:
            continue
        found.add(file)
        if file.suffix == ".py":
            waiting += [f for name in _imports(file) if (f := _file(name)) is not None]
            if file.name == "datasets.py":
                waiting += [f for f in sorted((file.parent / "data").glob("*")) if f.is_file()]
    return found


def _file(module: str) -> Path | None:
    """Return the file of a module of the tower; of ``package.name`` that is no module, the package's."""
    parts = module.split(".")
    if parts[0] not in _TOWER:
        return None
    for end in (len(parts), len(parts) - 1):
        base = _ROOT.joinpath(*parts[:end])
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if end and file.is_file():
                return file
    return None


@cache
def _imports(file: Path) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # The package too: its own imports run before those of the module.
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(names)


@cache
def _essence(file: Path, *, told: bool) -> str:
    content = file.read_bytes()
    if file.suffix == ".py":
        tree = ast.parse(content)
        if not told:
            tree.body = [node for node in tree.body if not _tells(node)]
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
                node.body = node.body[1:]
        content = ast.dump(tree).encode()
    return hashlib.sha256(content).hexdigest()


def _tells(node: ast.stmt) -> bool:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True  # what is imported is in the digest as a file
    if isinstance(node, ast.FunctionDef):
        return node.name.lstrip("_").startswith(_TOLD)
    return isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id in _TOLD for t in node.targets)
