"""The league as one self-contained page, and as a page of the documentation; both are drawn from the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2

from image_exps.league.answer import five_lines
from image_exps.league.rows import Rows
from image_exps.league.tables import Line, lines_of, markdown
from image_exps.league.verdicts import SCRIPTS, VERDICTS, Found
from theory_checks.ledger.plotting import to_svg

__all__ = ["documentation", "page"]

_ABOUT = (
    "Distances are those of samples to the end of the exact probability flow from the same noise, on targets whose "
    "score is known exactly. A ratio is a mean distance over the least of any sampler without LML at that number of "
    "evaluations: 1 is the nearest. In the table it is a geometric mean over a ring in the plane, a random mixture in "
    "16 dimensions, and smoothed digits in 64, and spacings are chosen on two other targets. In the five lines it is "
    "one over all five, each with the sampler that the other four choose. UniPC in the noise prediction is not chosen "
    "there: on networks that nobody here trained it ends far from the flow. "
    "Of samplers that draw it is the root of the Frechet distance to the data. No figure here is of a trained network."
)


def page(rows: Rows, verdicts: dict[str, Found]) -> str:
    """Return the page as HTML; data and pictures are embedded."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines = lines_of(rows)
    return environment.get_template("page.html.jinja").render(
        about=_ABOUT,
        answers=[_html(text) for text in five_lines(rows)],
        numbers=sorted({n for line in lines for n in line.ratios}),
        lines=[_cells(line) for line in lines],
        libraries=list(dict.fromkeys(rows.entries["library"])),
        who=_html(_who(rows)),
        judgements=[
            {
                "scheduler": each.scheduler,
                "sentence": each.sentence(verdicts[each.name]),
                "script": f"{SCRIPTS}/{each.name}.py",
                "figure": to_svg(each.draw(verdicts[each.name])) if each.draw else "",
            }
            for each in VERDICTS
        ],
    )


def _who(rows: Rows) -> str:
    """Say who takes part, and who has not been measured."""
    text = (
        f"{len(rows.entries)} samplers: schedulers of diffusers that sample continuous data, samplers of k-diffusion, "
        "and ours without and with LML."
    )
    missing = len(rows.missing)
    if not missing:
        return text
    return f"{text} {missing} more have not been measured yet: `python -m image_exps league --measure` measures them."


def _html(text: str) -> str:
    """Return a line of bold words and code in Markdown as HTML."""
    import html
    import re

    text = html.escape(text, quote=False)
    text = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", text)
    return re.sub(r"`(.+?)`", r"<code>\1</code>", text)


def _cells(line: Line) -> dict[str, Any]:
    """Return what the template writes of a line."""
    return {**line._asdict(), "search": f"{line.label} {line.interface} {line.library} {line.spacing}".lower()}


def documentation(rows: Rows, verdicts: dict[str, Found]) -> str:
    """Return the page of the documentation, in Markdown."""
    text = [
        "# The league",
        "Samplers in use, judged alike. Written by `python -m image_exps league` from the rows in "
        "`image_exps/results/league`; the page that it writes can be sorted and filtered, and has every spacing, "
        "interval and remark.",
        _who(rows),
        "## Which scheduler for how many steps",
        "\n".join(f"- {line}" for line in five_lines(rows)),
        _ABOUT,
        "## All of them",
        "Each sampler once, at its best spacing. *Called*: what web interfaces call it, and whether it is the sampler "
        "of k-diffusion that has this name there, path by path. *Order*: measured, of what is claimed. *Worst*: the "
        "largest ratio over targets and evaluations. *Cost*: a step beside one of DDIM, without the network.",
        markdown(rows).rstrip(),
        "## What is not as it says",
        *(
            f"**{each.scheduler}.** {each.sentence(verdicts[each.name])} (`python {SCRIPTS}/{each.name}.py`)"
            for each in VERDICTS
        ),
        "## Measure it again",
        "```bash\npython -m image_exps league --measure --out out/league   # resumable; some minutes of one core\n```",
    ]
    return "\n\n".join(text) + "\n"
