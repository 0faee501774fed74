"""The layers: lml, on it toy, theory_checks, image_exps, paper_figures; nothing imports upward."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("lml", "toy", "theory_checks", "image_exps", "paper_figures")
FILES = sorted(file for package in LAYERS for file in (ROOT / package).rglob("*.py"))


def name_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(file): file for file in FILES}


def imported(tree: ast.AST, module: str, *, is_package: bool) -> set[str]:
    """Return the full names that the import statements of a module mention, at its top or inside a function."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])])
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def imports_of(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return imported(tree, name_of(file), is_package=file.name == "__init__.py")


def names(files: list[Path]) -> list[str]:
    return [str(file.relative_to(ROOT)) for file in files]


@pytest.mark.parametrize(
    ("source", "module", "is_package", "expected"),
    [
        ("import a.b as c", "lml.x", False, {"a.b"}),
        ("from a import b, c", "lml.x", False, {"a.b", "a.c"}),
        ("from . import b", "lml.x", False, {"lml.b"}),
        ("from .b import c", "lml", True, {"lml.b.c"}),
        ("from ..b import c", "lml.x.y", False, {"lml.b.c"}),
        ("def f():\n  import toy", "lml.x", False, {"toy"}),
    ],
)
def test_every_form_of_import_is_seen(source, module, is_package, expected):
    assert imported(ast.parse(source), module, is_package=is_package) == expected


@pytest.mark.parametrize("file", FILES, ids=names(FILES))
def test_nothing_imports_upward(file):
    layer = LAYERS.index(file.relative_to(ROOT).parts[0])
    above = {name for name in imports_of(file) if name.partition(".")[0] in LAYERS[layer + 1 :]}
    assert not above


LML = [file for file in FILES if file.relative_to(ROOT).parts[0] == "lml"]


@pytest.mark.parametrize("file", LML, ids=names(LML))
def test_the_method_needs_torch_alone_and_diffusers_for_its_schedulers(file):
    allowed = {"torch", "lml"}
    if "schedulers" in file.relative_to(ROOT).parts:
        allowed |= {"diffusers"}
    if file.name == "_rotation_triton.py":  # imported on a GPU alone, and only where Triton is
        allowed |= {"triton"}
    # The weights of its small networks, and what a calibration has made so far.
    if file.relative_to(ROOT).parts[1:] in {("solver", "networks.py"), ("solver", "stages.py")}:
        allowed |= {"safetensors"}
    import sys

    others = {name.partition(".")[0] for name in imports_of(file)} - allowed - sys.stdlib_module_names
    assert not others


def test_no_module_imports_itself_by_way_of_others():
    def module_of(name: str) -> str | None:
        parts = name.split(".")
        return next((m for n in range(len(parts), 0, -1) if (m := ".".join(parts[:n])) in MODULES), None)

    graph = {}
    for name, file in MODULES.items():
        # A package's __init__ gathers its modules: what imports a name of the package itself needs that one only.
        graph[name] = {m for i in imports_of(file) if (m := module_of(i)) is not None and m != name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"cycle: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("file", FILES, ids=names(FILES))
def test_no_file_is_longer_than_400_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 400
