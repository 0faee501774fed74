import re

import pytest
import sympy
from fault_cases import is_symbolic
from latex2mathml.converter import convert

from theory_checks.kernel import proofs as proofs_kernel
from theory_checks.ledger import proofs as symbolic
from theory_checks.ledger.claim import Finding, Settings, Verdict
from theory_checks.ledger.faults import find_faults, injected
from theory_checks.ledger.proofs import FIGURE, METHOD, Proof, figure, find_proofs, proofs_of, with_proofs
from theory_checks.ledger.records import Record
from theory_checks.ledger.report import render
from theory_checks.stationary import FAMILY
from theory_checks.stationary.faults import density_with_the_inverse_metric, squared_defect_without_a_factor

PROOFS = find_proofs()
FAULTS = [fault for fault in find_faults() if is_symbolic(fault)]


@pytest.mark.parametrize("proof", PROOFS, ids=lambda p: p.source.rpartition(".")[2])
def test_the_identity_reduces_to_zero(proof: Proof):
    assert proof.holds()


@pytest.fixture(scope="module")
def failing() -> dict[str, dict[str, set[str]]]:
    """The names of the proofs that fail, by fault and by claim that the fault should turn red."""
    found: dict[str, dict[str, set[str]]] = {}
    for faulty in FAULTS:
        with injected(faulty):
            found[faulty.name] = {c: {p.name for p in proofs_of(c) if not p.holds()} for c in faulty.kills}
    return found


def test_every_wrong_term_leaves_something_in_each_claim_that_it_concerns(failing):
    assert all(names for claims in failing.values() for names in claims.values())


def test_every_proof_fails_under_some_wrong_term(failing):
    broken = {name for claims in failing.values() for names in claims.values() for name in names}
    assert broken == {proof.name for proof in PROOFS}


@pytest.mark.parametrize("claim", ["K1", "K2", "K3", "H1", "H2", "S1", "S2", "S3", "C1", "C6", "A4"])
def test_the_claim_has_a_proof(claim: str):
    assert proofs_of(claim)


def test_proofs_are_told_apart_by_name_and_printed_as_formulas():
    assert len({proof.name for proof in PROOFS}) == len(PROOFS)
    for proof in PROOFS:
        markup = convert(proof.statement, display="block")
        # A command that the converter does not know stays in the page with its backslash.
        assert "\\" not in re.sub(r"&#x0005C;", "\\\\", markup), proof.name


def test_a_proof_that_fails_is_named(monkeypatch: pytest.MonkeyPatch):
    x = sympy.Symbol("x")
    wrong = Proof("a square", ("K1",), "x^2 = x^2 + 1", lambda: (x + 1) ** 2 - x**2 - 2 * x)
    right = Proof("another", ("K1",), "x = x", lambda: (x + 1) ** 2 - x**2 - 2 * x - 1)
    monkeypatch.setattr(symbolic, "find_proofs", lambda: [wrong, right])
    found = figure("K1")
    assert (found.name, found.value, found.basis) == (FIGURE, 1, "fails: a square")


def test_a_claim_without_proof_is_refused():
    with pytest.raises(ValueError, match="claim_id must be a claim with symbolic proofs, got 'Z9'"):
        figure("Z9")


def test_gram_coordinates_agree_with_vectors():
    s = sympy.Matrix([1, 2, -1])
    x = sympy.Matrix([3, 0, 5])
    gram = sympy.Matrix([[s.dot(s), s.dot(x)], [s.dot(x), x.dot(x)]])
    c = proofs_kernel.outer(sympy.Matrix([1, 0]), gram) * sympy.Matrix([2, 7])
    assert c[0] * s + c[1] * x == s * s.T * (2 * s + 7 * x)


def test_a_check_with_proofs_gains_a_figure_and_is_open_if_one_fails():
    @with_proofs("S1")
    def check(settings: Settings) -> Finding:
        return Finding(Verdict.FAILS, (), "a reading", methods=("another",))

    green = check(Settings())
    assert (green.verdict, green.figure(FIGURE).value, green.methods) == (Verdict.FAILS, 0, ("another", METHOD))
    with injected(density_with_the_inverse_metric):
        assert check(Settings()).verdict is Verdict.OPEN
    assert check.__name__ == "check"


@pytest.mark.parametrize("broken", [False, True])
def test_the_report_prints_the_identity_with_its_verdict(broken: bool):
    claim = FAMILY.claim("S3")
    record = Record(claim, Finding(Verdict.OPEN, (), "a reading"), 0.0)
    if broken:
        with injected(squared_defect_without_a_factor):
            page = render([record], Settings())
    else:
        page = render([record], Settings())
    proofs = proofs_of("S3")
    assert all(proof.source in page for proof in proofs)
    assert page.count(">proven symbolically<") == len(proofs) - (2 if broken else 0)
    assert page.count(">not an identity<") == (2 if broken else 0)
    assert convert(proofs[0].statement, display="block") in page
