"""The progress line: what is done, the pace and the time left, which are never cut at 80 columns, on any output."""

import io
import sys
import time

import pytest
from rich.console import Console

from theory_checks.command_line import progress_line
from theory_checks.command_line.progress_line import ProgressLine, format_progress


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("sd15 ddim", 100, 30_000, 50.0, "pictures"), "sd15 ddim: 100 of 30000 pictures, 2/s, 4:09:10 left"),
        (("x", 4, 4, 2.0), "x: 4 of 4, 2/s, 0:00:00 left"),
        (("x", 0, 4, 2.0, "cells"), "x: 0 of 4 cells, 0/s, ? left"),
        (("x", 2, 100, 120.0, "cells"), "x: 2 of 100 cells, 1/min, 1:38:00 left"),
        (("x", 2, 100, 120.0, "cells", 0.5), "x: 2 of 100 cells, 1/min, 0:02:00 left"),  # the costly ones come first
        (("x", 0, 0, 30.0, "", 0.25), "x: 25%, 0:01:30 left"),
        (("x", 0, 0, 30.0), "x: 0:00:30 so far"),
        (("a long name of a sampler", 4, 4, 2.0, "pictures", 0, 45), "a long...: 4 of 4 pictures, 2/s, 0:00:00 left"),
    ],
)
def test_the_time_left_is_what_remains_at_the_pace_so_far(given, expected):
    assert format_progress(*given) == expected


def terminal(monkeypatch, width, encoding="utf-8"):
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding=encoding)
    console = Console(file=stream, width=width, force_terminal=True, legacy_windows=False, _environ={})
    monkeypatch.setattr(progress_line, "Console", lambda **options: console)

    def shown():
        stream.flush()
        return written.getvalue().decode(encoding)

    return shown


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_the_line_shows_everything(monkeypatch, width, encoding):
    shown = terminal(monkeypatch, width, encoding)
    with ProgressLine("fashion-mnist lml-dpm-solver++", "pictures") as line:
        line(2000, 50_000)
    assert "2000 of 50000 pictures" in shown()
    assert " left" in shown()


def test_where_output_is_no_terminal_a_line_is_printed_now_and_then(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with ProgressLine("sweep", "cells", every=0.05) as line:
        line(3, 12)
        deadline = time.monotonic() + 20
        while written.getvalue().count("\n") < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        line.say("failed: one")
    first, *_, last = written.getvalue().splitlines()
    assert first.startswith("sweep: 3 of 12 cells, ")
    assert first.endswith(" left")
    assert last == "failed: one"
    assert "\x1b" not in written.getvalue()
    before = written.getvalue()
    time.sleep(0.2)
    assert written.getvalue() == before  # it ends with the work


def test_it_says_that_nothing_is_done_yet(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with ProgressLine("timing", every=0.01):
        deadline = time.monotonic() + 20
        while not written.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert written.getvalue().startswith("timing: 0:00:0")


def test_a_quiet_one_is_quiet(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    with ProgressLine("sweep", quiet=True, every=0.01) as line:
        line(1, 2)
        line.say("x")
        time.sleep(0.1)
    assert written.getvalue() == ""


def test_a_part_is_counted_by_itself(monkeypatch):
    line = ProgressLine("sweep", "cells", quiet=True)
    with line, line.part("endpoints", "blocks"):
        line(1, 4)
        assert line._text().startswith("endpoints: 1 of 4 blocks, ")
    assert line.label == "sweep"
