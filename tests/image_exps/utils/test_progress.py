"""The progress line: what is done, the pace, and the time left, which are never cut at 80 columns."""

import io

from rich.console import Console

from image_exps.utils import progress as progress_bar
from image_exps.utils.processes import Process
from image_exps.utils.progress import Bar, format_progress


def test_the_time_left_is_what_remains_at_the_pace_so_far():
    assert format_progress("sd15 ddim", 100, 30_000, 50.0) == "sd15 ddim: 100 of 30000 pictures, 2/s, 4:09:10 left"
    assert format_progress("x", 4, 4, 2.0).endswith("2/s, 0:00:00 left")
    assert format_progress("x", 0, 4, 2.0).endswith("0/s, ? left")
    short = format_progress("a long name of a sampler", 4, 4, 2.0, width=45)
    assert short == "a long n…: 4 of 4 pictures, 2/s, 0:00:00 left"


def test_at_80_columns_the_line_shows_everything(monkeypatch):
    shown = io.StringIO()
    console = Console(file=shown, width=80, force_terminal=True, legacy_windows=False)
    monkeypatch.setattr(progress_bar, "Console", lambda **options: console)
    with Bar("fashion-mnist dpm-solver++-3m/lml", Process()) as bar:
        bar(2000, 50_000)
    assert "2000 of 50000 pictures" in shown.getvalue()
    assert " left" in shown.getvalue()
