"""``python -m theory_checks``: check the claims and write the ledger."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.ledger.claim import Claim, Settings
from theory_checks.ledger.family import find_claims, select
from theory_checks.ledger.terminal import Display, plain_text, summary, wide_console

if TYPE_CHECKING:
    from theory_checks.ledger.records import Record

# The mark of a whole ledger in which every verdict is as expected, written last; the Makefile looks for it.
_COMPLETE = ".complete"


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.option(
    "--profile",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: every claim within 3 minutes on 2 cores. full: more targets, samples and refinement, in 20 minutes.",
)
@click.option("--claim", "ids", multiple=True, metavar="ID", help="Check this claim only, e.g. H3. Can be repeated.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    show_default="out/verify, or out/claims with --claim",
    help="Folder for ledger.json, ledger.txt, report.html and what each claim leaves behind.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random check.")
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=min(4, os.cpu_count() or 1),
    show_default="a process a core, at most 4",
    help="Claims that are checked at the same time.",
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted run: keep finished claims that are unchanged.")
@click.option("--list", "list_only", is_flag=True, help="List the claims and exit.")
@plain_errors
def main(
    profile: str, ids: tuple[str, ...], out: Path | None, seed: int, workers: int, resume: bool, list_only: bool
) -> None:
    """Check the paper's claims, print the ledger and write it to disk.

    Each claim gets one line: its id, statement, verdict, the decisive figure with its limit or interval, and seconds.
    The exit status is 0 only if every verdict is the expected one, 1 if one is not, 2 for a bad
    argument, 130 if the run was interrupted.

    Packages add claims of their own through the entry-point group "lml.claims".
    """
    console = wide_console(160)
    try:
        known = find_claims()
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        claims = select(known, ids)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--claim") from error
    if list_only:
        for claim in claims:
            text = f"{claim.id:<4} {claim.statement}  ({claim.source}; expected: {claim.expected})"
            console.print(text, markup=False, soft_wrap=True)
        return
    if out is None:  # a part of the ledger does not take the place of the whole
        out = Path("out/claims" if ids else "out/verify")
    check_output_folder(out)
    from theory_checks.command_line.run_lock import only_run
    from toy.outside import missing

    settings = Settings(profile=profile, seed=seed)  # type: ignore[arg-type]
    absent = [(claim, sentence) for claim in claims if claim.needs and (sentence := missing(claim.needs))]
    if ids and absent:
        claim, sentence = absent[0]
        raise click.UsageError(f"{claim.id} cannot be checked here. {sentence}")
    claims = [claim for claim in claims if claim not in [each for each, _ in absent]]
    with only_run(out):
        status = _check(console, claims, settings, out, resume, workers, whole=not ids)
    for claim, sentence in absent:
        console.print(f"{claim.id} is not checked here. {sentence}", markup=False)
    sys.exit(status)


def _check(
    console: Console, claims: list[Claim], settings: Settings, out: Path, resume: bool, workers: int, whole: bool
) -> int:
    # Here, so that a list, a help text or a wrong name does not wait for the libraries that checks need.
    from theory_checks.ledger import report, runner

    (out / _COMPLETE).unlink(missing_ok=True)
    display = Display(console, claims)
    done: list[Record] = []
    try:
        with display.live():
            for record in runner.run(
                claims, settings, out, resume=resume, listener=display.update, again=display.again, workers=workers
            ):
                done.append(record)
                display.add(record)
                _write_ledger(done, settings, out)
    except KeyboardInterrupt:
        console.print(
            f"Interrupted: {len(done)} of {len(claims)} claims are kept in {out}; go on with --resume.", markup=False
        )
        return 130
    _write(out / "ledger.txt", plain_text(done))
    _write(out / "report.html", report.render(done, settings))
    console.print()
    console.print(summary(done), markup=False)
    console.print(f"Report: {out / 'report.html'}", markup=False)
    if not all(record.as_expected for record in done):
        return 1
    if whole:
        _write(out / _COMPLETE, f"{len(done)} claims, profile {settings.profile}, seed {settings.seed}\n")
    return 0


def _write_ledger(records: list[Record], settings: Settings, out: Path) -> None:
    rows = json.dumps([record.row(settings) for record in records], indent=1, ensure_ascii=False, allow_nan=False)
    _write(out / "ledger.json", rows + "\n")


def _write(path: Path, text: str) -> None:
    from toy.atomic import atomic

    with atomic(path) as partial:
        partial.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
