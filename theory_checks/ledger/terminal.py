"""The ledger in a terminal: a line a claim, printed as it is decided, with progress and the time left below."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from theory_checks.command_line.progress_line import EVERY, format_progress
from theory_checks.ledger.claim import Claim, Verdict

if TYPE_CHECKING:
    from theory_checks.ledger.records import Record

__all__ = ["Display", "bar", "line", "now_and_then", "plain_text", "summary", "wide_console"]

_STYLES = {
    Verdict.HOLDS: "green",
    Verdict.CORRECTED: "cyan",
    Verdict.FAILS: "red",
    Verdict.OPEN: "yellow",
}
_NARROWEST = 100  # below this there is no room for statement and figure both: the statement stays


class Display:
    """Prints records as lines of fixed columns, with a progress bar below them.

    Where the console is no terminal, a line on standard error says now and then what is done and the time left.

    Args:
        console: where to print.
        claims: what will be checked, for the time left.
        every: seconds between two lines of progress where the console is no terminal.
    """

    def __init__(self, console: Console, claims: Sequence[Claim], every: float = EVERY) -> None:
        self._console, self._every = console, every
        self._seconds = {claim.id: claim.seconds for claim in claims}
        self._done: dict[str, float] = {}
        self._description = ""
        self._progress = bar(console)
        self._task = self._progress.add_task("", total=sum(self._seconds.values()))

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the progress, and the head of the table above it."""
        with self._progress if self._console.is_terminal else now_and_then(self._text, self._every):
            self._console.print(_row(self._console, "claim", "statement", Text("verdict"), "decisive figure", "s"))
            self._console.rule(characters="-" if self._console.options.ascii_only else "─", style="dim")
            yield

    def update(self, claim: Claim, label: str, fraction: float) -> None:
        """Move the progress to a fraction of a claim."""
        if self._done.get(claim.id) == 1:
            return
        self._done[claim.id] = fraction
        self._description = f"{claim.id} {label}".strip()
        self._progress.update(self._task, description=self._description, completed=self._completed())

    def add(self, record: Record) -> None:
        """Print the line of a finished claim."""
        self._done[record.claim.id] = 1
        self._progress.update(self._task, completed=self._completed())
        self._console.print(line(self._console, record))

    def again(self, claim: Claim, reason: str) -> None:
        """Print that a claim is checked again although the folder holds a record of it."""
        self._console.print(f"{claim.id} is checked again: {reason}.", markup=False)

    def _completed(self) -> float:
        return sum(self._seconds[claim] * fraction for claim, fraction in list(self._done.items()))

    def _text(self, seconds: float) -> str:
        done = sum(fraction == 1 for fraction in list(self._done.values()))
        share = self._completed() / sum(self._seconds.values())
        return format_progress(self._description, done, len(self._seconds), seconds, "claims", share)


@contextmanager
def now_and_then(text: Callable[[float], str], every: float = EVERY) -> Iterator[None]:
    """Print on standard error, every so many seconds, what ``text`` says after so many seconds in all."""
    ended, began = threading.Event(), time.monotonic()

    def follow() -> None:
        while not ended.wait(every):
            print(text(time.monotonic() - began), file=sys.stderr, flush=True)  # noqa: T201

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def wide_console(width: int) -> Console:
    """Return the console of standard output, of this width where it is no terminal and has none."""
    # The stream is named: rich asks a stream for its encoding, but not the one that it takes by itself.
    console = Console(file=sys.stdout, highlight=False)
    return console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=width)


def bar(console: Console) -> Progress:
    """Return a progress bar with the time left, which disappears when it is done."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
    )


def line(console: Console, record: Record) -> Table:
    """Return the line of one claim: id, statement, verdict, decisive figure with its limit or interval, seconds."""
    finding = record.finding
    verdict = Text(str(finding.verdict), style=_STYLES[finding.verdict])
    if not record.as_expected:
        verdict = Text(f"! {finding.verdict}", style="bold white on red")
    if record.error:
        decisive = record.error.strip().splitlines()[-1]
    elif finding.figures:
        # The figure before its name, which may be cut.
        decisive = f"{finding.figures[0]}: {finding.figures[0].name}"
    else:
        decisive = ""
    return _row(console, record.claim.id, record.claim.statement, verdict, decisive, f"{record.seconds:.1f}")


def summary(records: Sequence[Record]) -> str:
    """Return the last lines: how many claims have which verdict, and which are not as expected."""
    counts = Counter(record.finding.verdict for record in records)
    parts = ", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict if counts[verdict])
    lines = [
        f"{len(records)} claim{'' if len(records) == 1 else 's'}, {sum(r.seconds for r in records):.0f} s of checks: "
        f"{parts}."
    ]
    surprises = [r for r in records if not r.as_expected]
    if not surprises:
        lines.append("Every verdict is the expected one.")
    for record in surprises:
        what = "the check raised an error" if record.error else f"found {record.finding.verdict}"
        lines.append(f"NOT AS EXPECTED: {record.claim.id} {what}, expected {record.claim.expected}.")
        if record.error:
            lines.append(record.error.rstrip())
    return "\n".join(lines)


def plain_text(records: Iterable[Record], width: int = 160) -> str:
    """Return the ledger as text without colours."""
    records = list(records)
    buffer = io.StringIO()
    console = Console(width=width, no_color=True, force_terminal=False, file=buffer)
    console.print(_row(console, "claim", "statement", Text("verdict"), "decisive figure", "s"))
    for record in records:
        console.print(line(console, record))
    return f"{buffer.getvalue()}\n{summary(records)}\n"


def _row(console: Console, claim: str, statement: str, verdict: Text, decisive: str, seconds: str) -> Table:
    flexible = console.width - 5 - 23 - 6 - 5
    wide = console.width >= _NARROWEST
    cells: list[tuple[int, str | Text]] = [
        (5, claim),
        (flexible // 2 if wide else flexible, Text(statement)),
        (23, verdict),
    ]
    cells += [(flexible - flexible // 2, Text(decisive))] if wide else []
    table = Table.grid(padding=(0, 1, 0, 0))
    for width, _ in cells:
        table.add_column(width=width, min_width=width, no_wrap=True, overflow="ellipsis")
    table.add_column(width=6, min_width=6, no_wrap=True, justify="right")
    table.add_row(*(cell for _, cell in cells), seconds)
    return table
