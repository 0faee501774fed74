"""Progress where there is no terminal: a line on standard error now and then."""

import io
import time

from rich.console import Console

from theory_checks.ledger.claim import Claim, Finding, Settings, Verdict
from theory_checks.ledger.records import Record
from theory_checks.ledger.terminal import Display


def check(settings: Settings) -> Finding:
    return Finding(Verdict.HOLDS, (), "reading")


CLAIMS = [Claim(f"K{i}", "statement", "source", Verdict.HOLDS, check, seconds=s) for i, s in ((1, 30), (2, 10))]


def test_redirected_output_says_now_and_then_what_is_done_and_the_time_left(capsys):
    output = io.StringIO()
    display = Display(Console(file=output, width=160), CLAIMS, every=0.2)
    with display.live():
        display.update(CLAIMS[0], "grids", 0.5)
        time.sleep(0.5)
        display.add(Record(CLAIMS[0], check(Settings()), 1.0))
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("K1 grids: 0 of 2 claims, ")
    assert lines[0].endswith(" left")
    assert lines[-1].startswith("K1 grids: 1 of 2 claims, ")
    # 15 of 40 expected seconds are done after 0.2 s: a third of a second is left.
    assert lines[0].endswith("0:00:00 left")
    assert len(lines) <= 4
    assert output.getvalue().splitlines()[-1].startswith("K1 ")


def test_a_quick_run_says_nothing_between_its_lines(capsys):
    display = Display(Console(file=io.StringIO(), width=160), CLAIMS)
    with display.live():
        display.add(Record(CLAIMS[0], check(Settings()), 1.0))
    assert capsys.readouterr().err == ""
