"""One page a claim, from the records that ``make verify`` left; written anew at every build."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

from companions import see_also
from sphinx.application import Sphinx
from sphinx.util import logging

from theory_checks.ledger.claim import Claim, Settings
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import Fault, find_faults
from theory_checks.ledger.records import Record, load
from theory_checks.ledger.report import render_claim
from theory_checks.ledger.typeset import typeset

ROOT = Path(__file__).resolve().parents[2]
RECORDS = ROOT / "out/verify/claims"

#: Of the letters in a claim's picture, in CSS pixels, however narrow the window: its box scrolls then.
LEAST_TEXT = 6.0

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
    faults = find_faults()
    for claim, record in found.items():
        killed_by = [fault for fault in faults if claim.id in fault.kills]
        _write(folder / f"{claim.id}.md", _page(claim, record, settings, killed_by))
    _write(folder / "index.md", _index(found))


def _page(claim: Claim, record: Record | None, settings: Settings, faults: list[Fault]) -> str:
    head = f"# {claim.id}: {heading(claim.statement)}\n\n"
    if record is None:
        top = f"This build has no record of this claim. Expected: {claim.expected}. Run `make verify docs`."
        body = ""
    else:
        top = _raw(_badge(record.finding.verdict))
        body = _raw(_readable(render_claim(record, settings)))
    return f"{head}{top}\n\n{see_also(claim)}\n\n{body}\n\n{_faults(faults)}{_commands(claim)}"


def _faults(faults: list[Fault]) -> str:
    if not faults:
        return ""
    rows = "\n".join(
        f"- **{prose(fault.name.replace('_', ' '))}**: {prose(' '.join(fault.description.split()))}" for fault in faults
    )
    return f"## Faults that turn it red\n\nEach was injected, and the check must notice.\n\n{rows}\n\n"


def _commands(claim: Claim) -> str:
    return (
        f"## Run it\n\n```bash\n.venv/bin/python -m theory_checks --claim {claim.id}\n"
        f".venv/bin/python -m theory_checks.ledger.mutation --claim {claim.id}  # with each of its faults\n```\n"
    )


def _index(found: dict[Claim, Record | None]) -> str:
    counts = Counter(str(record.finding.verdict) for record in found.values() if record is not None)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
    rows = "\n".join(
        f'<tr><td><a href="{claim.id}.html">{claim.id}</a></td><td>{typeset(claim.statement)}</td>'
        f"<td>{_badge(record.finding.verdict) if record else 'no record'}</td></tr>"
        for claim, record in found.items()
    )
    table = (
        '<div class="scroll"><table class="claims">\n'
        f"<tr><th></th><th>claim</th><th>verdict</th></tr>\n{rows}\n</table></div>"
    )
    toctree = "\n".join(f"{claim.id} <{claim.id}>" for claim in found)
    return (
        f"# The ledger\n\n{summary}. {_HOW_TO_READ}\n\n{_raw(table)}\n\n"
        f"```{{toctree}}\n:hidden:\n:maxdepth: 1\n\n{toctree}\n```\n"
    )


_HOW_TO_READ = """A verdict speaks of the reading that its page names.

HOLDS
: Two independent methods agree within an error that was derived, not chosen.

HOLDS WITH A CORRECTION
: The smallest change that makes the claim true is named, and both sides of it are shown.

FAILS
: There is a counter-example, at least ten times its own error, kept as data."""


def _badge(verdict: object) -> str:
    return f'<span class="badge {str(verdict).split()[-1].lower()}">{html.escape(str(verdict))}</span>'


def heading(statement: str) -> str:
    """Return a claim's statement as the text of a heading: Greek letters, powers and indices as in print."""
    parts = re.split(r"<(sub|sup)>(.*?)</\1>", str(typeset(statement)))
    texts, roles, raised = parts[::3], parts[1::3], parts[2::3]
    marked = [f"{{{role}}}`{html.unescape(text)}`" for role, text in zip(roles, raised, strict=True)]
    plain = [_escaped(html.unescape(text)) for text in texts]
    return "".join(a + b for a, b in zip(plain, [*marked, ""], strict=True))


def prose(text: str) -> str:
    """Return a docstring's sentence, code in backticks and all else plain, as Markdown."""
    parts = re.split(r"(``.+?``|`.+?`)", text)
    return "".join(part if i % 2 else _escaped(part) for i, part in enumerate(parts))


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_<>\[\]{}$|])", r"\\\1", text)


def _readable(markup: str) -> str:
    """Give a picture the least width at which its smallest letters, ems of 100 units under two scales, can be read."""

    def widened(found: re.Match[str]) -> str:
        _, *texts = re.split(r'"translate\([^)]*\)(?: rotate\([^)]*\))? scale\(([\d.]+) -', found[0])
        letters = [
            float(scale) * min([1.0, *map(float, re.findall(r"<use [^>]*scale\(([\d.]+)\)", text))])
            for scale, text in zip(texts[::2], texts[1::2], strict=True)
        ]
        width = re.search(r'<svg [^>]*?width="([\d.]+)pt"', found[0])
        if width is None or not letters:
            return found[0]
        least = LEAST_TEXT / (100 * min(letters)) * float(width[1])
        return found[0].replace("<svg ", f'<svg style="min-width: {least + 1:.0f}px" ', 1)

    return re.sub(r"<svg .*?</svg>", widened, markup, flags=re.S)


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
