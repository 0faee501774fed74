"""One page a claim, from the records that ``make verify`` left; written anew at every build."""

from __future__ import annotations

import html
from collections import Counter
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util import logging

from theory_checks.ledger import Claim, Settings, find_claims
from theory_checks.records import Record, load
from theory_checks.report import render_claim
from theory_checks.typeset import typeset

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "out/verify/claims"

logger = logging.getLogger(__name__)


def write_pages(app: Sphinx) -> None:
    """Write ``ledger/index.md`` and a page for each claim; a claim without a record of this code says so."""
    folder = Path(app.srcdir) / "ledger"
    folder.mkdir(exist_ok=True)
    settings = Settings()
    found = {claim: load(claim, settings, RECORDS) for claim in find_claims()}
    missing = [claim.id for claim, record in found.items() if record is None]
    if missing:
        logger.warning("no record of %s: run make verify first", ", ".join(missing))
    for old in set(folder.glob("*.md")) - {folder / f"{claim.id}.md" for claim in found}:
        old.unlink()
    for claim, record in found.items():
        _write(folder / f"{claim.id}.md", _page(claim, record, settings))
    _write(folder / "index.md", _index(found))


def _page(claim: Claim, record: Record | None, settings: Settings) -> str:
    head = f"# {claim.id}: {_plain(claim.statement)}\n\n"
    if record is None:
        return f"{head}This build has no record of this claim. Expected: {claim.expected}. Run `make verify docs`.\n"
    return f"{head}{_raw(_badge(record.finding.verdict))}\n\n{_raw(render_claim(record, settings))}\n"


def _index(found: dict[Claim, Record | None]) -> str:
    counts = Counter(str(record.finding.verdict) for record in found.values() if record is not None)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    rows = "\n".join(
        f'<tr><td><a href="{claim.id}.html">{claim.id}</a></td><td>{typeset(claim.statement)}</td>'
        f"<td>{_badge(record.finding.verdict) if record else 'no record'}</td></tr>"
        for claim, record in found.items()
    )
    table = f'<table class="docutils">\n<tr><th></th><th>claim</th><th>verdict</th></tr>\n{rows}\n</table>'
    toctree = "\n".join(claim.id for claim in found)
    return f"# The ledger\n\n{summary}.\n\n{_raw(table)}\n\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{toctree}\n```\n"


def _badge(verdict: object) -> str:
    return f'<span class="badge {str(verdict).split()[-1].lower()}">{html.escape(str(verdict))}</span>'


def _plain(statement: str) -> str:
    return statement.replace("<", "\\<").replace("_", "\\_").replace("*", "\\*")


def _raw(markup: str) -> str:
    return f"````````{{raw}} html\n{markup}\n````````"


def _write(path: Path, text: str) -> None:
    # Sphinx reads a page again only if its file is newer.
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("builder-inited", write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
