"""The report: groups, verdicts that differ without colour, sentences, and pictures for a phone."""

import re

import numpy as np
import pytest

from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
from theory_checks.ledger.family import find_claims, find_families
from theory_checks.ledger.plotting import on_a_phone, panels
from theory_checks.ledger.records import Record
from theory_checks.ledger.report import render, render_claim


def check(settings):
    raise NotImplementedError


def draw(finding):
    figure, axes = panels(3, rows=2, width=2.5)
    for axis in axes:
        axis.plot(finding.data["x"])
    return figure


def record(claim_id, verdict=Verdict.HOLDS, **options):
    claim = Claim(claim_id, "a statement", "ours", verdict, check, draw=draw, **options)
    figure = Measured("error over its bound", 0.25, limit=1.0)
    return Record(claim, Finding(verdict, (figure,), "a reading", data={"x": np.arange(3.0)}), 0.1)


def test_claims_are_grouped_by_family_and_those_of_none_come_last():
    page = render([record("X1"), record("K1"), record("H1")], Settings())
    titles = re.findall(r"<h2>([^<]+)</h2>", page)
    assert titles == ["The direction of Algorithm 1", "The Hessian: Propositions 1 and 2", "Other claims"]
    assert {family.title for family in find_families() if family.name in ("kernel", "hessian")} == set(titles[:2])


def test_verdicts_have_each_a_sign_of_their_own():
    page = render([record(f"X{i}", verdict) for i, verdict in enumerate(Verdict)], Settings())
    signs = re.findall(r'<span class="badge (\w+)"><i aria-hidden="true">(.+?)</i>', page)
    assert len({name for name, _ in signs}) == len({sign for _, sign in signs}) == len(Verdict)


def test_what_was_found_is_a_sentence_or_else_the_figure_and_its_name():
    with_words = record("X1", in_words="It is {value:.0%} of {limit:g}.")
    assert with_words.claim.decisive(with_words.finding) == "It is 25% of 1."
    without, broken = record("X2"), record("X3", in_words="{low:.2f}")
    for each in (without, broken):
        assert each.claim.decisive(each.finding) == "error over its bound: 0.25 (limit 1)"
    assert "It is 25% of 1." in render([with_words], Settings())
    assert without.claim.decisive(Finding(Verdict.OPEN, (), "none")) == ""


@pytest.mark.parametrize("claim", find_claims(), ids=lambda claim: claim.id)
def test_every_claim_here_says_in_words_what_was_found(claim):
    figure = Measured("x", 0.5, limit=1.0, low=0.4, high=0.6)
    said = claim.decisive(Finding(Verdict.HOLDS, (figure,), "a reading"))
    assert claim.in_words
    assert re.fullmatch(r"[A-Z0-9].*\.", said)
    assert re.search(r"\d", said)
    assert "x:" not in said


def test_a_picture_for_a_phone_has_its_panels_below_each_other():
    page = render_claim(record("X1"), Settings())
    pictures = re.findall(r'class="picture (wide|phone)">\s*(<svg[^>]*>)', page)
    assert [name for name, _ in pictures] == ["wide", "phone"]
    wide, phone = (float(re.search(r'width="([\d.]+)pt"', tag)[1]) for _, tag in pictures)
    assert wide == 72 * 7.5
    assert phone == 72 * 3.5
    with on_a_phone():
        figure, axes = panels(3, rows=2, width=2.5)
    assert axes.shape == (6,)
    assert figure.get_figwidth() == 3.5
    assert len({axis.get_subplotspec().colspan.start for axis in axes}) == 1
    assert panels(3, rows=2, width=2.5)[0].get_figwidth() == 7.5


def test_a_report_of_a_users_claims_does_not_speak_for_this_repository():
    page = render([record("X1")], Settings())
    assert "Every verdict is the expected one." in page
    assert "repository" not in page
