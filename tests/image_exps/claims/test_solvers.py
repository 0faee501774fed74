"""Claims L3 and L4: the injected faults, and what their figures are made of."""

import numpy as np
import pytest
from fault_cases import kills

from image_exps.claims import FAMILY
from image_exps.claims.solver_choice import Cell, draw_choice
from theory_checks.ledger.claim import Finding, Verdict
from theory_checks.ledger.mutation import judge
from theory_checks.ledger.plotting import drawn


@pytest.mark.parametrize("claim", ["L3", "L4"])
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.parametrize(("fault", "claim"), [pytest.param(*pair, id=pair[0].name) for pair in kills("L3", "L4")])
def test_an_injected_fault_turns_the_check_red(fault, claim):
    trial = judge(fault, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


def test_a_ratio_of_the_choice_is_of_the_second_half_alone():
    rng = np.random.default_rng(2)
    fixed = 1 + rng.random(200)
    ours = np.concatenate((fixed[:100] * 9, fixed[100:] * 2))
    value, error = Cell("t", "linear", 5, "m", ours, {"f": fixed}, 0.0).ratio("f")
    assert value == pytest.approx(2)
    assert error == pytest.approx(0, abs=1e-12)


def test_the_picture_of_the_choice_has_a_row_a_cell():
    data = {"cell": np.array(["a", "b"]), "method": np.array(["m", "m"]), "fixed": np.array(["f"]),
            "ratio": np.array([0.8, 3.0]), "error": np.array([0.01, 0.1])}  # fmt: skip
    axis = drawn(draw_choice, Finding(Verdict.FAILS, (), "", data=data)).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a: m", "b: m"]
