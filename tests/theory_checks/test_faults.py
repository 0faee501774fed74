import math

import pytest

from theory_checks import faults, faults_hessian, faults_kernel
from theory_checks.faults import Fault, seeded
from theory_checks.hessian import CLAIMS as HESSIAN
from theory_checks.hessian_bound import CLAIMS as BOUND
from theory_checks.kernel import CLAIMS as KERNEL
from theory_checks.ledger import Finding, Settings
from theory_checks.precision import CLAIMS as PRECISION

CLAIMS = {claim.id: claim for claim in (*KERNEL, *PRECISION, *HESSIAN, *BOUND)}
FAULTS = [
    value for module in (faults_kernel, faults_hessian) for value in vars(module).values() if isinstance(value, Fault)
]
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault in FAULTS for claim in fault.kills]


def run(claim: str) -> Finding:
    reduced = {**faults_kernel.REDUCED, **faults_hessian.REDUCED}
    return reduced.get(claim, CLAIMS[claim].check)(Settings())


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_a_seeded_fault_turns_its_check_red(fault, claim):
    with seeded(fault):
        finding = run(claim)
    assert finding.verdict is not CLAIMS[claim].expected


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_reduced_check_is_green_without_a_fault(claim):
    assert run(claim).verdict is CLAIMS[claim].expected


@pytest.mark.parametrize("claim", CLAIMS)
def test_every_claim_has_at_least_two_faults(claim):
    assert sum(claim in fault.kills for fault in FAULTS) >= 2


def test_every_fault_is_described_and_found():
    assert all(fault.description for fault in FAULTS)
    assert {fault.name for fault in FAULTS} <= {fault.name for fault in faults.find_faults()}
    assert {"K4", "H1", "H2", "H3", "H4", "H5"} <= set(faults.find_reduced())


def test_a_fault_is_in_place_inside_the_block_only_and_is_removed_by_an_error():
    right = math.floor
    wrong = Fault("wrong", "", "math:floor", lambda original: math.ceil, ("K1",))

    def fail_inside() -> None:
        with seeded(wrong):
            assert math.floor(0.5) == 1
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_inside()
    assert math.floor is right


def test_a_fault_whose_target_was_renamed_is_refused():
    gone = Fault("gone", "", "lml.kernel:lml_diversion", lambda original: original, ("K1",))
    with pytest.raises(ValueError, match=r"lml\.kernel defines no lml_diversion"), seeded(gone):
        pass


@pytest.mark.parametrize(("target", "kills"), [("lml.kernel", ("K1",)), (":x", ("K1",)), ("lml.kernel:x", ())])
def test_a_fault_without_target_or_claim_is_refused(target, kills):
    with pytest.raises(ValueError, match="must"):
        Fault("fault", "", target, lambda original: original, kills)
