import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from theory_checks.__main__ import main
from theory_checks.command_line.run_lock import only_run


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
    assert "must export a theory_checks.Family, got tuple" in " ".join(result.output.split())


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
    assert "Every verdict is the expected one." in text
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


ENDS = {
    "Z11": "the check ended the interpreter (exit status 0): it must return a Finding",
    "Z12": "the process that ran this check ended before the check did (exit status 0)",
    "Z13": "the process that ran this check ended before the check did (killed by SIGKILL)",
    "Z14": "a check must return a Finding, this one returned None",
    "Z15": "a check must return a Finding, this one returned str: 'HOLDS'",
    "Z16": "verdict of a finding must be a Verdict, got str: 'HOLDS'",
    "Z17": "value of the figure 'a' must be a number, got str: '1.0'",
    "Z18": "data 'rows' of a finding must be an array: setting an array element with a sequence",
    "Z19": "data 'rows' of a finding must be an array of numbers or texts, got one of objects",
    "Z20": "this check cannot be sent to another process",
    "Z21": "ValueError: check of claim Z21 cannot be loaded from users_plugin:no_check",
    "Z22": "ValueError: check of claim Z22 cannot be loaded from no_such_module:check: No module named",
    "Z23": "ZeroDivisionError: division of [nothing]",
}


@pytest.mark.parametrize("workers", [1, 2])
def test_a_check_that_ends_without_a_finding_costs_its_own_row_alone(install, calls, tmp_path, workers):
    install("BAD")
    (tmp_path / ".complete").touch()
    result = run("--out", tmp_path, workers=workers)
    assert result.exit_code == 1, result.output
    rows = {row["claim"]: row for row in json.loads((tmp_path / "ledger.json").read_text())}
    assert list(rows) == ["Z1", *ENDS, "Z99"]
    assert (rows["Z1"]["verdict"], rows["Z99"]["verdict"]) == ("HOLDS", "HOLDS")
    assert calls().count("Z1") == 2
    for name, sentence in ENDS.items():
        assert rows[name]["verdict"] == "OPEN"
        assert rows[name]["error"].strip().splitlines()[-1].startswith(sentence)
        assert f"NOT AS EXPECTED: {name} the check raised an error" in result.output
    assert not (tmp_path / ".complete").exists()
    assert "division of [nothing]" in (tmp_path / "report.html").read_text()


def test_arrays_may_have_any_name_and_figures_any_numbers(install, tmp_path):
    install("GOOD")
    assert run("--out", tmp_path).exit_code == 0
    with np.load(tmp_path / "claims/Z1.npz") as opened:
        found = dict(opened)
    assert {name: array.tolist() for name, array in found.items()} == {
        "file": [0, 1, 2], "allow_pickle": [1.5], "a/b": ["x"]
    }  # fmt: skip
    (_, row) = json.loads((tmp_path / "ledger.json").read_text())
    assert [(f["value"], f["limit"]) for f in row["figures"]] == [(0.5, 1.0), (3, None)]
    assert row["counterexample"] == {"x": [1.5, None]}


def test_a_whole_ledger_as_expected_is_marked_complete_and_nothing_else_is(install, tmp_path):
    install()
    assert run("--out", tmp_path).exit_code == 0
    assert (tmp_path / ".complete").read_text() == "2 claims, profile quick, seed 0\n"
    assert run("--out", tmp_path, "--resume").exit_code == 0
    assert (tmp_path / ".complete").exists()
    assert run("--claim", "Z1", "--out", tmp_path).exit_code == 0
    assert not (tmp_path / ".complete").exists()


def test_a_ledger_that_is_not_as_expected_takes_the_mark_back(install, tmp_path):
    install("WRONG")
    (tmp_path / ".complete").touch()
    assert run("--out", tmp_path).exit_code == 1
    assert not (tmp_path / ".complete").exists()


IMPORTS = ["import sys; sys.exit(0)", "raise SystemExit", "raise OSError('no licence')", "import os; os._exit(0)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"]  # fmt: skip


@pytest.mark.parametrize("line", IMPORTS)
def test_a_plugin_that_ends_at_its_import_is_an_error_and_no_success(install, tmp_path, line):
    (install() / "users_plugin.py").write_text(line)
    (tmp_path / "out").mkdir()
    result = run("--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "the plug-in 'mine' (users_plugin:FAMILY) cannot be loaded" in " ".join(result.output.split())
    assert list((tmp_path / "out").iterdir()) == []


def test_the_makefile_believes_the_mark_and_not_the_exit_status():
    makefile = (Path(__file__).parents[3] / "Makefile").read_text()
    (recipe,) = re.findall(r"^\$\(LEDGER\):.*\n((?:\t.*\n)+)", makefile, re.M)
    assert recipe.splitlines()[-1] == "\t@test -f $@"
    assert "touch $@" not in recipe


def test_an_out_below_a_file_is_refused_in_one_sentence_before_any_work(install, calls, tmp_path, monkeypatch):
    install()
    (tmp_path / "file").touch()
    result = run("--out", tmp_path / "file/out")
    assert (result.exit_code, calls()) == (2, [])
    assert result.output.strip() == (
        f"Error: out must be a folder that can be made, {tmp_path}/file/out lies below the file {tmp_path}/file: "
        "give another one"
    )
    monkeypatch.setenv("LML_TRACEBACK", "1")
    assert isinstance(run("--out", tmp_path / "file/out").exception, ValueError)


@pytest.mark.parametrize("name", ["Z1.npz", "ledger.json", "ledger.txt", "report.html", ".complete"])
def test_a_full_disk_is_one_sentence_that_names_the_file(install, tmp_path, monkeypatch, name):
    install()
    replace = os.replace

    def full(partial, path):
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(partial, path)

    monkeypatch.setattr(os, "replace", full)
    result = run("--out", tmp_path / "out")
    assert result.exit_code == 2
    path = tmp_path / "out" / ("claims" if name == "Z1.npz" else "") / name
    sentence = f"Error: {path}: no space is left on its disk: free some, or choose another place"
    assert result.output.splitlines()[-1] == sentence
    assert "Traceback" not in result.output
    assert not (tmp_path / "out/.complete").exists()


def test_two_ledgers_in_one_folder_are_one_too_many(install, tmp_path):
    install()
    with only_run(tmp_path):
        result = run("--out", tmp_path)
    assert result.exit_code == 2
    assert "out must be a folder that no other run writes" in result.output


def test_a_record_that_was_damaged_is_checked_again_and_named(install, calls, tmp_path):
    install()
    run("--out", tmp_path)
    file = tmp_path / "claims/Z1.npz"
    file.write_bytes(file.read_bytes()[:-40])
    result = run("--out", tmp_path, "--resume")
    assert result.exit_code == 0
    assert "Z1 is checked again: its record was damaged or changed." in result.output
    assert calls() == ["Z1", "Z2", "Z1"]


def test_an_ascii_terminal_shows_everything_in_letters_that_it_has(install, tmp_path):
    folder = install("GREEK")
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONIOENCODING": "ascii", "LANG": "C", "LC_ALL": "C"}
    for arguments in (["--list"], ["--out", str(tmp_path / "out")]):
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.isascii()
        assert "lambda <= 1 -> eps +/- 0" in done.stdout
        assert "\\u" not in done.stdout
    assert "λ ≤ 1 → ε ± 0" in (tmp_path / "out/ledger.txt").read_text(encoding="utf-8")


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


START = (
    "import sys, theory_checks.ledger.family as l, importlib.metadata as m;"
    "l.entry_points = lambda group: m.distribution('users-plugin').entry_points.select(group=group);"
    "from theory_checks.__main__ import main; main(sys.argv[1:])"
)


def contents(folder):
    """Return every file's bytes, without the seconds that checks took and the digests of records that hold them."""
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            text = file.read_bytes().decode("latin-1")
            text = re.sub(r'("seconds": )[\d.]+|("digest": )"\w+"', r"\1\2", text)  # JSON
            text = re.sub(r" +\d+\.\d$|\b\d+ s of checks", "", text, flags=re.M)  # the table
            found[str(file.relative_to(folder))] = re.sub(r"\b[\d.]+ s\b", "", text)  # the report
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_resumed_leaves_what_an_uninterrupted_one_leaves(install, calls, tmp_path, workers):
    folder = install()
    command = [sys.executable, "-c", START, "--out", str(tmp_path / "killed"), "--workers", str(workers)]
    environment = {**os.environ, "PYTHONPATH": str(folder), "LML_TEST_BLOCK": "sleep"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while sorted(calls()) != ["Z1", "Z2"] or not (tmp_path / "killed/claims/Z1.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed/.complete").exists()
    assert run("--out", tmp_path / "killed", "--resume").exit_code == 0
    assert sorted(calls()) == ["Z1", "Z2", "Z2"]
    assert run("--out", tmp_path / "whole", workers=workers).exit_code == 0
    killed, whole = contents(tmp_path / "killed"), contents(tmp_path / "whole")
    assert sorted(whole) == sorted(
        [".complete", ".lock", "claims/Z1.json", "claims/Z1.npz", "claims/Z2.json", "claims/Z2.npz", "ledger.json",
         "ledger.txt", "report.html"]
    )  # fmt: skip
    assert killed == whole


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
