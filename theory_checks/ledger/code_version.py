"""Which version of the code a result comes from: a digest of all that is imported to compute it.

Import statements are followed through the project's packages, and through a user's own, from the module that computes;
nothing is imported for it. The digest is of syntax trees, without comments, docstrings, layout, declarations of claims
and functions that draw: a new colour or a better word computes nothing again. Data files that a module names are in it
as bytes, other libraries as versions.
"""

from __future__ import annotations

import ast
import gc
import hashlib
import sys
import threading
from collections.abc import Collection, Iterable
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

__all__ = ["PACKAGES", "code_version", "imported_files"]

#: The project's packages, lowest layer first.
PACKAGES = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")

#: Modules that hold how things look and what is said on the way, not what they are.
LOOKS = ("theory_checks.ledger.plotting", "theory_checks.ledger.progress")

_IGNORED_DATA = {".py", ".pyc", ".md", ".ipynb", ".jinja", ".typed"}


_PARSING = threading.Lock()


def code_version(
    modules: str | Iterable[str], *, looks: Collection[str] = (), shown_by: tuple[str, ...] = ("draw",)
) -> str:
    """Return a digest of the code that modules run.

    Args:
        modules: full names; the first computes the result. ``__main__`` is the script that runs.
        looks: full names of modules left out, beside `LOOKS`.
        shown_by: names of functions and constants of the first module that only show a result, and what begins with
            one of them and an underscore.

    Raises:
        ValueError: for a module that has no file: its code cannot be known.
    """
    names = (modules,) if isinstance(modules, str) else tuple(modules)
    files, libraries = _follow(names, frozenset((*LOOKS, *looks)))
    first = _file(names[0], frozenset(name.partition(".")[0] for name in names))
    digest = hashlib.sha256()
    for library in sorted(libraries):
        digest.update(f"{library}={_version(library)}\n".encode())
    for place, file in sorted(files.items()):
        digest.update(f"{place}={_essence(file, shown_by if file == first else ())}\n".encode())
    return digest.hexdigest()


def imported_files(*modules: str, looks: Collection[str] = ()) -> set[Path]:
    """Return the files of modules with all that they import, directly or not, and the data that those name."""
    return set(_follow(modules, frozenset((*LOOKS, *looks)))[0].values())


@cache
def _follow(modules: tuple[str, ...], looks: frozenset[str]) -> tuple[dict[str, Path], set[str]]:
    """Return files by their place below the folder that holds their package, and the distributions imported."""
    own = frozenset(name.partition(".")[0] for name in modules)
    found: dict[str, Path] = {}
    libraries: set[str] = set()
    waiting = list(modules)
    left_out = {_file(name, own) for name in looks} - {None}
    for name in modules:
        if _file(name, own) is None:
            raise ValueError(f"modules must have a file, so that their code can be known, got {name!r}")
    while waiting:
        name = waiting.pop()
        file, package = _file(name, own), name.partition(".")[0]
        if file is None:
            libraries.update(_distributions().get(package, ()))
            continue
        top = file.parents[len(_module_of(file)) - (file.name != "__init__.py")]
        if file in left_out or file.relative_to(top).as_posix() in found:
            continue
        waiting += _imports(file, own)
        for part in (file, *_data(file)):
            found[part.relative_to(top).as_posix()] = part
    return found, libraries


@cache
def _distributions() -> dict[str, list[str]]:
    return {name: found for name, found in packages_distributions().items() if name not in PACKAGES}


@cache
def _file(module: str, own: frozenset[str]) -> Path | None:
    """Return the file of a module whose code is followed; of ``package.name`` that is no module, the package's.

    Followed are the project's packages, those of the modules that were asked for, and what belongs to no distribution.
    """
    top, *rest = module.split(".")
    if top in sys.stdlib_module_names or (top in _distributions() and top not in own):
        return None
    try:
        spec = find_spec(top)
    except ValueError:  # what was made by hand, and __main__
        spec = None
    if spec is None or not spec.has_location or not spec.origin:
        loaded = getattr(sys.modules.get(module), "__file__", None) if top in own else None
        return Path(loaded).resolve() if loaded else None
    if not spec.submodule_search_locations:
        return Path(spec.origin)
    for end in (len(rest), len(rest) - 1, 0):
        base = Path(spec.origin).parent.joinpath(*rest[: max(end, 0)])
        for file in (base.with_suffix(".py"), base / "__init__.py") if end > 0 else (base / "__init__.py",):
            if file.is_file():
                return file
    return None


@cache
def _module_of(file: Path) -> tuple[str, ...]:
    """Return the parts of a file's full name: as many folders above it hold an ``__init__.py``."""
    parts = [] if file.name == "__init__.py" else [file.stem]
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        parts.insert(0, folder.name)
    return tuple(parts)


def _tree(file: Path) -> ast.Module:
    """Return the syntax tree of a file.

    CPython 3.11 counts the depth of all trees that are being built in one place: another thread, or a finaliser that
    the garbage collector runs meanwhile, makes it raise a SystemError.
    """
    with _PARSING:
        collecting = gc.isenabled()
        gc.disable()
        try:
            return ast.parse(file.read_bytes())
        finally:
            if collecting:
                gc.enable()


@cache
def _nodes(file: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file's syntax tree, the module first."""
    return tuple(ast.walk(_tree(file)))


_version = cache(version)


@cache
def _imports(file: Path, own: frozenset[str]) -> tuple[str, ...]:
    names: list[str] = []
    package = _module_of(file) if file.name == "__init__.py" else _module_of(file)[:-1]
    lazy = any("__getattr__" in (getattr(n, "name", ""), getattr(n, "id", "")) for n in _nodes(file))
    for node in _nodes(file):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # The package too: its own imports run before those of the module.
            names += [base, *(f"{base}.{alias.name}" for alias in node.names)]
        elif lazy and isinstance(node, ast.Constant) and isinstance(node.value, str):
            # A module that defines __getattr__ imports what its strings name.
            name = ".".join(package) + node.value if node.value.startswith(".") else node.value
            names += [name] if name.replace(".", "").isidentifier() and _file(name, own) is not None else []
    return tuple(names)


@cache
def _data(file: Path) -> tuple[Path, ...]:
    """Return the data that a module reads from beside itself: the files or folders that it names, or all there."""
    names = {n.id for n in _nodes(file) if isinstance(n, ast.Name)}
    if not names & {"__file__", "files"}:
        return ()
    texts = {n.value for n in _nodes(file) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    beside = [path for path in file.parent.iterdir() if path.name in texts]
    data = [f for path in (beside or [file.parent]) for f in ([path] if path.is_file() else path.rglob("*"))]
    return tuple(sorted(f for f in data if f.is_file() and f.suffix not in _IGNORED_DATA))


@cache
def _essence(file: Path, shown_by: tuple[str, ...]) -> str:
    """Return the digest of a file: of its bytes, or, for code, of what it computes."""
    if file.suffix != ".py":
        return hashlib.sha256(file.read_bytes()).hexdigest()
    tree = _tree(file)
    tree.body = [node for node in tree.body if not _declares(node) and not _shows(node, shown_by)]
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def _declares(node: ast.stmt) -> bool:
    """Whether a statement declares claims or a family of them: what is said of a check, not what it does."""
    if not isinstance(node, ast.Assign):
        return False
    values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
    calls = [v.func.id for v in values if isinstance(v, ast.Call) and isinstance(v.func, ast.Name)]
    return bool(values) and len(calls) == len(values) and set(calls) <= {"Claim", "Family"}


def _shows(node: ast.stmt, shown_by: tuple[str, ...]) -> bool:
    """Whether a statement of the module that computes only shows the result, or imports: files are in the digest."""
    if not shown_by:
        return False
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    names = [node.name] if isinstance(node, ast.FunctionDef) else []
    if isinstance(node, ast.Assign):
        names = [target.id for target in node.targets if isinstance(target, ast.Name)]
    return any(name.lstrip("_") == s or name.lstrip("_").startswith(f"{s}_") for name in names for s in shown_by)
