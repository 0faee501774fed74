"""The public names of the packages: what is promised is there, loads when it is asked for, and is on one page."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from lml._lazy import lazy

ROOT = Path(__file__).parents[2]
PACKAGES = ("lml", "toy", "theory_checks", "image_exps")
HEAVY = {"torch", "numpy", "scipy", "diffusers", "transformers", "pandas", "sympy", "matplotlib", "sklearn"}


def imported_by(code: str) -> set[str]:
    """Return the heavy libraries that a fresh interpreter has imported after this code."""
    ask = f"{code}\nimport sys; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    return HEAVY & set(run.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_imports_nothing_heavy(package: str) -> None:
    assert imported_by(f"import {package}; dir({package})") == set()


def test_a_name_is_loaded_when_it_is_asked_for() -> None:
    assert imported_by("from lml import LML") == {"torch", "numpy"}
    assert imported_by("from theory_checks import Claim, find_claims; find_claims()") == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_and_type_checkers_see_the_same(package: str) -> None:
    module = import_module(package)
    assert sorted(module.__all__) == sorted(set(module.__all__))
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert name in dir(module)
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'nothing'"):
        module.nothing  # noqa: B018
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    # Imported at once where that is light, else when a name is asked for.
    lazily = [n.body for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    imports = [n for n in sum(lazily, tree.body) if isinstance(n, ast.ImportFrom)]
    seen = {alias.asname or alias.name: (node.module, alias.name) for node in imports for alias in node.names}
    seen = {name: origin for name, origin in seen.items() if name in module.__all__}
    own = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert set(seen) | own == set(module.__all__)
    for name, (origin, defined_as) in seen.items():
        assert getattr(module, name) is getattr(import_module(origin), defined_as)


def test_no_public_name_is_that_of_a_submodule() -> None:
    # Importing the submodule would put it in the place of the name.
    for package in PACKAGES:
        folder = ROOT / package
        below = {f.stem for f in folder.glob("*.py")} | {f.parent.name for f in folder.glob("*/__init__.py")}
        assert not below & set(import_module(package).__all__)


def test_the_page_of_the_public_names_has_all_of_them_and_no_other() -> None:
    page = (ROOT / "docs" / "api" / "public.md").read_text(encoding="utf-8")
    for package in PACKAGES:
        section = re.search(rf"^## `{package}`\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section is not None
        listed = re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (.*?) \|", section[1], re.MULTILINE)))
        assert sorted(listed) == sorted(import_module(package).__all__)


def test_names_can_be_offered_under_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("offered")
    monkeypatch.setitem(sys.modules, "offered", module)
    get, listed = lazy("offered", {"math": ("tau", "sqrt as root")})
    assert get("root")(4.0) == 2.0
    assert module.root is get("root")
    assert {"root", "tau"} <= set(listed())
    with pytest.raises(AttributeError, match="module 'offered' has no attribute 'sqrt'"):
        get("sqrt")


def test_one_claim_can_be_checked_from_python() -> None:
    import theory_checks

    with pytest.raises(ValueError, match=r"claim must be one of K1, .*, got 'Z9'"):
        theory_checks.check("Z9")
    finding = theory_checks.check("k1")
    assert isinstance(finding, theory_checks.Finding)
    assert finding.verdict is theory_checks.Verdict.HOLDS
