"""The referee's kit: a page for every claim that fails or is corrected, which uses NumPy and nothing of ours."""

import ast
import runpy
from pathlib import Path

import pytest

from theory_checks.ledger.claim import Verdict
from theory_checks.ledger.family import find_claims

PAGES = sorted((Path(__file__).parents[1] / "examples/referee").glob("*.py"))
CLAIMS = {claim.id: claim for claim in find_claims()}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_runs_and_says_what_it_found(page, capsys):
    runpy.run_path(str(page), run_name="__main__")
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_names_its_claim_with_the_verdict_its_command_and_the_reading(page):
    text = ast.get_docstring(ast.parse(page.read_text(encoding="utf-8")))
    assert text.startswith(f"Claim {page.stem}, {CLAIMS[page.stem].expected}")
    assert f"python examples/referee/{page.name}" in text
    assert "Reading: " in text


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_uses_numpy_alone_and_can_fail(page):
    tree = ast.parse(page.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported <= {"numpy", "itertools"}
    assert any(isinstance(node, ast.Assert) for node in ast.walk(tree))


def test_every_claim_that_fails_or_is_corrected_has_a_page():
    # L is about what this package's own solvers promise: there is nothing of the paper's to show without them.
    of_the_paper = [claim for claim in CLAIMS.values() if not claim.id.startswith("L")]
    wanted = {claim.id for claim in of_the_paper if claim.expected in (Verdict.FAILS, Verdict.CORRECTED)}
    assert wanted <= {page.stem for page in PAGES}
