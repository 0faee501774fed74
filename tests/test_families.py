"""Families of claims never import each other, and what they share never imports a family."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = (*(f"theory_checks.{n}" for n in ("kernel", "hessian", "stationary", "convergence", "annealing")),
            "image_exps.claims")  # fmt: skip
SHARED = ("theory_checks.ledger", "theory_checks.numerics", "theory_checks.command_line")


def files_of(package: str) -> list[Path]:
    return sorted((ROOT / package.replace(".", "/")).rglob("*.py"))


def mentioned(source: str) -> set[str]:
    """Return the full names of modules that code imports, or names as ``"module:function"`` or as a family's module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import hides which family is meant"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names |= set(re.findall(r"^([a-z_]+(?:\.\w+)+)(?::[\w.]+)?$", node.value))
    return names


def families_in(source: str) -> set[str]:
    return {family for family in FAMILIES for name in mentioned(source) if f"{name}.".startswith(f"{family}.")}


@pytest.mark.parametrize(
    "source",
    [
        "import theory_checks.kernel.direction",
        "from theory_checks.kernel import direction",
        "from theory_checks import kernel",
        "def f():\n  from theory_checks.kernel.faults import REDUCED",
        "check = 'theory_checks.kernel.direction:check_identity'",
        "faults = ('theory_checks.kernel.faults',)",
    ],
)
def test_every_mention_of_a_family_is_seen(source):
    assert families_in(source) == {"theory_checks.kernel"}


def test_a_family_in_prose_is_no_import():
    assert not families_in('"""See `theory_checks.kernel.proofs`, and the kernel."""\nimport theory_checks.kernels')


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_mentions_itself_alone(family):
    found = {file.name: families_in(file.read_text(encoding="utf-8")) for file in files_of(family)}
    assert {file: others for file, others in found.items() if others - {family}} == {}


@pytest.mark.parametrize("package", SHARED)
def test_what_families_share_mentions_none(package):
    found = {file.name: families_in(file.read_text(encoding="utf-8")) for file in files_of(package)}
    assert {file: families for file, families in found.items() if families} == {}


def test_every_folder_of_theory_checks_is_a_family_or_shared():
    folders = {f"theory_checks.{p.name}" for p in (ROOT / "theory_checks").iterdir() if (p / "__init__.py").is_file()}
    assert folders <= {*(f for f in FAMILIES if f.startswith("theory_checks.")), *SHARED, "theory_checks.notebooks"}


def test_faults_stand_beside_the_claims_that_they_turn_red():
    found = [str(file.relative_to(ROOT)) for package in SHARED for file in files_of(package) if "faults" in file.name]
    assert found == ["theory_checks/ledger/faults.py"]
