"""The pages of explanation: every sentence of advice has its claim, and the table is the theory's."""

import re
from pathlib import Path

import pytest

from theory_checks.annealing.stability import SOLVERS, guidance_limit
from theory_checks.ledger.family import find_claims

FOLDER = Path(__file__).parents[2] / "docs/explanation"
PAGES = sorted(FOLDER.glob("*.md"))
ADVICE = (FOLDER / "theory-for-practitioners.md").read_text(encoding="utf-8")
HALF_RANGE = 10


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_link_is_to_a_claim(page):
    linked = re.findall(r"\[(\w+)\]\(\.\./ledger/(\w+)\.md\)", page.read_text(encoding="utf-8"))
    assert linked
    assert all(shown == target for shown, target in linked)
    assert {shown for shown, _ in linked} <= {claim.id for claim in find_claims()}


def test_every_sentence_of_advice_has_its_claim():
    items = re.findall(r"^- (.*?)(?=\n- |\n\n|\Z)", ADVICE, re.M | re.S)
    assert len(items) > 15
    assert [item for item in items if "../ledger/" not in item] == []


def test_the_table_of_guidance_is_the_derived_one():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ADVICE.splitlines() if line[:1] == "|"]
    names = rows[0][1:]
    assert set(names) <= set(SOLVERS)
    for steps, *shown in rows[2:]:
        expected = [f"{guidance_limit(SOLVERS[name], HALF_RANGE / int(steps)):.1f}" for name in names]
        assert shown == expected
