import math
import re
from pathlib import Path

import pytest
from fault_cases import is_symbolic, kills

from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import Fault, find_faults, find_reduced, injected
from theory_checks.ledger.mutation import judge

TESTS = Path(__file__).parents[2]
CLAIMS = {claim.id: claim for claim in find_claims()}
#: Claims whose faults are injected here; those of the others beside the tests of their checks.
JUDGED = (
    *("K1", "K2", "K3", "K4", "H1", "H2", "H3", "H4", "H5", "H6"),
    *("S1", "S1b", "S2", "S3", "S5", "S6", "C1", "C3", "C4", "C6", "C7", "C8", "C9", "C10"),
)
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills(*JUDGED)]


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_its_check_red(fault, claim):
    trial = judge(fault, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.parametrize("claim", JUDGED)
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_has_at_least_two_faults(claim):
    assert sum(claim in fault.kills for fault in find_faults()) >= 2


def test_the_first_claims_are_published():
    expected = "K1 K2 K3 K4 K5 H1 H2 H3 H4 H5 S1 S2 S3 S5 C1 C3 C4 C6 C7 A3"
    assert set(expected.split()) <= set(CLAIMS)


def test_every_fault_is_described_of_a_published_claim_and_named_once():
    found = find_faults()
    assert all(fault.description for fault in found)
    assert {claim for fault in found for claim in fault.kills} <= set(CLAIMS)
    kills = [(fault.name, claim) for fault in found for claim in fault.kills]
    assert len(kills) == len(set(kills))
    assert set(find_reduced()) <= set(CLAIMS)


def test_the_faults_of_every_claim_are_injected_in_some_test():
    calls = re.findall(r"(?:kills|faults_of)\(([^()]*)\)", "".join(p.read_text() for p in TESTS.rglob("test_*.py")))
    injected_elsewhere = {claim for call in calls for claim in re.findall(r'"(\w+)"', call)}
    assert {claim for fault in find_faults() for claim in fault.kills} <= {*JUDGED, *injected_elsewhere}


def test_every_symbolic_fault_has_a_proof_that_it_can_break():
    assert sum(is_symbolic(fault) for fault in find_faults()) >= 26


def test_a_package_publishes_faults_beside_its_claims():
    assert any(fault.target.startswith("image_exps.") for fault in find_faults())


def test_a_fault_is_in_place_inside_the_block_only_and_is_removed_by_an_error():
    right = math.floor
    wrong = Fault("wrong", "", "math:floor", lambda original: math.ceil, ("K1",))

    def fail_inside() -> None:
        with injected(wrong):
            assert math.floor(0.5) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert math.floor is right


def test_a_fault_whose_target_was_renamed_is_refused():
    gone = Fault("gone", "", "lml.kernel:lml_diversion", lambda original: original, ("K1",))
    with pytest.raises(ValueError, match=r"lml\.kernel defines no lml_diversion"), injected(gone):
        pass


@pytest.mark.parametrize(("target", "kills"), [("lml.kernel", ("K1",)), (":x", ("K1",)), ("lml.kernel:x", ())])
def test_a_fault_without_target_or_claim_is_refused(target, kills):
    with pytest.raises(ValueError, match="must"):
        Fault("fault", "", target, lambda original: original, kills)
