"""The command that injects every fault: two that die, one that changes nothing, and a check that is red anyway."""

import json

import pytest
from click.testing import CliRunner

from theory_checks.ledger import mutation
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import Fault, find_faults
from theory_checks.ledger.mutation import judge, main, plan

TWO = ("share_of_the_norm_instead_of_its_square", "share_of_the_mean_square")
CLAIMS = {claim.id: claim for claim in find_claims()}
BY_NAME = {fault.name: fault for fault in find_faults()}
#: Its replacement is the right formula: no check can see it.
NOTHING = Fault("nothing", "A fault that is none.", "lml.correction:damping_of", lambda original: original, ("K7",))


def run(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


def raising(original):
    def damping_of(*arguments, **options):
        raise ZeroDivisionError("no formula at all")

    return damping_of


def test_two_faults_die_and_the_table_says_what_killed_them(tmp_path):
    result = run("--fault", TWO[0], "--fault", TWO[1], "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 of 2 faults die." in result.output
    rows = json.loads((tmp_path / "out/mutation.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [row["fault"] for row in rows] == [None, *TWO]
    assert all(row["passed"] and row["claim"] == "K7" and row["seconds"] > 0 for row in rows)
    assert rows[0]["found"] == rows[0]["expected"]
    assert all(row["found"] != row["expected"] and row["where"] == "lml.correction:damping_of" for row in rows[1:])
    text = (tmp_path / "out/mutation.txt").read_text(encoding="utf-8")
    assert text.rstrip().endswith("2 of 2 faults die.")
    assert all(name in text for name in TWO)
    assert "\x1b" not in text
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mutation.json", "mutation.txt"}


def test_a_fault_that_survives_is_named_and_makes_the_exit_status_1(tmp_path, monkeypatch):
    monkeypatch.setattr(mutation, "find_faults", lambda: [BY_NAME[TWO[0]], NOTHING])
    result = run("--out", tmp_path)
    assert result.exit_code == 1
    assert "1 of 2 faults die." in result.output
    assert "SURVIVES K7: HOLDS (nothing in lml.correction:damping_of)" in result.output
    assert [row["passed"] for row in json.loads((tmp_path / "mutation.json").read_text())] == [True, True, False]


def test_a_check_that_raises_has_not_seen_the_fault():
    trial = judge(Fault("raising", "No formula.", "lml.correction:damping_of", raising, ("K7",)), CLAIMS["K7"])
    assert not trial.passed
    assert "the check raised an error" in trial.outcome
    assert "no formula at all" in trial.record.error


def test_a_check_that_is_red_on_the_right_code_makes_the_exit_status_1(tmp_path, monkeypatch):
    monkeypatch.setattr("lml.correction.damping_of", raising(None))
    result = run("--fault", TWO[0], "--out", tmp_path)
    assert result.exit_code == 1
    assert "RED WITHOUT A FAULT: the check raised an error (K7)" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--fault", "no_such_fault"), "fault must be one of"),
        (("--claim", "Z9"), "claim must be one of"),
        (("--claim", "K1", "--fault", TWO[0]), "a fault must be injected for one of K1"),
    ],
)
def test_a_bad_argument_is_refused_before_any_work(arguments, message, tmp_path):
    result = run(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_every_injected_fault_is_planned_behind_the_right_code_of_its_claim():
    seeds = plan(list(CLAIMS.values()), find_faults())
    pairs = [(fault.name, claim.id) for fault, claim in seeds if fault]
    assert sorted(pairs) == sorted((fault.name, claim) for fault in find_faults() for claim in fault.kills)
    first = {}
    for fault, claim in seeds:
        first.setdefault(claim.id, fault)
    assert set(first.values()) == {None}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("lost", "Of no claim.", "lml.kernel:lml_direction", lambda right: right, ("Z9",)), "published claims"),
        (Fault("lost", "Of no formula.", "lml.kernel:lml_diversion", lambda right: right, ("K7",)), "no lml_diversion"),
    ],
)
def test_a_fault_of_no_claim_or_of_no_formula_is_refused(fault, message):
    with pytest.raises(ValueError, match=message):
        plan([CLAIMS["K7"]], [fault])
