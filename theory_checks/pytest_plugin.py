"""``pytest --claims``: every claim of the ledger, ours and those of installed packages, as a test item.

An item carries the marker of its claim's id and the marker ``claim``: ``-m S1`` chooses one, ``-m claim`` claims alone.
It fails if the check finds another verdict than the claim stands for, and its decisive figure is in the report.

The module is an entry point of the group ``pytest11``: it is imported at the start of every pytest run where this
package is installed, so that nothing here imports the ledger before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from theory_checks.ledger.claim import Claim, Settings

_FIGURE = "decisive figure"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--claims`` and ``--claims-profile``."""
    group = parser.getgroup("claims", "claims of the LML ledger, and of installed packages")
    group.addoption("--claims", action="store_true", help="check every claim of the ledger as a test; -m ID for one")
    group.addoption(
        "--claims-profile", choices=("quick", "full"), default="quick", help="how thoroughly claims are checked"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register a marker for each claim: its id."""
    config.addinivalue_line("markers", "claim: a claim of the ledger, checked with --claims")
    if config.getoption("--claims"):
        for claim in _claims():
            config.addinivalue_line("markers", f"{claim.id}: {claim.statement}")


def _claims() -> list[Claim]:
    from theory_checks.ledger.family import find_claims

    try:
        return find_claims()
    except ValueError as error:
        raise pytest.UsageError(f"--claims: {error}") from error


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the claims, before ``-m`` and ``-k`` choose."""
    if not config.getoption("--claims"):
        return
    from theory_checks.ledger.claim import Settings

    settings = Settings(profile=config.getoption("--claims-profile"))
    for claim in _claims():
        name = f"claims::{claim.id}"
        items.append(ClaimItem.from_parent(session, name=claim.id, nodeid=name, claim=claim, settings=settings))


class ClaimError(AssertionError):
    """A claim with another verdict than it stands for, or a check that did not finish."""


class ClaimItem(pytest.Item):
    """A claim as a test.

    Args:
        claim: what is checked.
        settings: profile and seed.
        options: of pytest's own.
    """

    def __init__(self, *, claim: Claim, settings: Settings, **options: Any) -> None:
        super().__init__(**options)
        self.claim, self.settings = claim, settings
        for name in ("claim", claim.id):
            self.add_marker(name)

    def runtest(self) -> None:
        """Check the claim.

        Raises:
            ClaimError: for another verdict than the claim stands for.
        """
        from theory_checks.ledger.single_check import run_one

        record = run_one(self.claim, self.settings)
        finding = record.finding
        figure = f"{finding.figures[0].name}: {finding.figures[0]}" if finding.figures else "no figure"
        self.user_properties.append((_FIGURE, f"{finding.verdict}; {figure}"))
        if record.error:
            raise ClaimError(f"the check of {self.claim.id} did not finish\n{record.error}")
        if not record.as_expected:
            wanted = f"found {finding.verdict}, expected {self.claim.expected}"
            raise ClaimError(f"{self.claim.id}, {self.claim.statement}: {wanted}; {figure}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return what was found, without the traceback of this plug-in."""
        return str(excinfo.value) if excinfo.errisinstance(ClaimError) else super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        """Return where a claim is, in the words of pytest."""
        return "claims", None, f"claim {self.claim.id}: {self.claim.statement}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """List verdict and decisive figure of every claim that was checked."""
    lines = [
        (report.nodeid.removeprefix("claims::"), dict(report.user_properties)[_FIGURE])
        for reports in terminalreporter.stats.values()
        for report in reports
        if _FIGURE in dict(getattr(report, "user_properties", ())) and getattr(report, "when", "") == "call"
    ]
    if lines:
        terminalreporter.section("claims")
        for claim_id, text in sorted(lines):
            terminalreporter.write_line(f"{claim_id:<5} {text}")
