r"""Tables as text: Markdown as GitHub has it, and LaTeX with ``booktabs``."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["escaped", "latex_table", "markdown_table"]

_LATEX = str.maketrans(
    {
        **{character: f"\\{character}" for character in "&%$#_{}"},
        "α": r"$\alpha$",
        "κ": r"$\kappa$",
        "λ": r"$\lambda$",
        "±": r"$\pm$",
        "°": r"$^\circ$",
    }
)


def escaped(text: str) -> str:
    """Return plain text for LaTeX."""
    return text.translate(_LATEX)


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a table in Markdown, without a last line break.

    Args:
        head: titles of the columns.
        rows: as long as the head each.
        names: how many of the first columns are text; figures stand to the right.
    """
    lines = [head, ["---"] * names + ["---:"] * (len(head) - names), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def latex_table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]], names: int = 1) -> str:
    """Return a floating table in LaTeX; arguments as of `markdown_table`, all of them LaTeX already."""
    first, *others = (" & ".join(line) + r" \\" for line in (head, *rows))
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption}}}",
            rf"\begin{{tabular}}{{{'l' * names}{'r' * (len(head) - names)}}}",
            r"\toprule",
            first,
            r"\midrule",
            *others,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
