"""The plug-in in a pytest of its own: claims are items, with ids as markers and figures in the report."""

import subprocess
import sys

import pytest


def run(folder, *arguments):
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_one_claim_is_chosen_by_its_id_and_its_figure_is_in_the_report(tmp_path):
    done = run(tmp_path, "--claims", "-m", "K3", "--strict-markers")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "K3    HOLDS" in done.stdout


def test_every_claim_of_the_ledger_is_collected(tmp_path):
    from theory_checks.ledger.family import find_claims

    done = run(tmp_path, "--claims", "--collect-only")
    assert all(f"claims::{claim.id}" in done.stdout for claim in find_claims())


def test_without_the_option_there_are_none_and_the_ledger_is_not_imported(tmp_path):
    body = "import sys\n\n\ndef test_it():\n    assert not {'torch', 'theory_checks.ledger'} & set(sys.modules)\n"
    (tmp_path / "test_nothing.py").write_text(body)
    done = run(tmp_path)
    assert "1 passed" in done.stdout, done.stdout


def test_a_claim_with_another_verdict_fails_with_its_figure(monkeypatch):
    from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict
    from theory_checks.ledger.records import Record
    from theory_checks.pytest_plugin import ClaimError, ClaimItem

    claim = Claim("K3", "s", source="x", expected=Verdict.HOLDS, check="theory_checks.kernel.direction:check_identity")
    finding = Finding(Verdict.FAILS, (Measured("gap", 2.0, limit=1.0),), reading="r")
    monkeypatch.setattr("theory_checks.ledger.single_check.run_one", lambda c, s: Record(c, finding, 0.0))
    item = object.__new__(ClaimItem)
    item.claim, item.settings, item.user_properties = claim, Settings(), []
    with pytest.raises(ClaimError, match=r"found FAILS, expected HOLDS; gap: 2 \(limit 1\)"):
        item.runtest()
