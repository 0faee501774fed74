"""The report: one self-contained page, with the formula, the verdict, the figures, the picture and the code of each."""

from __future__ import annotations

import base64
import inspect
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from latex2mathml.converter import convert
from markupsafe import Markup

from theory_checks.ledger.claim import Claim, Measured, Settings, Verdict
from theory_checks.ledger.family import find_families
from theory_checks.ledger.plotting import drawn, on_a_phone, to_svg
from theory_checks.ledger.proofs import FIGURE, proofs_of
from theory_checks.ledger.records import Record, packed
from theory_checks.ledger.typeset import typeset

__all__ = ["render", "render_claim"]

#: The name of a verdict in the style sheet, and its sign, by which it is told apart without colours.
_BADGES = {
    Verdict.HOLDS: ("holds", "✓"),
    Verdict.CORRECTED: ("corrected", "✓*"),
    Verdict.FAILS: ("fails", "✕"),
    Verdict.OPEN: ("open", "?"),
}


def render(records: list[Record], settings: Settings) -> str:
    """Return the report as HTML, in which every picture, array and line of code is embedded."""
    entries = [_entry(record) for record in records]
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "numpy", "scipy"))
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(
            entries=entries,
            groups=_groups(entries),
            settings=settings,
            counts={v: sum(r.finding.verdict is v for r in records) for v in Verdict},
            surprises=[r for r in records if not r.as_expected],
            seconds=sum(r.seconds for r in records),
            made=f"Python {platform.python_version()}, {libraries}",
        )
    )


def render_claim(record: Record, settings: Settings) -> str:
    """Return what the report says of one claim below its headline, as a fragment of HTML."""
    return _environment().get_template("claim.html.jinja").render(e=_entry(record), settings=settings)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["badge"] = _badge
    environment.filters["typeset"] = typeset
    return environment


def _badge(verdict: str) -> Markup:
    name, sign = _BADGES[Verdict(verdict)]
    return Markup('<span class="badge {}"><i aria-hidden="true">{}</i>{}</span>').format(name, sign, verdict)


def _groups(entries: list[dict[str, Any]]) -> list[dict[str, object]]:
    """Return the entries by the family of their claim, in their order; claims of no installed family come last."""
    titles = {claim.id: family.title or family.name for family in find_families() for claim in family.claims}
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: entry["claim"].id not in titles):
        found.setdefault(titles.get(entry["claim"].id, "Other claims"), []).append(entry)
    return [{"title": title[0].upper() + title[1:], "entries": group} for title, group in found.items()]


def _entry(record: Record) -> dict[str, Any]:
    claim, finding = record.claim, record.finding
    with on_a_phone():
        phone = _picture(record)
    return {
        "record": record,
        "claim": claim,
        "finding": finding,
        "formula": _formula(claim.formula),
        "figures": [(figure.name, _value(figure), _bounds(figure), figure.basis) for figure in finding.figures],
        "proofs": _proofs(record),
        "picture": _picture(record),
        "phone": phone,
        "decisive": "the check did not finish" if record.error else claim.decisive(finding),
        "words": claim.decisive(finding) if claim.in_words and not record.error else "",
        "data": base64.b64encode(packed(finding)).decode() if finding.data else "",
        "check": claim.check_name.replace(":", "."),
        "code": _code(claim),
    }


def _proofs(record: Record) -> list[tuple[str, str, bool, str]]:
    """Return name, formula as markup, whether it is proven, and source, of each symbolic proof of the claim.

    A proof that the check has run counts as it found; others are run here.
    """
    ran_clean = any(figure.name == FIGURE and figure.value == 0 for figure in record.finding.figures)
    return [
        (proof.name, convert(proof.statement, display="block"), ran_clean or proof.holds(), proof.source)
        for proof in proofs_of(record.claim.id)
    ]


def _formula(latex: str) -> Markup:
    """Return a formula as markup; what the converter does not read stands as it was written."""
    if not latex:
        return Markup()
    try:
        return Markup(convert(latex, display="block"))
    except Exception:  # a plug-in's formula must not cost the report
        return Markup("<code>{}</code>").format(latex)


def _picture(record: Record) -> Markup:
    """Return the picture of a finding; one that cannot be drawn is a sentence, and costs nothing else."""
    if not record.finding.data:
        return Markup()
    try:
        draw = record.claim.load_draw()
        return Markup(to_svg(drawn(draw, record.finding))) if draw is not None else Markup()
    except Exception as error:
        return Markup("<p>The picture could not be drawn: {}</p>").format(f"{type(error).__name__}: {error}")


def _code(claim: Claim) -> str:
    try:
        return inspect.getsource(inspect.unwrap(claim.load_check()))
    except (OSError, ValueError):  # typed into an interpreter, or not there
        return "The source of this check is not in a file."


def _value(figure: Measured) -> str:
    return f"{figure.value:.4g} {figure.unit}".strip()


def _bounds(figure: Measured) -> str:
    if figure.limit is not None:
        return f"limit {figure.limit:.3g}" + ("" if figure.within else " exceeded")
    if figure.low is not None and figure.high is not None:
        return f"[{figure.low:.4g}, {figure.high:.4g}]"
    return ""
