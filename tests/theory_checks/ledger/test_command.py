import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from theory_checks.__main__ import main


def run(*arguments, workers=1):
    return CliRunner().invoke(main, [str(a) for a in arguments] + ["--workers", str(workers)])


def test_list_names_every_claim_and_checks_none(install, calls):
    install()
    result = run("--list")
    assert result.exit_code == 0
    assert re.search(r"^Z1 .*the first", result.output, re.M)
    assert "[0, 1)" in result.output
    assert calls() == []


def test_an_unknown_claim_is_an_error_that_names_it(install, tmp_path):
    install()
    result = run("--claim", "Q9", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "claim must be one of Z1, Z2, got 'Q9'" in result.output
    assert not (tmp_path / "out").exists()


def test_a_broken_plugin_is_an_error_that_names_it(install):
    install("CLAIMS")
    result = run("--list")
    assert result.exit_code == 2
    assert "must export a theory_checks.ledger.family.Family, got tuple" in " ".join(result.output.split())


def test_the_ledger_runs_the_claims_of_a_users_package(install, calls, tmp_path):
    install()
    result = run("--out", tmp_path)
    assert result.exit_code == 0, result.output
    assert calls() == ["Z1", "Z2"]
    rows = json.loads((tmp_path / "ledger.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert [row["claim"] for row in rows] == ["Z1", "Z2"]
    assert [row["verdict"] for row in rows] == ["HOLDS", "OPEN"]
    assert all(row["seconds"] >= 0 for row in rows)
    assert rows[0]["figures"][0] == {
        "name": "half", "value": 0.5, "limit": 1, "low": None, "high": None, "unit": "", "basis": "by hand"
    }  # fmt: skip
    assert rows[1]["figures"][0]["value"] is None
    assert rows[1]["counterexample"] == {"x": [None, 1.0]}
    text = (tmp_path / "ledger.txt").read_text(encoding="utf-8")
    assert re.search(r"^Z1 +the first +HOLDS +0.5 \(limit 1\): half +0.0", text, re.M)
    assert "Every verdict is the one that this repository stands for." in text
    assert "\x1b" not in text


def test_workers_find_the_same_in_the_same_order(install, calls, tmp_path):
    install()
    assert run("--out", tmp_path / "one").exit_code == 0
    result = run("--out", tmp_path / "two", workers=2)
    assert result.exit_code == 0, result.output
    assert sorted(calls()) == ["Z1", "Z1", "Z2", "Z2"]
    one, two = (json.loads((tmp_path / name / "ledger.json").read_text()) for name in ("one", "two"))
    assert [{**row, "seconds": 0} for row in one] == [{**row, "seconds": 0} for row in two]


def test_an_interruption_in_a_worker_is_one_of_the_run(install, tmp_path, monkeypatch):
    install()
    monkeypatch.setenv("LML_TEST_BLOCK", "interrupt")
    result = run("--out", tmp_path, workers=2)
    assert result.exit_code == 130
    assert "1 of 2 claims are kept" in result.output


def test_a_verdict_that_is_not_expected_is_an_error(install, tmp_path):
    install("WRONG")
    result = run("--out", tmp_path)
    assert result.exit_code == 1
    assert "NOT AS EXPECTED: Z2 found OPEN, expected HOLDS." in result.output


def test_a_check_that_raises_is_reported_with_its_traceback(install, tmp_path):
    install("BROKEN")
    result = run("--out", tmp_path)
    assert result.exit_code == 1
    assert "NOT AS EXPECTED: Z3 the check raised an error" in result.output
    assert "division of [nothing]" in result.output
    assert "Traceback" in json.loads((tmp_path / "ledger.json").read_text())[0]["error"]
    assert "division of [nothing]" in (tmp_path / "report.html").read_text()


def test_a_partial_run_takes_back_the_mark_of_a_complete_one(install, tmp_path):
    install()
    (tmp_path / ".complete").touch()
    run("--claim", "Z1", "--out", tmp_path)
    assert not (tmp_path / ".complete").exists()


def test_an_interrupted_run_keeps_what_it_finished_and_resume_goes_on(install, calls, tmp_path, monkeypatch):
    install()
    monkeypatch.setenv("LML_TEST_BLOCK", "interrupt")
    result = run("--out", tmp_path)
    assert result.exit_code == 130
    assert "1 of 2 claims are kept" in result.output
    assert [row["claim"] for row in json.loads((tmp_path / "ledger.json").read_text())] == ["Z1"]
    monkeypatch.delenv("LML_TEST_BLOCK")
    assert run("--out", tmp_path, "--resume").exit_code == 0
    assert calls() == ["Z1", "Z2", "Z2"]
    assert [row["claim"] for row in json.loads((tmp_path / "ledger.json").read_text())] == ["Z1", "Z2"]


def test_without_resume_everything_runs_again(install, calls, tmp_path):
    install()
    run("--claim", "Z1", "--out", tmp_path)
    run("--claim", "Z1", "--out", tmp_path)
    run("--claim", "Z1", "--out", tmp_path, "--resume")
    run("--claim", "Z1", "--out", tmp_path, "--resume", "--seed", 1)
    assert calls() == ["Z1", "Z1", "Z1"]


def test_a_killed_run_keeps_what_it_finished(install, calls, tmp_path):
    folder = install()
    start = (
        "import sys, theory_checks.ledger.family as l, importlib.metadata as m;"
        "l.entry_points = lambda group: m.distribution('users-plugin').entry_points.select(group=group);"
        "from theory_checks.__main__ import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", start, "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(folder), "LML_TEST_BLOCK": "sleep"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while calls() != ["Z1", "Z2"]:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert (tmp_path / "out" / "claims" / "Z1.json").exists()
    assert run("--out", tmp_path / "out", "--resume").exit_code == 0
    assert calls() == ["Z1", "Z2", "Z2"]


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.sections: list[str] = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
                if tag == "section":
                    self.sections.append(value)
            if name in {"src", "href", "xlink:href", "srcset", "action", "data"}:
                self.links.append(value)


def test_the_report_stands_alone(install, tmp_path):
    install()
    run("--out", tmp_path)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert page.sections == ["Z1", "Z2"]
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith(("#", "data:")) for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not re.search(r"@import|url\((?!#)", text)
    assert "two &lt;readings&gt;" in text
    assert "def check_first" in text
    assert "<math" in text
    assert text.count("Again on your machine") == 2
