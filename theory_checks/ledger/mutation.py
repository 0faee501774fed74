"""``python -m theory_checks.ledger.mutation``: inject every fault in turn, and report which check kills it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lml.arguments import check_choice
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.command_line.progress_line import format_progress
from theory_checks.ledger.claim import Claim, Finding, Settings
from theory_checks.ledger.family import find_claims, select
from theory_checks.ledger.faults import Fault, find_faults, find_reduced, injected
from theory_checks.ledger.terminal import bar, now_and_then, wide_console
from toy.outside import missing

if TYPE_CHECKING:
    from theory_checks.ledger.records import Record

__all__ = ["Trial", "judge", "plain_text", "plan", "summary"]


@dataclass(frozen=True)
class Trial:
    """A claim's reduced check with one fault in place, or with none.

    Attributes:
        fault: in place during the check; ``None`` for the right code.
        record: what the check found.
    """

    fault: Fault | None
    record: Record

    @property
    def passed(self) -> bool:
        """Whether the check is green on the right code, or red under the fault.

        A check that raises is neither: a fault must be seen by the verdict, since a crash would come from any code.
        """
        if self.fault is None:
            return self.record.as_expected
        return not self.record.error and not self.record.as_expected

    @property
    def outcome(self) -> str:
        """What happened, in a few words."""
        found = "the check raised an error" if self.record.error else str(self.record.finding.verdict)
        if self.fault is None:
            return f"green: {found}" if self.passed else f"RED WITHOUT A FAULT: {found}"
        return f"{self.record.claim.id}: {found}" if self.passed else f"SURVIVES {self.record.claim.id}: {found}"

    def row(self) -> dict[str, object]:
        """Return the row of ``mutation.json``."""
        return {
            "claim": self.record.claim.id,
            "check": self.record.claim.check_name,
            "fault": self.fault.name if self.fault else None,
            "where": self.fault.target if self.fault else None,
            "description": self.fault.description if self.fault else None,
            "expected": str(self.record.claim.expected),
            "found": str(self.record.finding.verdict),
            "passed": self.passed,
            "seconds": round(self.record.seconds, 3),
            "error": self.record.error,
        }


def judge(fault: Fault | None, claim: Claim) -> Trial:
    """Run the reduced check of a claim, or its own if there is no reduced one, with a fault in place or without."""
    from theory_checks.ledger.single_check import run_one

    reduced = find_reduced().get(claim.id) or claim.load_check()

    def check(settings: Settings) -> Finding:
        return reduced(settings)

    with injected(fault) if fault else nullcontext():
        record = run_one(replace(claim, check=check), Settings())
    return Trial(fault, replace(record, claim=claim))


def plan(claims: Sequence[Claim], faults: Sequence[Fault]) -> list[tuple[Fault | None, Claim]]:
    """Return what to judge, claim by claim: the right code first, then every fault that the claim's check must see.

    Raises:
        ValueError: if a fault names a claim or a formula that does not exist, or if no fault names any of the claims.
    """
    known = {claim.id for claim in find_claims()}
    for fault in faults:
        with injected(fault):  # raises for a formula that was renamed: now, and not an hour later
            pass
        if missing := set(fault.kills) - known:
            raise ValueError(f"kills of the fault {fault.name} must be published claims, got {', '.join(missing)}")
    pairs: list[tuple[Fault | None, Claim]] = []
    for claim in claims:
        if mine := [fault for fault in faults if claim.id in fault.kills]:
            pairs += [(fault, claim) for fault in (None, *mine)]
    if not pairs:
        raise ValueError(f"a fault must be injected for one of {', '.join(c.id for c in claims)}, there is none")
    return pairs


def summary(trials: Sequence[Trial]) -> str:
    """Return the last lines: how many faults die, in every check that must see them, and what went wrong."""
    faults = list(dict.fromkeys((t.fault.target, t.fault.name) for t in trials if t.fault))
    surviving = {(t.fault.target, t.fault.name) for t in trials if t.fault and not t.passed}
    lines = [f"{len(faults) - len(surviving)} of {len(faults)} faults die."]
    for trial in trials:
        if not trial.passed:
            fault = f" ({trial.fault.name} in {trial.fault.target})" if trial.fault else f" ({trial.record.claim.id})"
            lines.append(f"{trial.outcome}{fault}")
            lines += [trial.record.error.rstrip()] if trial.record.error else []
    return "\n".join(lines)


def plain_text(trials: Iterable[Trial], width: int = 200) -> str:
    """Return the table and the summary as text without colours."""
    trials = list(trials)
    buffer = io.StringIO()
    console = Console(width=width, no_color=True, force_terminal=False, file=buffer)
    for claim, group in groupby(trials, lambda trial: trial.record.claim):
        console.print(_head(console, claim))
        for trial in group:
            console.print(_line(console, trial))
    return f"{buffer.getvalue()}\n{summary(trials)}\n"


def _head(console: Console, claim: Claim) -> Table:
    return _row(console, f"{claim.id} {claim.statement}", "where", "what a developer did wrong", Text("killed by"), "s")


def _line(console: Console, trial: Trial) -> Table:
    outcome = Text(trial.outcome, style="green" if trial.passed else "bold white on red")
    name, where, description = "  (the right code)", "", ""
    if trial.fault:
        name, where = f"  {trial.fault.name}", trial.fault.target
        description = " ".join(trial.fault.description.split())
    return _row(console, name, where, description, outcome, f"{trial.record.seconds:.1f}")


def _row(console: Console, name: str, where: str, description: str, outcome: Text, seconds: str) -> Table:
    outcome_width, seconds_width = 30, 5
    flexible = max(console.width, 120) - outcome_width - seconds_width - 4
    widths = (flexible * 3 // 10, flexible * 3 // 10, flexible - 2 * (flexible * 3 // 10), outcome_width, seconds_width)
    table = Table.grid(padding=(0, 1, 0, 0))
    for i, width in enumerate(widths):
        justify = "right" if i == 4 else "left"
        table.add_column(width=width, no_wrap=i != 2, overflow="ellipsis", justify=justify)  # type: ignore[arg-type]
    table.add_row(Text(name), Text(where), Text(description), outcome, seconds)
    return table


def _write(trials: Sequence[Trial], out: Path) -> None:
    from toy.atomic import atomic

    rows = json.dumps([trial.row() for trial in trials], indent=1, ensure_ascii=False, allow_nan=False)
    for name, text in (("mutation.json", rows + "\n"), ("mutation.txt", plain_text(trials))):
        with atomic(out / name) as path:
            path.write_text(text, encoding="utf-8")


def _run(console: Console, pairs: Sequence[tuple[Fault | None, Claim]]) -> Iterator[Trial]:
    """Yield the trials as they finish, with a line for each, and the progress below."""
    headed, description, done = "", "", 0
    progress = bar(console)
    task = progress.add_task("", total=len(pairs))

    def text(seconds: float) -> str:
        return format_progress(description, done, len(pairs), seconds, "checks")

    with progress if console.is_terminal else now_and_then(text):
        for fault, claim in pairs:
            description = f"{claim.id} {fault.name if fault else ''}".strip()
            progress.update(task, description=description)
            trial = judge(fault, claim)
            if headed != claim.id:
                console.print(_head(console, claim))
                headed = claim.id
            console.print(_line(console, trial))
            progress.advance(task)
            done += 1
            yield trial


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.option("--claim", "ids", multiple=True, metavar="ID", help="Judge this claim's check only. Can be repeated.")
@click.option("--fault", "names", multiple=True, metavar="NAME", help="Inject this fault only. Can be repeated.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/mutation"),
    show_default=True,
    help="Folder for mutation.json and mutation.txt.",
)
@plain_errors
def main(ids: tuple[str, ...], names: tuple[str, ...], out: Path) -> None:
    """Inject every fault, one after the other, and report which check kills it.

    A fault is a formula as a developer could get it wrong. It dies if every claim that it concerns gets another verdict
    than the one that this repository stands for. Each check runs in its reduced form, on few targets, and must be green
    on the right code first.

    The exit status is 0 only if every fault dies, 1 if one survives, 2 for a bad argument, 130 if interrupted.
    """
    console = wide_console(200)
    claims = select(find_claims(), ids)
    for claim in [each for each in claims if each.needs and missing(each.needs)]:
        console.print(f"{claim.id} is not checked here. {missing(claim.needs)}", markup=False)
        claims.remove(claim)
    check_output_folder(out)
    pairs = plan(claims, _named(find_faults(), names))
    out.mkdir(parents=True, exist_ok=True)
    trials: list[Trial] = []
    try:
        trials.extend(_run(console, pairs))
    except KeyboardInterrupt:
        console.print(f"Interrupted after {len(trials)} of {len(pairs)} checks; nothing is written.", markup=False)
        sys.exit(130)
    _write(trials, out)
    console.print()
    console.print(summary(trials), markup=False)
    console.print(f"Table: {out / 'mutation.txt'}", markup=False)
    sys.exit(0 if all(trial.passed for trial in trials) else 1)


def _named(faults: list[Fault], names: tuple[str, ...]) -> list[Fault]:
    known = {fault.name for fault in faults}
    for name in names:
        check_choice(name, "fault", sorted(known))
    return [fault for fault in faults if not names or fault.name in names]


if __name__ == "__main__":
    main()
