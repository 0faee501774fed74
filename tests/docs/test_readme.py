"""The README is one page: its two commands, a snippet that runs, the propositions, and links that lead somewhere."""

import re
import sys
from pathlib import Path

import pytest

from theory_checks.ledger.claim import Verdict
from theory_checks.ledger.family import find_claims

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "docs"))
import which_sampler  # noqa: E402


def test_it_is_one_page():
    assert len(README.splitlines()) <= 150
    assert len(README.split()) <= 1200


def test_it_has_the_two_commands():
    assert re.search(r"^make verify ", README, re.M)
    assert re.search(r"^make test ", README, re.M)


def test_its_propositions_name_claims_and_every_failure_is_said():
    rows = re.findall(r"^\| (?!The paper says|---)(.*) \| (.*) \| (.*) \|$", README, re.M)
    claims = {claim.id: claim for claim in find_claims()}
    assert len(rows) == 8
    for _, finding, named in rows:
        verdicts = {claims[each].expected for each in named.split(", ")}
        assert ("fails as written" in finding) == (Verdict.FAILS in verdicts)


@pytest.mark.parametrize("page", which_sampler.PAGES, ids=lambda path: path.name)
def test_which_sampler_is_what_the_league_answers(page):
    text = page.read_text(encoding="utf-8")
    assert which_sampler.with_lines(text) == text, "run: python docs/which_sampler.py"
    (lines,) = re.findall(r"<!-- which-sampler: begin -->\n(.*?)<!-- which-sampler: end -->", text, re.S)
    assert len(re.findall(r"^- ", lines, re.M)) == 7
