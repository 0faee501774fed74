"""The table of claims in ``docs/reference/ledger.md``, from the claims themselves.

python docs/ledger_table.py
"""

from __future__ import annotations

import html
from pathlib import Path

from theory_checks.ledger.family import find_claims
from theory_checks.ledger.typeset import typeset

PAGE = Path(__file__).parent / "reference/ledger.md"
_HEAD = "| | claim | verdict |\n| --- | --- | --- |\n"


def with_table(page: str) -> str:
    """Return the page with the rows of the claims as they are now."""
    before, after = page.split(_HEAD)
    statements = ((claim, html.unescape(str(typeset(claim.statement)))) for claim in find_claims())
    rows = [f"| {claim.id} | {text.replace('|', chr(92) + '|')} | {claim.expected} |" for claim, text in statements]
    _, rest = after.split("\n\n", 1)
    return f"{before}{_HEAD}" + "\n".join(rows) + f"\n\n{rest}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
